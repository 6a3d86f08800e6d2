"""A Mamba-3 step on pools that was written without this project passes `compare`, plain, with its prologue and over
several tokens; steps that forget a term, take one factor for another or touch what is not theirs do not.
"""

import unittest

import h5py
import numpy as np
import simple_gla
from program import ComparedTest, fill, groundstate

f32 = np.float32


def silu(x):
    return x / (1 + np.exp(-x))


class Step:
    """The contract in fp32, with one fault or none."""

    def __init__(self, bf16=False, halved=False, fault=None):
        self.bf16, self.halved, self.fault = bf16, halved, fault

    def rotate(self, rows, phi):
        """The last axis of [rank, state] by the angles of the leading pairs."""
        F, N = len(phi), rows.shape[-1]
        halved = self.halved != (self.fault == "the other layout")
        first = np.arange(F) if halved else 2 * np.arange(F)
        second = first + (N // 2 if halved else 1)
        result = rows.copy()
        result[:, first] = rows[:, first] * np.cos(phi) - rows[:, second] * np.sin(phi)
        result[:, second] = rows[:, first] * np.sin(phi) + rows[:, second] * np.cos(phi)
        return result

    def keys(self, rows, norm, bias, phi):
        if norm is not None:
            rows = rows / np.sqrt((rows * rows).mean(-1, keepdims=True) + f32(1e-5)) * norm
        if bias is not None and self.fault != "bias behind the rotation":
            rows = rows + bias
        rows = self.rotate(rows, phi)
        return rows + bias if self.fault == "bias behind the rotation" else rows

    def __call__(self, x, A, dt, trap, B, C, state, k_state, x_state, D=None, xproj=None, outproj=None, z=None, zproj=None,
                 theta=None, B_bias=None, C_bias=None, B_norm=None, C_norm=None, angle_state=None,
                 state_batch_indices=None, **options):
        lanes, time, heads, P = x.shape
        R, G = B.shape[2], B.shape[3]
        xproj = np.ones((R, heads, P), f32) if xproj is None else xproj
        out = np.zeros((lanes, time, R, heads, P), f32)
        pools = {"state": state.copy(), "k_state": k_state.copy(), "x_state": x_state.copy()}
        if angle_state is not None:
            pools["angle_state"] = angle_state.copy()
        for lane in range(lanes):
            slot = lane if state_batch_indices is None else state_batch_indices[lane, 0]
            if slot < 0:
                if self.fault == "padded lane writes slot 0":
                    pools["k_state"][0] = 0
                continue
            for h in range(heads):
                S = state[slot, h].astype(f32)
                K, X = k_state[slot, :, h].astype(f32), x_state[slot, h].astype(f32)
                phi = None if theta is None else angle_state[slot, h].copy()
                for t in range(time):
                    d, lam = dt[lane, t, h], trap[lane, t, h]
                    if self.fault == "trap is a logit":
                        lam = 1 / (1 + np.exp(-lam))
                    alpha = np.exp(A[lane, t, h] * d)
                    group = h // (heads // G)
                    b, c = B[lane, t, :, group].astype(f32), C[lane, t, :, group].astype(f32)
                    if theta is not None:
                        used = phi.copy()
                        phi = phi + f32(np.pi) * np.tanh(theta[lane, t, h]) * d
                        phi = phi - f32(2 * np.pi) * np.floor(phi / f32(2 * np.pi))
                        if self.fault != "angle after its use":
                            used = phi
                        bias = (None, None) if B_bias is None else (B_bias[:, h], C_bias[:, h])
                        b, c = self.keys(b, B_norm, bias[0], used), self.keys(c, C_norm, bias[1], used)
                    beta = (1 - lam) * d * (1 if self.fault == "the term before does not decay" else alpha)
                    u = x[lane, t, h].astype(f32)
                    S = S * alpha + np.einsum("rp,rn->pn", lam * d * u * xproj[:, h], b)
                    if self.fault != "no term of the token before":
                        S = S + np.einsum("rp,rn->pn", beta * X * xproj[:, h], K)
                    y = np.einsum("pn,rn->rp", S, c)
                    if D is not None:
                        y = y + D[h] * u * (1 if self.fault == "D of x without xproj" else xproj[:, h])
                    if z is not None:
                        y = y * silu(z[lane, t, h].astype(f32) * zproj[:, h])
                    out[lane, t, :, h] = y
                    K, X = b, u
                pools["state"][slot, h] = S
                if self.fault != "k_state is not written":
                    pools["k_state"][slot, :, h] = simple_gla.bf16(K) if self.bf16 else K
                pools["x_state"][slot, h] = X
                if theta is not None:
                    pools["angle_state"][slot, h] = phi
        if outproj is not None:
            out = (out * outproj[None, None]).sum(2, dtype=f32)
        return {"out": simple_gla.bf16(out) if self.bf16 else out, "rank_out": out, **pools}


SMALL = "mamba3_step B=6 H=4 G=2 P=8 N=16 R=3"


class OutsideStep(ComparedTest):
    def test_every_form(self):
        for case, step in [
            (SMALL, Step(bf16=True)),
            (f"{SMALL} dtype=fp32 z=random T=3", Step()),
            (f"{SMALL} dtype=fp32 outproj=none D=none", Step()),
            ("mamba3_step B=3 H=4 P=8 N=16 R=1 xproj=none dtype=fp32", Step()),
            (f"{SMALL} dtype=fp32 padding=interleaved", Step()),
            (f"{SMALL} dtype=fp32 prologue=rotary F=5", Step()),
            (f"{SMALL} dtype=fp32 prologue=norm rotation=halved T=3", Step(halved=True)),
            (f"{SMALL} dtype=fp32 prologue=rotary bias=none padding=first", Step()),
        ]:
            with self.subTest(case):
                path = self.generated(case)
                fill(path, case, step)
                self.passes(path, "--recipe", "single", "--form", "recurrent")

    def test_a_fault_fails(self):
        plain, turned = f"{SMALL} dtype=fp32", f"{SMALL} dtype=fp32 prologue=rotary"
        for fault, case, words in [
            ("no term of the token before", plain, "state"),
            ("the term before does not decay", plain, "state"),
            ("trap is a logit", plain, "state"),
            ("D of x without xproj", plain, "out"),
            ("k_state is not written", plain, "k_state"),
            ("padded lane writes slot 0", f"{plain} indices=identity padding=first",
             "k_state: slot 0 was changed, which no lane writes"),
            ("angle after its use", turned, "k_state"),
            ("bias behind the rotation", turned, "k_state"),
            ("the other layout", turned, "k_state"),
        ]:
            with self.subTest(fault):
                path = self.generated(case)
                fill(path, case, Step(fault=fault))
                end, records = self.compared(path, "--recipe", "single", "--form", "recurrent")
                self.assertEqual((end.returncode, records["user"]["status"]), (1, "FAILED"), end.stdout)
                self.assertRegex(end.stdout, words)

    def test_k_state_that_is_the_callers_must_stay(self):
        path = self.generated(f"{SMALL} dtype=fp32 update_kv=no")
        fill(path, SMALL, Step())
        end, records = self.compared(path, "--recipe", "single")
        self.assertEqual((end.returncode, records["user"]["status"]), (1, "FAILED"), end.stdout)
        self.assertRegex(end.stdout, "k_state: slot [0-9]+ was changed, which this call leaves alone")

    def test_somebodys_own_tensors_need_no_case(self):
        path = self.generated(f"{SMALL} dtype=fp32 padding=interleaved prologue=norm F=4 seed=9")
        fill(path, SMALL, Step())
        with h5py.File(path, "r+") as file:
            for name in "case", "operator":
                del file.attrs[name]
            indices = file["inputs/state_batch_indices"]
            indices[...] = np.where(indices[...] < 0, -77, indices[...])
        text, _ = self.passes(path, "--case", "mamba3_step", "--recipe", "single")
        self.assertIn("slots=given", text)

    def test_what_the_cuda_step_refuses_is_bad_input(self):
        for line, words in [
            ("tile_d=32", "tile_d is 32; update_kv_state needs a single D-tile"),
            ("update_kv=no tile_d=48", "tile_d is 48; it must divide P = 64"),
            ("z=random outproj=none", "z needs outproj"),
            ("state_out=yes", "state_out is for the dense form"),
            ("prologue=rotary pool_rotation=halved", "rotated halved, B and C of this call pairwise"),
            ("indices=duplicate", "lanes 0 and 1 both write slot"),
            ("indices=out_of_range", "state_batch_indices of lane 3 is"),
        ]:
            with self.subTest(line):
                end = groundstate("run", f"mamba3_step {line}")
                self.assertEqual(end.returncode, 2, end.stdout)
                self.assertRegex(end.stderr, words)


if __name__ == "__main__":
    unittest.main()
