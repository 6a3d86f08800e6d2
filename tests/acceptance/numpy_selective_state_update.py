"""A decode step on pools that was written without this project passes `compare`, from numbers and from codes; steps
that touch what is not theirs, or take one lane for another, do not.
"""

import unittest

import h5py
import numpy as np
import simple_gla
from program import ComparedTest, fill, groundstate

f32 = np.float32
LARGEST = {"int8": 127, "int16": 32767, "fp8": 448}


def fp8_values():
    """By code; e4m3fn."""
    code = np.arange(256)
    magnitude = code & 0x7F
    fine = np.where(magnitude < 8, magnitude * 2.0**-9, (8 + magnitude % 8) * 2.0 ** (magnitude // 8 - 10))
    values = np.where(magnitude == 0x7F, np.nan, fine)
    return np.where(code & 0x80, -values, values).astype(f32)


FP8 = fp8_values()


def encode(row, kind):
    """Codes and scale of one row, to nearest."""
    amax = np.abs(row).max()
    scale = f32(1) if amax == 0 else f32(LARGEST[kind]) / amax
    v = row * scale
    if kind != "fp8":
        return np.rint(np.clip(v, -LARGEST[kind], LARGEST[kind])), f32(1) / scale
    order = np.argsort(FP8[:0x7F])
    grid = FP8[:0x7F][order]
    above = np.clip(np.searchsorted(grid, np.abs(v)), 1, len(grid) - 1)
    low, high = grid[above - 1], grid[above]
    up = (np.abs(v) - low > high - np.abs(v)) | ((np.abs(v) - low == high - np.abs(v)) & (above % 2 == 0))
    return np.where(up, above, above - 1) + np.where(v < 0, 0x80, 0), f32(1) / scale


class Step:
    """The contract in fp32, with one fault or none."""

    def __init__(self, kind="fp32", bf16=False, fault=None):
        self.kind, self.bf16, self.fault = kind, bf16, fault

    def __call__(self, x, dt, A, B, C, D, state, state_batch_indices, dt_bias, z=None, state_scale=None,
                 dst_state_batch_indices=None, **options):
        lanes, time, heads, values = x.shape
        out = np.zeros(x.shape, f32)
        state, scale = state.copy(), None if state_scale is None else state_scale.copy()
        before = state.copy()
        for lane in range(lanes):
            slot = lane if self.fault == "lane for slot" else state_batch_indices[lane, 0]
            if slot < 0:
                if self.fault == "padded lane writes slot 0":
                    state[0] = 0
                if self.fault == "padded lane has no output":
                    out[lane] = np.nan
                continue
            to = slot if dst_state_batch_indices is None else dst_state_batch_indices[lane, 0]
            for h in range(heads):
                S = FP8[before[slot, h]] if self.kind == "fp8" else before[slot, h].astype(f32)
                if scale is not None:
                    S = S * state_scale[slot, h][:, None]
                group = h // (heads // B.shape[2])
                for t in range(time):
                    d = dt[lane, t, h].astype(f32) + dt_bias[h]
                    if self.fault == "softplus without log1p":
                        d = np.log(np.exp(d) + f32(1))
                    else:
                        d = np.where(d <= 20, np.log1p(np.exp(np.minimum(d, 20))), d)
                    d = np.broadcast_to(d, values)[:, None]
                    S = S * np.exp(A[h] * d) + d * B[lane, t, group][None, :] * x[lane, t, h][:, None]
                    seen = simple_gla.bf16(S) if self.fault == "output of the rounded state" else S
                    y = seen @ C[lane, t, group] + x[lane, t, h] * D[h]
                    if z is not None:
                        gate = z[lane, t, h].astype(f32)
                        y = y * gate / (1 + np.exp(-gate))
                    out[lane, t, h] = y
                if self.kind in LARGEST:
                    for p in range(values):
                        state[to, h, p], scale[to, h, p] = encode(S[p], self.kind)
                else:
                    state[to, h] = simple_gla.bf16(S) if self.kind == "bf16" else S
                if self.fault == "the last slot is cleared":
                    state[-1] = 0
        return {"out": simple_gla.bf16(out) if self.bf16 else out, "state": state, "state_scale": scale}


SMALL = "selective_state_update B=6 H=4 G=2 P=8 N=16"


class OutsideStep(ComparedTest):
    def test_numbers_and_codes(self):
        for case, step in [
            (SMALL, Step(bf16=True)),
            (f"{SMALL} dtype=fp32", Step()),
            (f"{SMALL} dtype=fp32 z=random T=3", Step()),
            (f"{SMALL} dtype=fp32 tied=none D=channel", Step()),
            (f"{SMALL} dtype=fp32 padding=interleaved", Step()),
            (f"{SMALL} dtype=fp32 padding=trailing dst=separate", Step()),
            (f"{SMALL} dtype=fp32 state_dtype=bf16", Step("bf16")),
            (f"{SMALL} dtype=fp32 state_dtype=int16", Step("int16")),
            (f"{SMALL} dtype=fp32 state_dtype=int8 padding=first", Step("int8")),
            (f"{SMALL} dtype=fp32 state_dtype=fp8", Step("fp8")),
        ]:
            with self.subTest(case):
                path = self.generated(case)
                fill(path, case, step)
                self.passes(path, "--recipe", "single", "--form", "recurrent")

    def test_a_fault_fails(self):
        for fault, case, words in [
            ("lane for slot", f"{SMALL} dtype=fp32 pool=6", "out"),
            ("padded lane writes slot 0", f"{SMALL} dtype=fp32 indices=identity padding=first",
             "slot 0 was changed, which no lane writes"),
            ("padded lane has no output", f"{SMALL} dtype=fp32 padding=interleaved", "it must be [+]0"),
            ("the last slot is cleared", f"{SMALL} dtype=fp32 indices=identity pool=9", "slot 8 was changed, which no lane writes"),
            ("softplus without log1p", f"{SMALL} dtype=fp32 dt=small state=zero", "state"),
            ("output of the rounded state", f"{SMALL} dtype=fp32 state_dtype=bf16", "out"),
        ]:
            with self.subTest(fault):
                path = self.generated(case)
                fill(path, case, Step("bf16" if "bf16" in case else "fp32", fault=fault))
                end, records = self.compared(path, "--recipe", "single", "--form", "recurrent")
                self.assertEqual((end.returncode, records["user"]["status"]), (1, "FAILED"), end.stdout)
                self.assertRegex(end.stdout, words)

    def test_somebodys_own_tensors_need_no_case(self):
        path = self.generated(f"{SMALL} dtype=fp32 padding=interleaved seed=9")
        fill(path, "selective_state_update", Step())
        with h5py.File(path, "r+") as file:
            for name in "case", "operator":
                del file.attrs[name]
            indices = file["inputs/state_batch_indices"]
            indices[...] = np.where(indices[...] < 0, -77, indices[...])
        text, _ = self.passes(path, "--case", "selective_state_update", "--recipe", "single")
        self.assertIn("slots=given", text)

    def test_slots_of_two_lanes_are_bad_input(self):
        path = self.generated(f"{SMALL} dtype=fp32")
        with h5py.File(path, "r+") as file:
            file["inputs/state_batch_indices"][3] = file["inputs/state_batch_indices"][1]
        end = groundstate("compare", path)
        self.assertEqual(end.returncode, 2, end.stdout)
        self.assertRegex(end.stderr, "lanes 1 and 3 both write slot [0-9]+")


if __name__ == "__main__":
    unittest.main()
