"""Judges a kernel from Python: the inputs of a case, and what the program says of the outputs.

    case = "simple_gla T=300 gate=medium state=random"
    x = groundstate.inputs(case)
    o, ht = my_kernel(x["q"], x["k"], x["v"], x["g"], x["h0"])
    groundstate.check(case, {"o": o, "ht": ht})

Nothing is built: this file, h5py and NumPy, PyTorch where it can be imported, and the program, which is found by the
environment variable GROUNDSTATE or on the PATH.

Tensors are PyTorch's (on the CPU) where it can be imported, otherwise NumPy's, of the types that the case names:

    case                  torch             NumPy
    fp64 fp32 fp16, ints  the same          the same
    bf16                  bfloat16          float32, widened
    fp8                   float8_e4m3fn     uint8, the codes; so in a PyTorch that is too old for the type

check() takes both kinds, and nothing is converted on the way: another type is an error, but that bf16 may come as
float32 with numbers that bf16 can hold, and fp8 as uint8 with its codes. NumPy's types of ml_dtypes count as well.
"""
import contextlib
import json
import os
import pathlib
import subprocess
import tempfile
import warnings

import h5py
import numpy as np

try:
    import torch
except ImportError:
    torch = None

# What NumPy has no type for, and one of as many bits that both libraries have.
BITS = {"bfloat16": "int16", "float8_e4m3fn": "uint8"}
# What may come in place of a type.
IN_PLACE_OF = {"bfloat16": "float32", "float8_e4m3fn": "uint8"}


def inputs(case):
    """By name, what the kernel is to compute with."""
    with generated(case) as path, h5py.File(path, "r") as file:
        return {name: read(data) for name, data in file["inputs"].items()}


def check(case, outputs, recipe=None, form=None, only=None, chunk=64):
    """The record of a verdict that passed, as `compare -o` writes it; its text as an AssertionError otherwise.

    `outputs` has every output of the case by name, or those in `only`; a pool that the kernel works on in place is one
    of them. They are judged against the case as `generate` makes it, whatever became of the tensors of inputs().
    A case that proves nothing (MISTRUSTED) is an AssertionError too, MARGINAL a warning: declare the form. Names,
    shapes and types that the case has not, and what the program calls wrong usage, are a ValueError.

    Intermediates of a chunked kernel may stand beside the outputs, as many of them as there are: "stages/scores". They
    are of chunks of `chunk` tokens, and the text names the first that diverges.
    """
    __tracebackhide__ = True  # in pytest: the line of the test says more
    stages = {name.removeprefix("stages/"): each for name, each in outputs.items() if name.startswith("stages/")}
    outputs = {name: each for name, each in outputs.items() if not name.startswith("stages/")}
    with generated(case, *[f"--stages={chunk}"] * bool(stages)) as path:
        with h5py.File(path, "r+") as file:
            fill(file["outputs"], outputs, only)
            if stages:
                fill(file["stages"], stages, stages)
        passed, text, verdict = compare(path, recipe, form, only)
    # The file that the line names is gone.
    text = "".join(line for line in text.splitlines(True) if not line.startswith("  reproduce: "))
    if not passed:
        raise AssertionError(text)
    del verdict["reproducer"]
    if verdict["status"] == "MARGINAL":
        warnings.warn(text, stacklevel=2)
    return verdict


# ---- the program

def program():
    return os.environ.get("GROUNDSTATE", "groundstate")


def run(*arguments, accept=(0,)):
    """The end of the program; one that is not accepted is an error with the program's message."""
    try:
        end = subprocess.run([program(), *arguments], capture_output=True, text=True)
    except OSError as error:
        raise RuntimeError(f"{program()}: {error.strerror}; GROUNDSTATE or PATH must lead to the program") from error
    if end.returncode == 2:
        raise ValueError(end.stderr.strip())
    if end.returncode not in accept:
        raise RuntimeError(f"{program()} {' '.join(arguments)}: exit {end.returncode}\n{end.stderr}")
    return end


@contextlib.contextmanager
def generated(case, *options):
    """The path of a file that `generate` wrote, for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="groundstate-") as folder:
        path = pathlib.Path(folder, "case.h5")
        count = json.loads(run("generate", case, *options, "-o", str(path), "--json").stdout)["cases"]
        if count != 1:
            raise ValueError(f"'{case}' is {count} cases; accepted is one")
        yield path


def compare(path, recipe=None, form=None, only=None, sample_only=False):
    """Whether the outputs in a file passed, the text of `compare`, and its record."""
    options = {"--recipe": recipe, "--form": form, "--only": only and ",".join(only)}
    given = [word for name, value in options.items() if value for word in (name, value)]
    given += ["--sample-only"] * sample_only
    record = path.with_suffix(".jsonl")
    end = run("compare", str(path), *given, "-o", str(record), accept=(0, 1, 3))
    return end.returncode == 0, end.stdout, json.loads(record.read_text().splitlines()[0])


# ---- tensors in a file

def type_of(data):
    """As NumPy and torch call it."""
    return data.attrs.get("dtype", data.dtype.name)


def read(data):
    kind, values = type_of(data), data[...]
    if torch is not None:
        tensor = torch.from_numpy(values.view(BITS.get(kind, values.dtype)))
        return tensor.view(getattr(torch, kind, torch.uint8)) if kind in BITS else tensor
    return (values.astype(np.uint32) << 16).view(np.float32) if kind == "bfloat16" else values


def fill(group, outputs, only=None):
    """The datasets of /outputs or /stages, or those in `only`, get the tensors of their names."""
    given, wanted = set(outputs), set(group if only is None else only)
    for names, what in [((given | wanted) - set(group), f"no such {group.name[1:-1]}"), (wanted - given, "missing"),
                        (given - wanted, "not one of `only`")]:
        if names:
            raise ValueError(f"{' '.join(sorted(names))}: {what}; the case has {' '.join(group)}")
    for name, tensor in outputs.items():
        write(group[name], tensor)


def write(data, tensor):
    """The bits of the tensor; it has the shape of the dataset, and its type or what may come in place of it."""
    if torch is None or not isinstance(tensor, torch.Tensor):
        tensor = np.asarray(tensor)
    name, kind, came = data.name.split("/")[-1], type_of(data), str(tensor.dtype).split(".")[-1]
    other = IN_PLACE_OF.get(kind)
    if came not in (kind, other) or tuple(tensor.shape) != data.shape:
        axes = ", ".join(f"{axis.label} {extent}" for axis, extent in zip(data.dims, data.shape))
        raise ValueError(f"{name} came as {came} {list(tensor.shape)}; accepted is {kind}"
                         f"{f' (or {other})' if other else ''} [{axes}]")
    packed = came == kind and kind in BITS
    if not isinstance(tensor, np.ndarray):
        tensor = tensor.detach().cpu().contiguous()
        tensor = (tensor.view(getattr(torch, BITS[kind])) if packed else tensor).numpy()
    if packed:
        tensor = tensor.view(data.dtype)
    elif kind == "bfloat16":
        tensor = upper_half(name, tensor)
    data[...] = tensor


def upper_half(name, values):
    """The bits of bf16 numbers that come as fp32."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    between = np.argwhere(bits & 0xFFFF)
    if len(between):
        first = tuple(between[0].tolist())
        raise ValueError(f"{name} is not rounded to bfloat16: {len(between)} elements are no such numbers, the first "
                         f"{values[first]!r} at {list(first)}; round them as the kernel would")
    return (bits >> 16).astype(np.uint16)
