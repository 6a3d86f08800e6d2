"""The program under test, and the tensors in its files; shared by the acceptance tests.

The environment variable GROUNDSTATE names the program.
"""

import json
import os
import subprocess
import tempfile
import unittest

import h5py
import numpy as np
import simple_gla

PROGRAM = os.path.abspath(os.environ.get("GROUNDSTATE", "build/cpu/groundstate"))


def groundstate(*arguments, **options):
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=300, **options)


def without_times(text):
    """The records of a file or an output, but for what depends on the moment."""
    records = [json.loads(line) for line in text.splitlines()]
    for record in records:
        record.pop("seconds", None)
        record.pop("environment", None)
    return records


def load(dataset):
    """Its values in a type that NumPy can compute with."""
    if dataset.attrs.get("dtype") == "bfloat16" and dataset.dtype == np.uint16:
        return (dataset[...].astype(np.uint32) << 16).view(np.float32)
    return dataset[...]


def store(dataset, values):
    """The values in the type of the dataset; fp32 values that bf16 cannot hold are rounded."""
    if dataset.attrs.get("dtype") == "bfloat16" and dataset.dtype == np.uint16:
        values = (simple_gla.bf16(values).view(np.uint32) >> 16).astype(np.uint16)
    dataset[...] = values.astype(dataset.dtype)


def options_of(case):
    """What a case line says that no tensor shows."""
    keys = dict(word.split("=") for word in case.split()[1:])
    scale = {"scale": float(keys["scale"])} if "scale" in keys else {}
    return {"reverse": keys.get("reverse") == "yes", **scale}


def fill(path, case, solve):
    """Fills every case of a file that `generate` wrote with solve(inputs and options by name), which returns outputs
    by name. The cases of a sweep differ in shapes only."""
    def in_layout(name, values):
        vk = "state_layout=vk" in case.split() and name in ("h0", "ht", "dht", "dh0")
        return values.swapaxes(2, 3) if vk else values

    with h5py.File(path, "r+") as file:
        for group in [file] if "inputs" in file else file.values():
            inputs = {name: in_layout(name, load(dataset)) for name, dataset in group["inputs"].items()}
            outputs = solve(**inputs, **options_of(case))
            for name, dataset in group["outputs"].items():
                store(dataset, in_layout(name, outputs[name]))


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


class ComparedTest(ProgramTest):
    def passes(self, path, *options):
        end, records = self.compared(path, *options)
        self.assertEqual((end.returncode, end.stderr), (0, ""), end.stdout)
        self.assertEqual({record["status"] for record in records.values()}, {"PASSED"}, end.stdout)
        return end.stdout, records["user"]


class MutantTest(ProgramTest):
    """judged(case, solve, options, ...) of a subclass: the end of `compare` on the outputs of solve, and its record."""

    def passes(self, case, solve, options=()):
        end, record = self.judged(case, solve, options)
        self.assertEqual((end.returncode, record["status"]), (0, "PASSED"), end.stdout)

    def fails(self, case, solve, tensors, *words, options=(), **more):
        """FAILED with exit code 1, the finding on each of the tensors has the words, and the text has the finding."""
        end, record = self.judged(case, solve, options, **more)
        self.assertEqual((end.returncode, record["status"]), (1, "FAILED"), end.stdout)
        for tensor in [tensors] if isinstance(tensors, str) else tensors:
            verdict = record["tensors"][tensor]
            self.assertEqual(verdict["status"], "FAILED", f"{tensor}\n{end.stdout}")
            for word in words:
                self.assertRegex(verdict["finding"], word, f"{case}\n{end.stdout}")
            self.assertIn(verdict["finding"], end.stdout)
        self.assertIn(record["reproducer"], end.stdout)
        return record
