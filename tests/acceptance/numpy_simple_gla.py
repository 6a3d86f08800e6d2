"""A kernel that was written without this project passes: its inputs come from `generate`, or are somebody's
own, and its outputs go to `compare`. PASSED, not MARGINAL, for every dtype, layout and option.
"""

import unittest

import h5py
import numpy as np
import simple_gla
from program import ComparedTest, fill, load


def solve(path, case, form=simple_gla.recurrent, rounded=True):
    """Fills the outputs of a file that `generate` wrote; o is rounded where the case is of bf16, the default."""
    bf16 = rounded and "dtype=" not in case

    def outputs(**inputs):
        o, ht = simple_gla.forward(**inputs, form=form)
        return {"o": simple_gla.bf16(o) if bf16 else o, "ht": ht}

    fill(path, case, outputs)


class OutsideKernel(ComparedTest):
    def test_every_dtype_layout_and_option(self):
        for case in [
            "simple_gla T=100",
            "simple_gla T=100 dtype=fp32",
            "simple_gla T=100 dtype=fp64",
            "simple_gla T=100 dtype=fp16",
            "simple_gla T=300 gate=slow state=random",
            "simple_gla T=300 gate=slow state=random dtype=fp32",
            "simple_gla T=300 gate=slow state=random dtype=fp64",
            "simple_gla B=2 T=130 gate=mixed H=3 K=24 V=40 state=random dtype=fp32",
            "simple_gla T=130 H=2 HV=6 K=32 V=48 state=random",
            "simple_gla T=130 H=2 HV=6 K=32 V=48 state=random dtype=fp64",
            "simple_gla T=100 K=24 V=40 state=random state_layout=vk",
            "simple_gla T=100 K=24 V=40 state=random state_layout=vk dtype=fp32",
            "simple_gla T=100 reverse=yes state=random gate=medium dtype=fp32",
            "simple_gla lengths=37+0+64+1 gate=medium state=random dtype=fp32",
            "simple_gla lengths=37+0+64+1 gate=medium state=random reverse=yes",
            "simple_gla T=100 gate_inputs=gamma gamma=alibi dtype=fp32",
            "simple_gla T=100 gate_inputs=both gamma=-0.05 gate=medium",
            "simple_gla T=100 gate_inputs=both gamma=-0.05 gate=medium dtype=fp64",
            "simple_gla T=100 gate_inputs=none dtype=fp32",
            "simple_gla T=100 scale=-0.125 dtype=fp32",
            "simple_gla T=1 state=random",
            "simple_gla T=0 state=random dtype=fp32",
            "simple_gla lengths=100+28+0+65 H=2 HV=4 K=24 V=40 gate_inputs=both gate=medium state=random"
            " state_layout=vk reverse=yes dtype=fp32",
        ]:
            with self.subTest(case):
                path = self.generated(case)
                solve(path, case)
                self.passes(path)

    def test_a_sample_alone_is_judged_and_named(self):
        path = self.generated("simple_gla T=100 H=8 state=random dtype=fp32")
        solve(path, "simple_gla dtype=fp32")
        with h5py.File(path, "r+") as file:
            file["outputs/o"][:, :, 1:7] = np.nan
        options = ["--pairs", "2", "--sample-only"]
        text, record = self.passes(path, *options)
        note = "a sample is judged: of 8 (sequence, head) pairs the 2 (0, 0) (0, 7)"
        self.assertEqual(record["note"], note)
        self.assertIn(note, text)
        self.assertIn(" ".join(options), record["reproducer"])
        with h5py.File(path, "r+") as file:
            file["outputs/o"][0, 50, 7] *= 1.001
        end, records = self.compared(path, *options)
        self.assertEqual((end.returncode, records["user"]["status"]), (1, "FAILED"), end.stdout)

    def test_the_sample_of_a_small_case_is_all_of_it(self):
        path = self.generated("simple_gla T=100 state=random dtype=fp32")
        solve(path, "simple_gla dtype=fp32")
        _, record = self.passes(path, "--sample-only")
        self.assertNotIn("note", record)
        with h5py.File(path, "r+") as file:
            file["outputs/o"][0, 50, 1] = 0
        end, _ = self.compared(path, "--sample-only")
        self.assertEqual(end.returncode, 1, end.stdout)

    def test_bf16_as_fp32_or_as_uint16_is_the_same_case(self):
        case = "simple_gla T=200 gate=medium state=random"
        identities = set()
        for options in [], ["--as", "fp32"]:
            for form in simple_gla.recurrent, simple_gla.chunked:
                with self.subTest(options=options, form=form.__name__):
                    path = self.generated(case, *options)
                    solve(path, case, form)
                    identities.add(self.passes(path)[1]["id"])
        self.assertEqual(len(identities), 1)

    def test_an_unrounded_output_is_said_to_be_one(self):
        case = "simple_gla T=200 state=random"
        path = self.generated(case, "--as", "fp32")
        solve(path, case, rounded=False)
        self.assertIn("o is fp32, not rounded to bf16", self.passes(path)[0])

    def test_a_chunked_kernel_passes_as_the_form_it_declares(self):
        for case in [
            "simple_gla T=500 gate=slow state=random",
            "simple_gla T=100 gate_inputs=gamma gamma=-0.05 state=random",
            "simple_gla lengths=37+0+64+100 gate=medium state=random",
            "simple_gla T=130 gate=dense",
            "simple_gla T=130 gate_inputs=both gamma=retnet H=2 HV=4",
        ]:
            with self.subTest(case):
                path = self.generated(case)
                solve(path, case, simple_gla.chunked)
                self.passes(path)
                self.passes(path, "--recipe", "tensorcore", "--form", "chunked")

    def test_a_running_sum_of_gates_is_forgiven_its_cancellation_unless_it_promises_two_floats(self):
        def fp32(*arguments):
            return simple_gla.chunked(*arguments, operand=lambda x: x)

        for gate in "normal", "medium", "reset":
            with self.subTest(gate):
                case = f"simple_gla T=500 dtype=fp32 gate={gate} state=random"
                path = self.generated(case)
                solve(path, case, fp32)
                self.passes(path)
                self.passes(path, "--recipe", "single", "--form", "chunked")
        end, _ = self.compared(path, "--recipe", "single", "--form", "chunked[gate_sum=two_float]")
        self.assertEqual(end.returncode, 1, end.stdout)

    def test_part_of_the_outputs(self):
        case = "simple_gla T=100 state=random dtype=fp32"
        path = self.generated(case)
        solve(path, case)
        with h5py.File(path, "r+") as file:
            file["outputs/ht"][...] = 0
        text, record = self.passes(path, "--only", "o")
        self.assertEqual(list(record["tensors"]), ["o"])
        self.assertNotIn("not given", text)
        with h5py.File(path, "r+") as file:
            del file["outputs/ht"]
        text, record = self.passes(path)
        self.assertEqual(list(record["tensors"]), ["o"])
        self.assertIn("not given: ht of path user", text)

    def test_several_paths_of_one_file(self):
        case = "simple_gla T=200 gate=medium state=random"
        path = self.generated(case)
        solve(path, case)
        with h5py.File(path, "r+") as file:
            inputs = {name: load(dataset) for name, dataset in file["inputs"].items()}
            o, ht = simple_gla.forward(**inputs, form=simple_gla.chunked)
            file["outputs/mine/o"] = simple_gla.bf16(o)
            file["outputs/mine/ht"] = ht
            file["outputs/mine"].attrs["recipe"] = "tensorcore-bf16"
            file["outputs/mine"].attrs["form"] = "chunked[chunk=64]"
        end, records = self.compared(path)
        self.assertEqual(end.returncode, 0, end.stdout + end.stderr)
        self.assertEqual(set(records), {"user", "mine"})
        self.assertEqual(records["mine"]["form"], "chunked[chunk=64]")

    def test_against_another_file_and_a_path_of_ours(self):
        case = "simple_gla T=100 dtype=fp32 state=random"
        path, other = self.generated(case), self.generated(case, name="other.h5")
        solve(path, case)
        solve(other, case)
        text, _ = self.passes(path, "--against", other, "--bitwise")
        self.assertIn("0 of 12800 elements differ", text)
        text, _ = self.passes(path, "--against", "recurrent")
        self.assertIn("||a - b|| / ||b||", text)


class OwnTensors(ComparedTest):
    """A file made with nothing but h5py, without the attribute `case`."""

    def own_file(self, dtype=np.float32, mark=None, packing={}, **more):
        random = np.random.default_rng(7)
        shape = {"q": (2, 90, 2, 16), "k": (2, 90, 2, 16), "v": (2, 90, 4, 24)}
        inputs = {name: random.standard_normal(extents).astype(dtype) for name, extents in shape.items()}
        if mark:
            inputs = {name: simple_gla.bf16(x) for name, x in inputs.items()}
        inputs["g"] = (-np.abs(random.standard_normal((2, 90, 4))) / 16).astype(np.float32 if mark else dtype)
        inputs["h0"] = random.standard_normal((2, 4, 16, 24)).astype(np.float32 if mark else dtype)
        o, ht = simple_gla.forward(**inputs, **more)
        path = self.at("own.h5")
        with h5py.File(path, "w") as file:
            for name, x in inputs.items():
                dataset = file.create_dataset("inputs/" + name, data=x, **packing)
                if mark and name in "qkv":
                    dataset.attrs["dtype"] = mark
            file.create_dataset("outputs/o", data=simple_gla.bf16(o) if mark else o, **packing)
            file.create_dataset("outputs/ht", data=ht, **packing)
        return path

    def test_the_case_follows_from_the_tensors(self):
        text, record = self.passes(self.own_file(), "--case", "simple_gla")
        words = set(record["case"].split())
        self.assertLessEqual({"B=2", "T=90", "HV=4", "K=16", "V=24", "dtype=fp32"}, words, record["case"])

    def test_fp64_and_marked_bf16(self):
        self.passes(self.own_file(np.float64), "--case", "simple_gla")
        _, record = self.passes(self.own_file(mark="bfloat16"), "--case", "simple_gla")
        self.assertEqual(record["recipe"], "tensorcore-bf16")

    def test_options_stand_in_the_case_line(self):
        self.passes(self.own_file(scale=0.5, reverse=True), "--case", "simple_gla scale=0.5 reverse=yes")
        end, _ = self.compared(self.own_file(scale=0.5), "--case", "simple_gla")
        self.assertEqual(end.returncode, 1)

    def test_chunked_and_compressed_datasets(self):
        self.passes(self.own_file(packing={"compression": "gzip"}), "--case", "simple_gla")
        packing = {"chunks": True, "compression": "gzip", "shuffle": True, "fletcher32": True}
        self.passes(self.own_file(packing=packing), "--case", "simple_gla")


if __name__ == "__main__":
    unittest.main()
