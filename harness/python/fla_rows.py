"""Times and judges the chunk kernels of an installed flash-linear-attention on our inputs.

    python3 harness/python/fla_rows.py 'simple_gla T=8192 H=96 dtype=bf16 gate=medium' -o fla.jsonl

For every case line or @file of them (simple_gla and simple_gla.backward): the inputs are those of `groundstate
generate`, the outputs go to `groundstate compare --recipe fla-chunk-...`, and the time is that of
`groundstate bench`: one launch of a captured graph, the cache flushed before it, the median of 30.
A line of -o is a line of `bench -o` with a `library`, so `groundstate report` sets it beside ours.
Large tensors stay on this machine.

Needs a CUDA device, torch, h5py, fla (or fla-core), and the program by --groundstate, GROUNDSTATE
or PATH. The backward refuses some Triton versions on Hopper; --no-guard takes that check out and
says so in the row.
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

import h5py
import torch

REPETITIONS = 30
FLUSHED = 256 << 20


def run(program, *arguments, accept=(0,)):
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    if done.returncode not in accept:
        sys.exit(f"{program} {' '.join(arguments)}: exit {done.returncode}\n{done.stderr}")
    return done


def read_inputs(group):
    """The inputs of a case as tensors on the device; bf16 is stored as its bits."""
    tensors = {}
    for name, data in group.items():
        values = torch.from_numpy(data[()])
        if data.attrs.get("dtype") in ("bfloat16", b"bfloat16"):
            values = values.view(torch.int16).view(torch.bfloat16)
        tensors[name] = values.cuda()
    return tensors


def write_output(group, name, tensor):
    tensor = tensor.detach().to("cpu").contiguous()
    bits = tensor.view(torch.int16).numpy().view("uint16") if tensor.dtype == torch.bfloat16 else tensor.numpy()
    group[name][...] = bits


def library():
    for name in ("flash-linear-attention", "fla-core"):
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            pass
    sys.exit("fla is not installed")


def forward(x):
    from fla.ops.simple_gla import chunk_simple_gla

    return chunk_simple_gla(
        x["q"], x["k"], x["v"], g=x.get("g"), g_gamma=x.get("g_gamma"),
        initial_state=x.get("h0"), output_final_state=True, cu_seqlens=x.get("cu_seqlens"))


def backward_of(x):
    """The work of a backward, with the forward done once before."""
    names = [n for n in ("q", "k", "v", "g", "h0") if n in x]
    leaves = [x[n].requires_grad_() for n in names]
    o, ht = forward(x)
    outputs, gradients = ([o, ht], [x["do"], x["dht"]]) if "dht" in x else ([o], [x["do"]])

    def work():
        return dict(zip(("d" + n for n in names),
                        torch.autograd.grad(outputs, leaves, gradients, retain_graph=True)))
    return work


def seconds_of(work):
    """One launch of a captured graph, cold; milliseconds of every repetition."""
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    flush = torch.empty(FLUSHED, dtype=torch.uint8, device="cuda")
    times = []
    for i in range(REPETITIONS + 3):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        flush.fill_(i)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e-3)
    return times[3:]


def row_of(program, case, no_guard):
    described = json.loads(run(program, "show", case, "--json").stdout)
    operator = described["case"].split()[0]
    recipe = "fla-chunk-" + described["keys"]["dtype"]
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder) / "case.h5")
        run(program, "generate", case, "-o", path)
        with h5py.File(path, "r+") as file:
            x = read_inputs(file["inputs"])
            if operator == "simple_gla":
                work = lambda: forward(x)
                outputs = dict(zip(("o", "ht"), work()))
            elif operator == "simple_gla.backward":
                work = backward_of(x)
                outputs = work()
            else:
                sys.exit(f"{case}: only simple_gla and simple_gla.backward")
            torch.cuda.synchronize()
            for name, tensor in outputs.items():
                write_output(file["outputs"], name, tensor)
        record = str(pathlib.Path(folder) / "verdict.jsonl")
        run(program, "compare", path, "--recipe", recipe, "--form", "chunked[chunk=64]", "-o", record,
            accept=(0, 1, 3))
        verdict = json.loads(open(record).readline())
        times = sorted(seconds_of(work))
    first, _, third = statistics.quantiles(times, n=4)
    note = f"Triton {importlib.metadata.version('triton')}" + (", its guard off" if no_guard else "")
    return {
        "schema": verdict["schema"], "kind": "bench", "case": verdict["case"], "id": verdict["id"],
        "operator": operator, "path": "chunked:" + recipe, "library": library(),
        "device": torch.cuda.get_device_name(), "status": verdict["status"],
        "median": statistics.median(times), "quartiles": [first, third], "repetitions": REPETITIONS,
        "cold": True, "overhead": 0.0, "flops": described["flop"], "bytes": described["bytes"],
        "clocks": {}, "note": note, "environment": verdict["environment"],
        "reproducer": f"python3 harness/python/fla_rows.py '{case}'",
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+")
    parser.add_argument("-o", "--output")
    parser.add_argument("--groundstate", default=os.environ.get("GROUNDSTATE", "groundstate"))
    parser.add_argument("--no-guard", action="store_true", help="without fla's check of the Triton version")
    options = parser.parse_args()
    if options.no_guard:
        import fla.ops.common.chunk_o as chunk_o
        chunk_o.IS_NVIDIA_HOPPER = False
    out = open(options.output, "w") if options.output else None
    listed = run(options.groundstate, "list", *options.cases, "--json").stdout.splitlines()
    for case in (json.loads(line)["case"] for line in listed):
        row = row_of(options.groundstate, case, options.no_guard)
        print(f"{row['status']:9} {1e3 * row['median']:.4f} ms  {row['library']}  {row['case']}", flush=True)
        if out:
            print(json.dumps(row), file=out, flush=True)


if __name__ == "__main__":
    main()
