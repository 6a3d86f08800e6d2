"""The program under test, and the tensors in its files; shared by the acceptance tests.

The environment variable GROUNDSTATE names the program.
"""

import json
import os
import subprocess
import tempfile
import unittest

import numpy as np
import simple_gla

PROGRAM = os.path.abspath(os.environ.get("GROUNDSTATE", "build/cpu/groundstate"))


def groundstate(*arguments, **options):
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=300, **options)


def load(dataset):
    """Its values in a type that NumPy can compute with."""
    if dataset.attrs.get("dtype") == "bfloat16" and dataset.dtype == np.uint16:
        return (dataset[...].astype(np.uint32) << 16).view(np.float32)
    return dataset[...]


def store(dataset, values):
    """The values in the type of the dataset; fp32 values that bf16 cannot hold are rounded."""
    if dataset.attrs.get("dtype") == "bfloat16" and dataset.dtype == np.uint16:
        values = (simple_gla.bf16(values).view(np.uint32) >> 16).astype(np.uint16)
    dataset[...] = values


def options_of(case):
    """What a case line says that no tensor shows."""
    keys = dict(word.split("=") for word in case.split()[1:])
    scale = {"scale": float(keys["scale"])} if "scale" in keys else {}
    return {"reverse": keys.get("reverse") == "yes", **scale}


class ProgramTest(unittest.TestCase):
    """A folder of its own, and the ways in which a run of the program may end."""

    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def at(self, name):
        return os.path.join(self.folder, name)

    def succeeds(self, *arguments, **options):
        end = groundstate(*arguments, **options)
        self.assertEqual((end.returncode, end.stderr), (0, ""), end.stdout)
        return end.stdout

    def generated(self, case, *options, name="case.h5"):
        path = self.at(name)
        self.succeeds("generate", case, "-o", path, *options)
        return path

    def compared(self, path, *options):
        """The end of `compare`, and its records by path."""
        record = self.at("record.jsonl")
        end = groundstate("compare", path, "-o", record, *options)
        with open(record) as lines:
            records = [json.loads(line) for line in lines]
        return end, {each["path"]: each for each in records if "path" in each}
