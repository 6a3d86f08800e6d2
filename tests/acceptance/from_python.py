"""A test of somebody's kernel in Python: harness/python/groundstate.py hands out the inputs of a case and raises what
is wrong with the outputs, before it judges them (ValueError) or by the verdict (AssertionError).

The kernels are those of the other acceptance tests. What needs PyTorch is skipped where it is not installed.
"""

import os
import re
import sys
import tempfile
import types
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import numpy_mamba3_step as mamba3_step
import numpy_selective_state_update as selective_state_update
import program
import simple_gla
import simple_gla_backward

sys.path.insert(0, os.path.abspath("harness/python"))
import groundstate

TORCH = groundstate.torch
CASE = "simple_gla T=100 H=1 K=16 V=24 gate=slow state=random"


def right(case=CASE, **options):
    """o and ht of simple_gla, in NumPy's types."""
    x = {name: np.asarray(each) for name, each in groundstate.inputs(case).items()}
    o, ht = simple_gla.forward(**x, **options)
    return {"o": simple_gla.bf16(o) if "dtype" not in case else o, "ht": ht}


class FromPython(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="from python ")
        self.addCleanup(folder.cleanup)
        for patch in (mock.patch.dict(os.environ, GROUNDSTATE=program.PROGRAM),
                      mock.patch.object(tempfile, "tempdir", folder.name)):
            patch.start()
            self.addCleanup(patch.stop)
        self.folder = folder.name
        self.addCleanup(lambda: self.assertEqual(os.listdir(folder.name), [], "left behind"))

    def passes(self, case, outputs, **options):
        verdict = groundstate.check(case, outputs, **options)
        self.assertEqual((verdict["status"], verdict["case"].split()[0]), ("PASSED", case.split()[0]))
        return verdict

    def fails(self, words, case, outputs, **options):
        with self.assertRaisesRegex(AssertionError, words) as caught:
            groundstate.check(case, outputs, **options)
        return str(caught.exception)

    def refuses(self, words, case, outputs, **options):
        with self.assertRaisesRegex(ValueError, words):
            groundstate.check(case, outputs, **options)


class WithNumPy(FromPython):
    def setUp(self):
        super().setUp()
        patch = mock.patch.object(groundstate, "torch", None)
        patch.start()
        self.addCleanup(patch.stop)

    def test_a_right_kernel_passes_in_every_type(self):
        for dtype in "fp64", "fp32", "fp16":
            case = f"{CASE} dtype={dtype}"
            kind = np.dtype("float" + dtype[2:])
            self.assertEqual(groundstate.inputs(case)["q"].dtype, kind)
            outputs = right(case)
            self.passes(case, {"o": outputs["o"].astype(kind), "ht": outputs["ht"]})
        self.assertEqual(groundstate.inputs(CASE)["q"].dtype, np.float32)
        verdict = self.passes(CASE, right(), recipe="single", form="recurrent")
        self.assertEqual((verdict["recipe"], verdict["form"]), ("single", "recurrent"))
        self.assertLess(verdict["tensors"]["o"]["clauses"]["A.median"]["value"], 0.7)

    def test_gradients(self):
        case = "simple_gla.backward T=70 H=1 K=16 V=24 gate=medium state=random dht=random dtype=fp32"
        self.passes(case, simple_gla_backward.backward(**groundstate.inputs(case)))

    def test_decayed_sum(self):
        case = "decayed_sum T=40 H=1 V=8 state=random"
        x = groundstate.inputs(case)
        y, S = np.empty_like(x["x"]), x["h0"]
        for t in range(y.shape[1]):
            S = simple_gla.exp(x["g"][:, t, :, None], np.float32) * S + x["x"][:, t]
            y[:, t] = S
        self.passes(case, {"y": y, "ht": S})

    def test_a_fault_is_named_with_tensor_and_place(self):
        outputs = right()
        outputs["ht"][0, 0, 7, 9] += 1
        text = self.fails("FAILED +ht .*\n", CASE, outputs)
        self.assertRegex(text, "PASSED +o ")
        self.assertRegex(text, "first at b=0 h=0 k=7 v=9: got .* expected ")
        self.assertNotIn(self.folder, text, "the file is gone")
        outputs = right()
        outputs["o"][0, 64:] = 0
        self.fails("FAILED +o .*(.*\n)*.*first at b=0 t=64 h=0", CASE, outputs)

    def test_of_stages_the_first_that_diverges_is_named(self):
        case = f"{CASE} dtype=fp32"
        x = groundstate.inputs(case)
        S, states = x["h0"].astype(np.float64), []
        for t in range(x["k"].shape[1]):
            if t % 32 == 0:
                states.append(S.astype(np.float32))
            S = np.exp(x["g"][:, t, :, None, None]) * S + x["k"][:, t, :, :, None] * x["v"][:, t, :, None, :]
        outputs = {**right(case), "stages/chunk_states": np.stack(states, 1)}
        verdict = self.passes(case, outputs, form="chunked[chunk=32]", chunk=32)
        self.assertRegex(verdict["stages"]["sentence"], "no stage diverges .*compared: chunk_states; not given: ")
        outputs["stages/chunk_states"][0, 2, 0, 7, 9] += 1
        self.fails(r"first diverging stage \(chunks of 32\): chunk_states: first at b=0 c=2 h=0 k=7 v=9", case, outputs,
                   chunk=32)
        self.refuses("^chunk_states came as .*; accepted is float32", case, outputs)
        self.refuses("--stages: chunk=0: expected an integer in ", case, outputs, chunk=0)
        outputs["stages/states"] = outputs.pop("stages/chunk_states")
        self.refuses("^states: no such stage; the case has chunk_states ", case, outputs, chunk=32)

    def test_a_nan_fails(self):
        outputs = right()
        outputs["o"][0, 5, 0, 3] = np.nan
        self.fails("first at b=0 t=5 h=0 v=3: got NaN", CASE, outputs)

    def test_a_case_that_proves_nothing_fails(self):
        case = "simple_gla T=64 V=1 gate=closed keys=onehot scale=0 dtype=fp32"
        self.fails("MISTRUSTED: less than 10 %", case, right(case, scale=0))

    def test_marginal_is_a_warning_until_the_form_is_declared(self):
        case = "simple_gla T=200 gate=medium state=random"
        outputs = right(case)
        noise = 0.002 * np.random.default_rng(0).standard_normal(outputs["ht"].shape)
        outputs["ht"] = (outputs["ht"] * (1 + noise)).astype(np.float32)
        with self.assertWarnsRegex(UserWarning, "MARGINAL +ht"):
            self.assertEqual(groundstate.check(case, outputs)["status"], "MARGINAL")
        self.fails("FAILED +ht", case, outputs, recipe="tensorcore", form="chunked")

    def test_bf16_is_taken_as_fp32_that_is_rounded_already(self):
        outputs = right()
        outputs["o"][0, 3, 0, 2] = 1 + 2**-9
        self.refuses(r"o is not rounded to bfloat16: 1 elements .* 1.0019531 at \[0, 3, 0, 2\]", CASE, outputs)

    def test_pools_are_worked_on_in_place(self):
        small = f"{selective_state_update.SMALL} dtype=fp32 padding=interleaved"
        for kind in "fp32", "bf16", "int16", "int8", "fp8":
            with self.subTest(kind):
                case = f"{small} state_dtype={kind}"
                x = groundstate.inputs(case)
                self.assertEqual(x["state"].dtype, {"fp32": np.float32, "bf16": np.float32, "int16": np.int16,
                                                    "int8": np.int8, "fp8": np.uint8}[kind])
                step = selective_state_update.Step(kind)
                outputs = {name: each for name, each in step(**x).items() if each is not None}
                self.passes(case, outputs, recipe="single", form="recurrent")
                untouched = min(set(range(len(x["state"]))) - set(x["state_batch_indices"].ravel()))
                outputs["state"][untouched] = 1
                self.fails(f"slot {untouched} was changed, which no lane writes", case, outputs)

    def test_several_pools(self):
        case = f"{mamba3_step.SMALL} prologue=rotary"
        x = groundstate.inputs(case)
        outputs = mamba3_step.Step(bf16=True)(**x)
        del outputs["rank_out"]
        self.passes(case, outputs, recipe="single", form="recurrent")
        outputs["k_state"] = x["k_state"]
        self.fails("FAILED +k_state", case, outputs, recipe="single", form="recurrent")

    def test_what_is_missing_is_missing_unless_it_is_not_asked_for(self):
        outputs = right()
        ht = outputs.pop("ht")
        self.refuses("^ht: missing; the case has ht o$", CASE, outputs)
        self.assertEqual(list(self.passes(CASE, outputs, only=["o"])["tensors"]), ["o"])
        self.refuses("^ht: not one of `only`", CASE, {**outputs, "ht": ht}, only=["o"])
        self.refuses("^out: no such output; the case has ht o$", CASE, {"out": outputs["o"], "ht": ht})
        self.refuses("^S: no such output", CASE, {"o": outputs["o"], "S": ht}, only=["o", "S"])

    def test_another_shape_or_type_is_refused(self):
        outputs = right()
        o, ht = outputs["o"], outputs["ht"]
        accepted = "accepted is float32 .sequence 1, value_head 1, key 16, value 24.$"
        for values, came in [(ht.swapaxes(2, 3), "float32 .1, 1, 24, 16."), (ht[0], "float32 .1, 16, 24."),
                             (np.float32(0), "float32 .."), (ht.astype(np.float64), "float64 .1, 1, 16, 24."),
                             (ht.astype(">f4"), ">f4 .1, 1, 16, 24."), (None, "object ..")]:
            self.refuses(f"^ht came as {came}.*; {accepted}", CASE, {"o": o, "ht": values})
        for values in o.astype(np.float16), o.astype(np.float64), o.view(np.uint32), o.astype(np.uint16):
            self.refuses(r"^o came as .*; accepted is bfloat16 \(or float32\) \[batch 1", CASE, {"o": values, "ht": ht})

    def test_what_the_program_refuses_it_says_itself(self):
        with self.assertRaisesRegex(ValueError, "^groundstate: .*T=much"):
            groundstate.inputs("simple_gla T=much")
        with self.assertRaisesRegex(ValueError, "is 2 cases; accepted is one"):
            groundstate.inputs("simple_gla T=5,6")
        self.refuses("nosuchrecipe", CASE, right(), recipe="nosuchrecipe")
        self.refuses("nosuchform", CASE, right(), form="nosuchform")
        with mock.patch.dict(os.environ, GROUNDSTATE="/nowhere/groundstate"):
            with self.assertRaisesRegex(RuntimeError, "/nowhere/groundstate: .*; GROUNDSTATE or PATH"):
                groundstate.inputs(CASE)
        with mock.patch.dict(os.environ, GROUNDSTATE="false"):
            with self.assertRaisesRegex(RuntimeError, "false generate .*: exit 1"):
                groundstate.inputs(CASE)

    def test_the_program_is_found_on_the_path(self):
        with tempfile.TemporaryDirectory() as folder:
            os.symlink(program.PROGRAM, os.path.join(folder, "groundstate"))
            with mock.patch.dict(os.environ, PATH=folder):
                del os.environ["GROUNDSTATE"]
                self.assertIn("q", groundstate.inputs(CASE))

    def test_the_lines_of_the_readme(self):
        readme = Path("README.md").read_text()
        (text,) = re.findall(r"^```python\n(# test_my_kernel\.py: .*?)^```$", readme, re.S | re.M)
        self.assertEqual(len(re.findall(r"^(?:import|    )", text, re.M)), 5, "five lines")
        for fault in 1, 2:
            def forward(q, k, v, g, h0):
                o, ht = simple_gla.forward(q, k, v, g=g, h0=h0)
                return simple_gla.bf16(o), fault * ht

            names = {}
            with mock.patch.dict(sys.modules, my_kernel=types.SimpleNamespace(forward=forward)):
                exec(text, names)
                (test,) = (each for name, each in names.items() if name.startswith("test_"))
                if fault == 1:
                    test()
                else:
                    self.assertRaisesRegex(AssertionError, "FAILED +ht", test)


@unittest.skipUnless(TORCH, "PyTorch is not installed")
class WithTorch(FromPython):
    def test_inputs_are_tensors_of_the_types_of_the_case(self):
        for dtype in "float64", "float32", "float16", "bfloat16":
            case = f"{CASE} dtype={dtype.replace('bfloat', 'bf').replace('float', 'fp')}"
            x = groundstate.inputs(case)
            self.assertIs(x["q"].dtype, getattr(TORCH, dtype))
            with mock.patch.object(groundstate, "torch", None):
                np.testing.assert_array_equal(x["q"].double().numpy(), groundstate.inputs(case)["q"])

    def test_a_right_kernel_passes_and_a_wrong_one_does_not(self):
        x = groundstate.inputs(CASE)
        q, k, v, g, S = (x[name].double().requires_grad_() for name in ("q", "k", "v", "g", "h0"))
        rows = []
        for t in range(q.shape[1]):
            S = g[:, t, :, None, None].exp() * S + k[:, t, :, :, None] * v[:, t, :, None, :]
            rows.append(q.shape[3] ** -0.5 * (q[:, t, :, :, None] * S).sum(2))
        o = TORCH.stack(rows, 1)
        self.passes(CASE, {"o": o.bfloat16(), "ht": S.float()})
        self.passes(CASE, {"o": o.bfloat16().float(), "ht": S.float()})
        self.passes(CASE, {"o": o.bfloat16(), "ht": S.float().swapaxes(2, 3).contiguous().swapaxes(2, 3)})
        self.fails("FAILED +o ", CASE, {"o": (2 * o).bfloat16(), "ht": S.float()})
        self.refuses("o is not rounded", CASE, {"o": o.float(), "ht": S.float()})
        self.refuses("o came as float16", CASE, {"o": o.half(), "ht": S.float()})
        self.refuses("ht came as bfloat16", CASE, {"o": o.bfloat16(), "ht": S.bfloat16()})
        self.refuses("ht came as complex64", CASE, {"o": o.bfloat16(), "ht": S.to(TORCH.complex64)})

    def test_codes_in_pools(self):
        for kind, step in [("int8", "int8"), ("fp8", "fp8"), ("bf16", "bf16")]:
            with self.subTest(kind):
                case = f"{selective_state_update.SMALL} dtype=fp32 state_dtype={kind}"
                with mock.patch.object(groundstate, "torch", None):
                    x = groundstate.inputs(case)
                own = {"int8": TORCH.int8, "fp8": getattr(TORCH, "float8_e4m3fn", TORCH.uint8),
                       "bf16": TORCH.bfloat16}[kind]
                self.assertIs(groundstate.inputs(case)["state"].dtype, own)
                outputs = {name: TORCH.from_numpy(each) for name, each in selective_state_update.Step(step)(**x).items()
                           if each is not None}
                self.passes(case, outputs, recipe="single")
                bits = {"bf16": lambda state: groundstate.upper_half("state", state).view(np.int16)}
                state = TORCH.from_numpy(bits.get(kind, np.asarray)(outputs["state"].numpy())).view(own)
                self.passes(case, {**outputs, "state": state}, recipe="single")


if __name__ == "__main__":
    unittest.main()
