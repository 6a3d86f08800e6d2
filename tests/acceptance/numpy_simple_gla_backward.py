"""Gradients from kernels that were written without this project pass: token by token in fp64 and fp32, and in two
passes over chunks in fp32 and with bf16 operands. PASSED, not MARGINAL, with and without a declared form.
"""

import functools
import unittest

import h5py
import simple_gla_backward
from program import ComparedTest, fill

FORMS = {
    "recurrent": (simple_gla_backward.recurrent, "recurrent"),
    "chunked": (functools.partial(simple_gla_backward.chunked, operand=lambda x: x), "chunked[gate_sum=plain]"),
    "bf16": (simple_gla_backward.chunked, "chunked[gate_sum=plain]"),
}

EVERY = "state=random dht=random"


class OutsideKernel(ComparedTest):
    def declare(self, path, recipe, form):
        """The outputs, which declare nothing, once more as a path with recipe and form: one comparison judges both."""
        with h5py.File(path, "r+") as file:
            declared = file["outputs"].create_group("declared")
            declared.attrs.update(recipe=recipe, form=form)
            for name in set(file["outputs"]) - {"declared"}:
                file.copy(file["outputs"][name], declared)

    def each_passes(self, kernel, recipe, cases):
        form, declared = FORMS[kernel]
        for case in cases:
            with self.subTest(case):
                path = self.generated(case)
                fill(path, case, functools.partial(simple_gla_backward.backward, form=form))
                self.declare(path, recipe, declared)
                self.passes(path)

    def test_token_by_token_in_fp64(self):
        self.each_passes("recurrent", "exact", [f"simple_gla.backward dtype=fp64 {case}" for case in [
            "T=100",
            f"T=150 gate=slow {EVERY}",
            f"T=100 gate_inputs=both gamma=-0.05 gate=medium {EVERY} H=1 HV=3 K=24 V=40",
            f"T=100 gate=hard_reset {EVERY} H=1",
            f"lengths=37+0+64+1 gate=medium {EVERY} reverse=yes K=16 V=24",
            f"T=0 {EVERY}",
            f"T=1 {EVERY}",
        ]])

    def test_chunks_in_fp64(self):
        self.each_passes("chunked", "exact", [f"simple_gla.backward dtype=fp64 {case}" for case in [
            f"T=130 gate=normal {EVERY}",
            f"T=130 gate=slow {EVERY} gate_inputs=both gamma=-0.05 K=16 V=24",
        ]])

    def test_token_by_token_in_fp32(self):
        self.each_passes("recurrent", "single", [f"simple_gla.backward dtype=fp32 {case}" for case in [
            "T=100",
            f"T=200 gate=slow {EVERY}",
            f"T=100 gate_inputs=gamma gamma=alibi {EVERY}",
            f"T=100 gate_inputs=none {EVERY}",
            f"T=150 gate_inputs=both gamma=-0.05 gate=hard_reset {EVERY} K=16 V=24",
            "T=100 do=zero dht=random gate=slow",
            f"B=2 T=130 gate=mixed H=2 HV=4 K=24 V=40 {EVERY}",
            f"lengths=37+0+64+1 gate=medium gate_inputs=both gamma=-0.05 K=16 V=24 {EVERY}",
            "T=1",
            f"T=1 {EVERY}",
            f"T=0 {EVERY}",
            f"lengths=0+0 {EVERY}",
        ]])

    def test_chunks_in_fp32(self):
        self.each_passes("chunked", "single", [f"simple_gla.backward dtype=fp32 {case}" for case in [
            "T=128",
            f"T=300 gate=slow {EVERY}",
            f"T=300 gate=normal {EVERY} K=32 V=16",
            f"T=130 gate=dense {EVERY} K=16 V=24",
            f"T=200 gate=hard_reset {EVERY} K=16 V=24",
            f"T=200 gate=reset {EVERY} K=16 V=24",
            # Ours of this form, which does not clamp, is NaN here: no baseline.
            f"T=65 gate=closed gate_inputs=both gamma=-0.05 {EVERY} K=24 V=40",
            f"T=300 gate=hard_reset {EVERY} K=16 V=24",
            f"T=100 gate_inputs=gamma gamma=-0.05 {EVERY}",
            f"T=130 gate_inputs=both gamma=-0.3 {EVERY} H=1 HV=3 K=24 V=40",
            f"T=130 gate_inputs=none {EVERY}",
            "T=130 do=zero dht=random gate=medium",
            f"lengths=37+0+64+100 gate=medium {EVERY} reverse=yes K=16 V=24 state_layout=vk",
            "T=1 dht=random",
            f"T=0 {EVERY}",
        ]])

    def test_chunks_of_bf16_operands(self):
        self.each_passes("bf16", "tensorcore-bf16", [f"simple_gla.backward {case}" for case in [
            "T=128",
            f"T=300 gate=slow {EVERY}",
            f"T=300 gate=normal {EVERY}",
            f"T=130 gate=dense {EVERY}",
            f"T=200 gate=hard_reset {EVERY} K=16 V=24",
            f"T=100 gate_inputs=gamma gamma=-0.05 {EVERY}",
            f"T=130 gate_inputs=both gamma=retnet {EVERY} H=2 HV=4",
            f"T=130 gate_inputs=none {EVERY}",
            "T=130 do=zero dht=random gate=medium",
            "T=130 gate=medium state=random",
            f"lengths=37+0+64+100 gate=medium {EVERY} reverse=yes H=1 HV=3 K=24 V=40 state_layout=vk",
            f"T=1 {EVERY}",
            "T=0 dht=random state=random",
        ]])

    def test_a_sum_to_the_end_of_the_sequence_passes_as_what_it_is(self):
        case = "simple_gla.backward T=500 dtype=fp32 state=random dht=random"
        path = self.generated(case)
        form = functools.partial(FORMS["chunked"][0], dg_form="global")
        fill(path, case, functools.partial(simple_gla_backward.backward, form=form))
        self.passes(path, "--recipe", "single", "--form", "chunked[dg_form=global,gate_sum=plain]")

    def test_other_scales_and_16_bit_gates(self):
        for case in [
            "simple_gla.backward T=100 scale=-0.125 dtype=fp32 dht=random",
            "simple_gla.backward T=100 gate_dtype=bf16 state=random",
            "simple_gla.backward T=100 dtype=fp16 state=random dht=random",
        ]:
            with self.subTest(case):
                path = self.generated(case)
                fill(path, case, simple_gla_backward.backward)
                self.passes(path)


if __name__ == "__main__":
    unittest.main()
