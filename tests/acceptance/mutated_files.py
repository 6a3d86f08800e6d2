"""Damaged and hostile files: mutants of good HDF5 files, each given to `groundstate compare`.

    mutated_files.py [NUMBER]              mutants 0 .. NUMBER - 1, 60 without a number
    mutated_files.py --write INDEX FILE    writes one of them; every mutant follows from its index alone

However a file is spoilt, the program ends in one of two ways:

  damaged     exit code 2, nothing on standard output, and on standard error one line, "groundstate: FILE: ..."
  a verdict   exit code 0, 1 or 3, the tally at the end of standard output, and nothing on standard error but
              lines "warning: FILE: ..." on inputs outside their domain

and never by a signal, with exit code 4, not at all (a child reads the file and has 60 s for it), or with a verdict
and an error. "Damaged" cannot be asked of every mutant: most bytes of a small HDF5 file are unused room, and most
others have no checksum, so that a changed byte leaves another legal file. What a mutation did does say:

  cut                  the file says how long it is: damaged
  elements only        other values of tensors of floating-point numbers are other outputs or inputs: a verdict
  nothing, or appended nobody reads what is behind the end: the verdict of the good file, which is PASSED
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import os
import random
import re
import subprocess
import sys
import tempfile

import h5py
import numpy as np
import simple_gla
from program import PROGRAM, fill, groundstate

TIME_OUT = 120


# ---- good files


@dataclasses.dataclass
class Good:
    name: str
    content: bytes
    elements: list  # (begin, end) of the tensors of floating-point numbers


def element_ranges(path):
    """Where the elements of contiguous tensors of floating-point numbers lie in the file."""
    ranges = []

    def visit(_, item):
        if not isinstance(item, h5py.Dataset) or item.chunks or item.id.get_offset() is None:
            return
        if item.dtype.kind == "f" or item.attrs.get("dtype") == "bfloat16":
            ranges.append((item.id.get_offset(), item.id.get_offset() + item.id.get_storage_size()))

    with h5py.File(path) as file:
        file.visititems(visit)
    return ranges


def rewritten(path, target):
    """The same case as somebody else may write it: chunks, gzip, big endian, texts of fixed length."""
    with h5py.File(path) as source, h5py.File(target, "w") as copy:
        copy.attrs["case"] = np.bytes_(source.attrs["case"])
        for name, dataset in source["inputs"].items():
            copy.create_dataset(f"inputs/{name}", data=dataset[...], compression="gzip", shuffle=True)
        for name, dataset in source["outputs"].items():
            copy.create_dataset(f"outputs/theirs/{name}", data=dataset[...].astype(dataset.dtype.newbyteorder(">")))
        copy["outputs/theirs"].attrs["recipe"] = "single"
        copy["outputs/theirs"].attrs["form"] = "recurrent"


def good_files(folder):
    def solve(**inputs):
        return dict(zip(("o", "ht"), simple_gla.forward(**inputs)))

    for name, case in {
            "plain": "simple_gla T=6 H=1 K=4 V=3 dtype=fp32 state=random",
            "groups": "simple_gla T=2,3 H=1 K=4 V=4 dtype=fp64",
            "packed": "simple_gla lengths=3+0+4 H=1 HV=2 K=4 V=4 dtype=fp32 state=random gate_inputs=both",
            "bf16": "simple_gla B=2 T=5 H=1 K=4 V=4 state=random reverse=yes",
    }.items():
        path = os.path.join(folder, f"{name}.h5")
        end = groundstate("generate", case, "-o", path)
        assert end.returncode == 0, end.stderr
        fill(path, case, solve)
    rewritten(os.path.join(folder, "plain.h5"), os.path.join(folder, "rewritten.h5"))
    result = []
    for name in "plain", "groups", "packed", "bf16", "rewritten":
        path = os.path.join(folder, f"{name}.h5")
        end = groundstate("compare", path)
        assert end.returncode == 0, f"{name}: {end.stdout}{end.stderr}"
        with open(path, "rb") as file:
            result.append(Good(name, file.read(), element_ranges(path)))
    return result


# ---- mutations of a bytearray


def place(dice, content):
    """Where something is said, as a rule: zeros are mostly unused room."""
    while True:
        at = dice.randrange(len(content))
        if content[at] != 0 or dice.random() < 0.1:
            return at


def span(dice, content, longest=512):
    length = min(int(2**dice.uniform(0, np.log2(longest))), len(content))
    begin = min(place(dice, content), len(content) - length)
    return slice(begin, begin + length)


def flip(dice, content):
    for _ in range(dice.choice([1, 1, 1, 2, 4, 16])):
        content[place(dice, content)] ^= 1 << dice.randrange(8)


def overwrite(dice, content):
    where = span(dice, content, 16)
    content[where] = dice.randbytes(where.stop - where.start)


def zero(dice, content):
    where = span(dice, content)
    content[where] = bytes(where.stop - where.start)


def copy_block(dice, content):
    source = span(dice, content)
    length = source.stop - source.start
    begin = min(place(dice, content), len(content) - length)
    content[begin:begin + length] = content[source]


def resize(dice, content):
    """A number of 1 to 8 bytes, perhaps an extent, a size or an address, becomes a larger or a neighbouring one."""
    size = dice.choice([1, 2, 4, 8, 8])
    at = min(place(dice, content), len(content) - size) // size * size
    value = int.from_bytes(content[at:at + size], "little")
    bits = 8 * size
    value = dice.choice([value + 1, value - 1, 2 * value, value + 8, value << 8, value << 20, value << 32,
                         1 << (bits - 1), (1 << bits) - 1, (1 << bits) - 2, 1 << dice.randrange(bits)])
    content[at:at + size] = (value % (1 << bits)).to_bytes(size, "little")


def shift(dice, content):
    at, length = place(dice, content), dice.choice([1, 4, 8, 64])
    if dice.random() < 0.5:
        del content[at:at + length]
    else:
        content[at:at] = dice.randbytes(length)


def cut(dice, content):
    del content[dice.randrange(len(content)):]


def append(dice, content):
    content += dice.randbytes(dice.randrange(1, 5000))


MUTATIONS = [flip, flip, flip, overwrite, overwrite, zero, copy_block, resize, resize, resize, shift, cut, append]


@dataclasses.dataclass
class Mutant:
    what: str
    content: bytes
    expected: tuple  # exit codes


def expected_codes(good, content, names):
    if content == good.content or names == ["append"]:
        return (0,)
    if names == ["cut"]:
        return (2,)
    if len(content) == len(good.content):
        a, b = (np.frombuffer(x, np.uint8) for x in (content, good.content))
        changed = np.flatnonzero(a != b)
        inside = np.zeros(len(changed), bool)
        for begin, end in good.elements:
            inside |= (changed >= begin) & (changed < end)
        if inside.all():
            return (0, 1)
    return (0, 1, 2, 3)


def mutant(index, goods):
    dice = random.Random(index)
    good = dice.choice(goods)
    content, names = bytearray(good.content), []
    for _ in range(dice.choice([1, 1, 1, 1, 2, 3])):
        mutation = dice.choice(MUTATIONS)
        if content:
            mutation(dice, content)
            names.append(mutation.__name__)
    content = bytes(content)
    return Mutant(f"{good.name}: {' '.join(names)}", content, expected_codes(good, content, names))


# ---- their judgement


def complaint(path, end, expected):
    """What is wrong with the end of the program, or nothing."""
    lines = end.stderr.split("\n")
    if lines.pop() != "":
        return "the last line on standard error does not end"
    if any(not line.isprintable() for line in lines):
        return "standard error is not printable"
    if end.returncode not in expected:
        return f"exit code {end.returncode}, expected {' or '.join(map(str, expected))}"
    if end.returncode == 2:
        if end.stdout or len(lines) != 1 or not lines[0].startswith(f"groundstate: {path}: "):
            return "not one message on standard error and nothing on standard output"
        return None
    if any(not line.startswith(f"warning: {path}: ") for line in lines):
        return "a verdict with other words than warnings"
    tally = end.stdout.split("\n")[-2:]
    if not re.fullmatch(r"\d+ cases: \d+ passed(, \d+ \w+)*", tally[0]) or tally[1] != "":
        return "a verdict without its tally"
    if (end.returncode == 1) != bool(re.search("failed|mistrusted", tally[0])):
        return "a tally that contradicts the exit code"
    return None


def examine(index, goods, folder):
    """Exit code, and what is wrong if something is."""
    one = mutant(index, goods)
    path = os.path.join(folder, f"{index}.h5")
    with open(path, "wb") as file:
        file.write(one.content)
    try:
        end = subprocess.run([PROGRAM, "--threads", "1", "compare", path], capture_output=True, timeout=TIME_OUT,
                             text=True, errors="backslashreplace")
    except subprocess.TimeoutExpired:
        return "none", f"{index} ({one.what}): no end within {TIME_OUT} s"
    finally:
        os.remove(path)
    wrong = complaint(path, end, one.expected)
    return end.returncode, wrong and f"{index} ({one.what}): {wrong}\n{end.stdout[-2000:]}{end.stderr[-2000:]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("number", nargs="?", type=int, default=60)
    parser.add_argument("--write", nargs=2, metavar=("INDEX", "FILE"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        goods = good_files(folder)
        if options.write:
            index, path = options.write
            with open(path, "wb") as file:
                file.write(mutant(int(index), goods).content)
            return 0
        codes, bad = collections.Counter(), 0
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for code, wrong in pool.map(lambda index: examine(index, goods, folder), range(options.number)):
                codes[code] += 1
                if wrong:
                    bad += 1
                    print(wrong, flush=True)
    print(f"{options.number} mutants by exit code:", ", ".join(f"{code}: {codes[code]}" for code in sorted(codes, key=str)))
    print(f"{bad} ended as they must not")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
