"""What the drivers of other libraries' kernels have in common: measure() times and judges a kernel case by case.

The inputs are those of `groundstate generate`, what the kernel gives goes to `groundstate compare`, and the time is
that of `groundstate bench`: one launch of a captured graph, the cache flushed before it, the median of 30. A row is a
line of `bench -o` with a `library`, so `groundstate report` sets it beside ours, whatever its verdict is.

A driver gives a function that takes what `show --json` says of a case and returns a Kernel, or throws Unsupported.
"""
import argparse
import importlib.metadata
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import traceback
from typing import Callable, NamedTuple

import h5py
import torch

REPETITIONS = 30
FLUSHED = 256 << 20


class Unsupported(Exception):
    """The library has no kernel for the case."""


class Kernel(NamedTuple):
    form: str  # of the path that the kernel is judged as
    recipe: str
    # From the inputs by name to a function that computes the case once and returns its outputs by name. Called again,
    # that function may go on from a state that it left in place.
    start: Callable[[dict], Callable[[], dict]]


def parser_of(description):
    """The arguments that every driver takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+", help="case lines and @files of them")
    parser.add_argument("-o", "--output", help="a row for every case that was timed, JSON Lines")
    parser.add_argument("--groundstate", default=os.environ.get("GROUNDSTATE", "groundstate"), help="the program")
    return parser


def library_of(*distributions):
    """Name and version of the first that is installed."""
    for name in distributions:
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            pass
    sys.exit(f"not installed: {' or '.join(distributions)}")


def run(program, *arguments, accept=(0,)):
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    if done.returncode not in accept:
        raise RuntimeError(f"{program} {' '.join(arguments)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


# ---- tensors and time, on the device

def is_bf16(data):
    return data.attrs.get("dtype") == "bfloat16"


def read(data):
    """A tensor of the file, on the device; bf16 is stored as its bits."""
    if is_bf16(data):
        return torch.from_numpy(data[()].view("int16")).view(torch.bfloat16).cuda()
    return torch.from_numpy(data[()]).cuda()


def write(data, tensor):
    """The tensor must have the type that the case names: nothing is rounded on the way."""
    tensor = tensor.detach().cpu().contiguous()
    if is_bf16(data) != (tensor.dtype == torch.bfloat16):
        raise TypeError(f"{data.name} came as {tensor.dtype}")
    values = tensor.view(torch.int16).numpy().view("uint16") if is_bf16(data) else tensor.numpy()
    if (values.dtype, values.shape) != (data.dtype, data.shape):
        raise TypeError(f"{data.name}: {data.dtype} {data.shape} came as {values.dtype} {values.shape}")
    data[...] = values


def in_order():
    """One stream for all, because gradients run on the stream of their forward and a graph captures only its own."""
    return torch.cuda.stream(torch.cuda.Stream())


def device_name():
    return torch.cuda.get_device_name()


def seconds_of(work):
    """Of every repetition: one launch of a captured graph, cold."""
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
        work()
    flush = torch.empty(FLUSHED, dtype=torch.uint8, device="cuda")
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    seconds = []
    for i in range(REPETITIONS + 3):
        flush.fill_(i)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        seconds.append(1e-3 * begin.elapsed_time(end))
    return seconds[3:]


# ---- rows

def measured(program, described, kernel):
    """The verdict on the first call with the inputs of the case, and the seconds of more of them."""
    with tempfile.TemporaryDirectory() as folder:
        path, record = (str(pathlib.Path(folder) / name) for name in ("case.h5", "verdict.jsonl"))
        run(program, "generate", described["case"], "-o", path)
        with h5py.File(path, "r+") as file, in_order():
            work = kernel.start({name: read(data) for name, data in file["inputs"].items()})
            outputs = work()
            if set(outputs) != set(file["outputs"]):
                raise ValueError(f"outputs {sorted(outputs)} instead of {sorted(file['outputs'])}")
            for name, tensor in outputs.items():
                write(file["outputs"][name], tensor)
            del outputs
            seconds = seconds_of(work)
        run(program, "compare", path, "--recipe", kernel.recipe, "--form", kernel.form, "-o", record, accept=(0, 1, 3))
        with open(record) as lines:
            return json.loads(lines.readline()), seconds


def row_of(program, described, kernel, library, note):
    verdict, seconds = measured(program, described, kernel)
    findings = [f"{name}: {tensor['finding']}" for name, tensor in verdict["tensors"].items() if "finding" in tensor]
    first, median, third = statistics.quantiles(seconds, n=4, method="inclusive")
    return {
        "schema": verdict["schema"], "kind": "bench", "case": verdict["case"], "id": verdict["id"],
        "operator": verdict["operator"], "path": f"{kernel.form}:{kernel.recipe}", "library": library,
        "device": device_name(), "status": verdict["status"],
        "median": median, "quartiles": [first, third], "repetitions": len(seconds), "cold": True,
        "flops": described["flop"], "bytes": described["bytes"],
        "note": "; ".join([note, *findings]), "environment": verdict["environment"],
        "reproducer": f"python3 harness/python/{pathlib.Path(sys.argv[0]).name} '{verdict['case']}'",
    }


def measure(options, library, kernel_of, *notes):
    """Rows of all cases; a case that cannot be measured is told about and leaves the others alone. The exit code."""
    broken = 0
    try:
        listed = run(options.groundstate, "list", *options.cases, "--json").splitlines()
    except RuntimeError as error:
        sys.exit(str(error))
    with open(options.output or os.devnull, "w") as out:
        for case in (json.loads(line)["case"] for line in listed):
            try:
                described = json.loads(run(options.groundstate, "show", case, "--json"))
                row = row_of(options.groundstate, described, kernel_of(described), library, ", ".join(notes))
            except Unsupported as reason:
                print(f"UNSUPPORTED  {case}: {reason}", flush=True)
            except Exception:
                broken += 1
                print(f"not measured: {case}\n{traceback.format_exc()}", file=sys.stderr, flush=True)
            else:
                print(f"{row['status']:11}  {1e3 * row['median']:.4f} ms  {library}  {case}", flush=True)
                print(json.dumps(row), file=out, flush=True)
    return 1 if broken else 0
