"""Two implementations against each other: `versus` on files of outputs, on a file and a path, and on two paths.

A chunked scan in PyTorch's stead (NumPy) against a recurrence, token by token: the question of a decode kernel beside
a prefill kernel. The recommended tolerance must hold for them as numpy.allclose reads it.
"""

import functools
import json
import re
import unittest
from pathlib import Path

import h5py
import numpy as np
import simple_gla
from program import ProgramTest, fill, groundstate

CHUNKED_FP32 = functools.partial(simple_gla.chunked, operand=lambda x: x)
CASE = "simple_gla T=150 H=2 K=24 V=16 dtype=fp32 gate=slow state=random"


def solve(form):
    def outputs(**x):
        o, ht = simple_gla.forward(**x, form=form)
        return {"o": o, "ht": ht}
    return outputs


class Versus(ProgramTest):
    def file(self, name, form, case=CASE):
        path = Path(self.folder) / name
        self.assertEqual(groundstate("generate", case, "-o", path).returncode, 0)
        fill(path, case, solve(form))
        return path

    def setUp(self):
        super().setUp()
        self.chunked = self.file("chunked.h5", CHUNKED_FP32)
        self.recurrent = self.file("recurrent.h5", simple_gla.recurrent)

    def record(self, *arguments):
        done = groundstate("versus", *arguments, "--json")
        return done.returncode, json.loads(done.stdout)

    def test_two_honest_kernels_agree_within_the_recommended_tolerance(self):
        code, record = self.record(self.chunked, self.recurrent, "--recipe", "single")
        self.assertEqual((code, record["status"]), (0, "PASSED"))
        with h5py.File(self.chunked) as one, h5py.File(self.recurrent) as other:
            for name, tensor in record["tensors"].items():
                a, b = (file["outputs"][name][...].astype(np.float64) for file in (one, other))
                self.assertTrue(np.allclose(a, b, **tensor["recommended"]), name)
                self.assertEqual(tensor["same_bits"], np.count_nonzero(a == b))
                self.assertEqual(tensor["largest"], np.abs(a - b).max())
                for usual in tensor["usual"]:
                    beyond = np.abs(a - b) > usual["atol"] + usual["rtol"] * np.abs(b)
                    self.assertEqual(usual["exceeded"], np.count_nonzero(beyond), usual["name"])

    def test_a_tensor_core_kernel_is_as_far_as_its_recipe_says(self):
        bf16 = self.file("bf16.h5", simple_gla.chunked)
        self.assertEqual(self.record(bf16, self.recurrent)[0], 1)
        code, record = self.record(bf16, self.recurrent, "--recipe", "tensorcore-bf16", "--recipe", "single")
        self.assertEqual((code, record["status"]), (0, "PASSED"))
        with h5py.File(bf16) as one, h5py.File(self.recurrent) as other:
            for name, tensor in record["tensors"].items():
                a, b = (file["outputs"][name][...].astype(np.float64) for file in (one, other))
                self.assertTrue(np.allclose(a, b, **tensor["recommended"]), name)
                self.assertFalse(np.allclose(a, b, rtol=1e-5, atol=1e-8), name)

    def test_the_text_says_why(self):
        done = groundstate("versus", self.chunked, self.recurrent, "--form", "chunked", "--form", "recurrent")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"recommended: rtol=\S+ atol=\S+; for the median element")
        self.assertIn("rtol = 24 x 2^-24 + 24 x 2^-24; atol is that of ", done.stdout)
        self.assertIn("torch.allclose(rtol=1e-05, atol=1e-08): ", done.stdout)
        self.assertIn("Two honest implementations are no farther apart", done.stdout)

    def test_a_file_against_a_path(self):
        code, record = self.record(self.chunked, "--path", "recurrent:single", "--form", "chunked")
        self.assertEqual((code, record["paths"]), (0, ["user", "recurrent:single"]))
        self.assertEqual(record["forms"], ["chunked", "recurrent"])

    def test_a_wrong_kernel_fails_and_the_other_is_the_nearer_one(self):
        with h5py.File(self.recurrent, "r+") as file:
            file["outputs/o"][0, 70, 1, 3] *= -1
        code, record = self.record(self.chunked, self.recurrent)
        self.assertEqual((code, record["status"]), (1, "FAILED"))
        self.assertEqual(record["tensors"]["ht"]["status"], "PASSED")
        o = record["tensors"]["o"]
        self.assertRegex(o["worst"], "^batch=0 time=70 value_head=1 value=3: ")
        self.assertEqual([verdict["status"] for verdict in o["verdicts"]], ["PASSED", "FAILED"])
        self.assertLess(*o["relative_norm"])

    def test_what_is_not_two_implementations_of_one_problem_is_refused(self):
        other = self.file("other.h5", simple_gla.recurrent, CASE + " seed=2")
        shorter = self.file("shorter.h5", simple_gla.recurrent, CASE.replace("150", "140"))
        changed = self.file("changed.h5", simple_gla.recurrent)
        with h5py.File(changed, "r+") as file:
            file["inputs/v"][0, 9, 1, 2] += 1
        two = ["--path", "chunked:single", "--path", "recurrent:single"]
        for words, arguments in [
                ("is of the case", [self.chunked, other]),
                ("is of the case", [self.chunked, shorter]),
                (r"the inputs of .* and .* differ: v batch=0 time=9 value_head=1 value=2", [self.chunked, changed]),
                ("versus takes two implementations, not 1 ", [CASE, "--path", "chunked"]),
                ("versus takes two implementations, not 1 in ", [self.chunked]),
                ("versus takes two implementations, not 3 in ", [self.chunked, *two]),
                ("versus takes two implementations, not 3 ", [CASE, *two, "--path", "scan"]),
                ("beside a file", [self.chunked, CASE, *two]),
                ("no path chunkd", [CASE, "--path", "chunkd", "--path", "scan"]),
                ("--recipe: 3 values for 2 files", [self.chunked, self.recurrent, *3 * ["--recipe", "single"]]),
                ("--recipe, --form and --case are of files", [CASE, *two, "--recipe", "single"]),
                ("is not known", [self.chunked, self.recurrent, "--recipe", "triple"]),
                ("No such file", [self.chunked, Path(self.folder) / "none.h5"])]:
            done = groundstate("versus", *arguments)
            self.assertEqual((done.returncode, done.stdout), (2, ""), arguments)
            self.assertRegex(done.stderr, words)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_the_record_of_several_cases_is_what_json_prints_and_makes_a_report(self):
        path = Path(self.folder) / "record.jsonl"
        arguments = ["simple_gla T=20,30 H=1 K=8 V=8", "--path", "chunked:single", "--path", "recurrent:single"]
        done = groundstate("versus", *arguments, "-o", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(path.read_text(), groundstate("versus", *arguments, "--json").stdout)
        reason = json.loads(path.read_text().splitlines()[0])["tensors"]["o"]["reason"]
        self.assertRegex(reason["rtol"], r"^2\^-8 \+ ")
        self.assertRegex(reason["atol"], "^batch=0 time=")
        done = groundstate("report", path, "-o", Path(self.folder) / "report")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stdout.startswith("0 of 2 comparisons failed\n"), done.stdout)

    def test_a_case_that_a_path_cannot_take_is_not_judged(self):
        done = groundstate("versus", "simple_gla T=20000 H=1 K=2 V=2", "--path", "parallel", "--path", "recurrent")
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertRegex(done.stdout, "UNSUPPORTED +parallel: quadratic in T")

    def test_a_path_needs_its_device(self):
        if re.search(r"UNAVAILABLE", groundstate("run", "simple_gla T=4 H=1 K=4 V=4", "--path", "gpu.recurrent").stdout):
            done = groundstate("versus", CASE, "--path", "gpu.recurrent", "--path", "recurrent")
            self.assertEqual(done.returncode, 4)
            self.assertIn("a path of --path needs a device", done.stderr)


if __name__ == "__main__":
    unittest.main()
