"""What the drivers of other libraries' kernels have in common: measure() times and judges a kernel case by case.

The inputs are those of `groundstate generate`, what the kernel gives goes to `groundstate compare`, and the time is
that of `groundstate bench`: one launch of a captured graph, the cache flushed before it, the median of 30. A row is a
line of `bench -o` with a `library`, so `groundstate report` sets it beside ours, whatever its verdict is. Of a large case
a sample of (sequence, head) pairs is judged and nothing else, and the row's note says which. What a case has behind it
is told on stderr.

A driver gives a function that takes what `show --json` says of a case and returns a Kernel, or throws Unsupported.
"""
import argparse
import importlib.metadata
import json
import os
import pathlib
import statistics
import sys
import time
import traceback
from typing import Callable, NamedTuple

import h5py
import torch

import groundstate

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
    parser.add_argument("--groundstate", default=groundstate.program(), help="the program")
    return parser


def library_of(*distributions):
    """Name and version of the first that is installed."""
    for name in distributions:
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            pass
    sys.exit(f"not installed: {' or '.join(distributions)}")


# ---- tensors and time, on the device

def read(data):
    return groundstate.read(data).cuda()


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

def phases_of(case):
    """A function that tells the end of a phase, and how long it took: a run that is cut off shows how far it came."""
    begin = time.monotonic()

    def ended(phase):
        nonlocal begin
        end = time.monotonic()
        print(f"{phase} in {end - begin:.1f} s: {case}", file=sys.stderr, flush=True)
        begin = end

    return ended


def measured(described, kernel):
    """The verdict on the first call with the inputs of the case, and the seconds of more of them."""
    ended = phases_of(described["case"])
    with groundstate.generated(described["case"]) as path:
        ended("generated")
        with h5py.File(path, "r+") as file, in_order():
            work = kernel.start({name: read(data) for name, data in file["inputs"].items()})
            groundstate.fill(file["outputs"], work())
            ended("compiled and run")
            seconds = seconds_of(work)
            ended("timed")
        _, _, verdict = groundstate.compare(path, kernel.recipe, kernel.form, sample_only=True)
        ended("judged")
        return verdict, seconds


def row_of(described, kernel, library, note):
    verdict, seconds = measured(described, kernel)
    findings = [verdict["note"]] if "note" in verdict else []
    findings += [f"{name}: {tensor['finding']}" for name, tensor in verdict["tensors"].items() if "finding" in tensor]
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
    os.environ["GROUNDSTATE"] = options.groundstate
    try:
        listed = groundstate.run("list", *options.cases, "--json").stdout.splitlines()
    except (RuntimeError, ValueError) as error:
        sys.exit(str(error))
    with open(options.output or os.devnull, "w") as out:
        for case in (json.loads(line)["case"] for line in listed):
            try:
                described = json.loads(groundstate.run("show", case, "--json").stdout)
                row = row_of(described, kernel_of(described), library, ", ".join(notes))
            except Unsupported as reason:
                print(f"UNSUPPORTED  {case}: {reason}", flush=True)
            except Exception:
                broken += 1
                print(f"not measured: {case}\n{traceback.format_exc()}", file=sys.stderr, flush=True)
            else:
                print(f"{row['status']:11}  {1e3 * row['median']:.4f} ms  {library}  {case}", flush=True)
                print(json.dumps(row), file=out, flush=True)
    return 1 if broken else 0
