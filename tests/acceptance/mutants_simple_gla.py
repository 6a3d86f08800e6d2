"""Known-wrong kernels fail, and the message says where; the honest twin of each passes on the same case.

The cases are those of data/simple_gla.cases that are there for the mutant.
"""

import functools
import json
import unittest

import h5py
import numpy as np
import simple_gla
from program import MutantTest, load, options_of, store
from simple_gla import bf16, exp


def exact(x):
    return x


def tf32(x):
    """x rounded to eleven significant bits, ties to even."""
    bits = x.view(np.uint32)
    return ((bits + 0xFFF + (bits >> 13 & 1)) & 0xFFFFE000).view(np.float32)


def honest(inputs, form=None, **options):
    """Chunked with bf16 operands, or with `form`."""
    return simple_gla.forward(**inputs, **options, form=form or simple_gla.chunked)


fp32_chunked = functools.partial(simple_gla.chunked, operand=exact)

# ---- forms with one thing wrong


def forgetful(q, k, v, gate, S, head=3, token=200):
    """One head loses its state once."""
    before, S = simple_gla.recurrent(q[:token], k[:token], v[:token], gate[:token], S)
    S[head] = 0
    behind, S = simple_gla.recurrent(q[token:], k[token:], v[token:], gate[token:], S)
    return np.concatenate([before, behind]), S


def state_off_by_one(q, k, v, gate, S, chunk=64):
    """The state crosses a chunk end without the gate of the last token."""
    rows = []
    for begin in range(0, len(v), chunk):
        part = slice(begin, begin + chunk)
        o, end = fp32_chunked(q[part], k[part], v[part], gate[part], S)
        rows.append(o)
        shorter = gate[part].copy()
        shorter[-1] = 0
        S = fp32_chunked(q[part], k[part], v[part], shorter, S)[1] if begin + chunk <= len(v) else end
    return np.concatenate(rows), S


def output_off_by_one(q, k, v, gate, S, chunk=64):
    """The last row of a chunk is decayed by the gate of the row before it."""
    o, S_end = fp32_chunked(q, k, v, gate, S)
    for last in range(chunk - 1, len(v), chunk):
        o[last] /= exp(gate[last], np.float32)[:, None]
    return o, S_end


def padded(q, k, v, gate, S, operand, chunk=64):
    """The constant decay goes on in the padding of the last chunk."""
    o, S = simple_gla.chunked(q, k, v, gate, S, operand=operand)
    return o, exp(gate[-1] * (-len(v) % chunk), np.float32)[:, None, None] * S


def bf16_state(q, k, v, gate, S):
    """The state is bf16 between tokens."""
    o = np.empty_like(v)
    for t in range(len(v)):
        S = bf16(exp(gate[t], np.float32)[:, None, None] * S + k[t][:, :, None] * v[t][:, None, :])
        o[t] = np.sum(q[t][:, :, None] * S, axis=1)
    return o, S


def bf16_state_per_chunk(q, k, v, gate, S, chunk=64):
    rows = []
    for begin in range(0, len(v), chunk):
        part = slice(begin, begin + chunk)
        o, S = simple_gla.chunked(q[part], k[part], v[part], gate[part], S)
        S = bf16(S)
        rows.append(o)
    return np.concatenate(rows), S


def tf32_operands(q, k, v, gate, S):
    return simple_gla.chunked(tf32(q), tf32(k), tf32(v), gate, S, operand=tf32)


def masked_by_a_product(q, k, v, gate, S, chunk=64):
    """0 * infinity above the diagonal."""
    o, S_end = simple_gla.chunked(q, k, v, gate, S)
    with np.errstate(over="ignore", invalid="ignore"):
        for begin in range(0, len(v), chunk):
            G = np.cumsum(gate[begin:begin + chunk], axis=0).T
            decay = np.exp(G[:, :, None] - G[:, None, :]) * np.tri(G.shape[1], dtype=np.float32)
            o[begin:begin + chunk] += 0 * decay.sum(axis=2).T[:, :, None]
    return o, S_end


def neighbours_state(inputs, **options):
    """The second packed sequence goes on from the state of the first."""
    o, ht = honest(inputs, simple_gla.recurrent, **options)
    second = dict(inputs, h0=inputs["h0"].copy())
    second["h0"][1] = ht[0]
    leaked, leaked_ht = honest(second, simple_gla.recurrent, **options)
    begin, end = inputs["cu_seqlens"][1:3]
    o[:, begin:end], ht[1] = leaked[:, begin:end], leaked_ht[1]
    return o, ht


class Mutants(MutantTest):
    def judged(self, case, solve, options=(), written=slice(None)):
        """What `compare` says of the outputs of solve(inputs, ...), whose tokens `written` get into the file."""
        path = self.generated(case)
        with h5py.File(path, "r+") as file:
            inputs = {name: load(dataset) for name, dataset in file["inputs"].items()}
            o, ht = solve(inputs, **options_of(case))
            unwritten = load(file["outputs/o"])
            unwritten[:, written] = o[:, written]
            store(file["outputs/o"], unwritten)
            store(file["outputs/ht"], ht)
        end, records = self.compared(path, *options)
        self.assertEqual(end.stderr, "")
        return end, records["user"]

    def each(self, start):
        """The cases of data/simple_gla.cases whose reason starts so, with an honest form for their dtype."""
        lines = self.succeeds("list", "@data/simple_gla.cases", "--json").splitlines()
        cases = [each["case"] for each in map(json.loads, lines) if each["reason"].startswith(start)]
        self.assertTrue(cases, f"data/simple_gla.cases has no case for: {start}")
        for case in cases:
            yield case, simple_gla.recurrent if "dtype=fp32" in case.split() else simple_gla.chunked

    def test_one_flipped_sign(self):
        for case, form in self.each("one flipped sign"):
            place = {}

            def flipped(inputs, **options):
                o, ht = honest(inputs, form, **options)
                middle = np.argsort(np.abs(o), axis=None)[o.size // 2]
                place.update(zip("bthv", np.unravel_index(middle, o.shape)))
                o.flat[middle] *= -1
                return o, ht

            self.passes(case, functools.partial(honest, form=form))
            record = self.fails(case, flipped, "o", "1 of 64000 elements")
            where = "b={b} t={t} h={h} v={v}".format(**place)
            self.assertEqual(record["tensors"]["o"]["first_bad"], where)
            self.assertIn("at " + where, record["tensors"]["o"]["finding"])
            self.assertEqual(record["tensors"]["ht"]["status"], "PASSED")

    def test_a_head_that_forgets_once(self):
        for case, form in self.each("a head that forgets"):
            self.passes(case, functools.partial(honest, form=form))
            self.fails(case, functools.partial(honest, form=forgetful), "o", "t=200 h=3", "only head 3")

    def test_the_gate_off_by_one_at_chunk_ends(self):
        for case, _ in self.each("the gate off by one"):
            self.passes(case, functools.partial(honest, form=fp32_chunked))
            self.fails(case, functools.partial(honest, form=state_off_by_one), "o", "b=0 t=64 ", "all heads")
            self.fails(case, functools.partial(honest, form=output_off_by_one), "o", "b=0 t=63 ", "t = 63 mod 64")

    def test_a_constant_decay_that_goes_on_in_the_padding(self):
        for case, form in self.each("a constant decay that runs on"):
            operand = exact if form is simple_gla.recurrent else bf16
            self.passes(case, functools.partial(honest, form=functools.partial(simple_gla.chunked, operand=operand)))
            mutant = functools.partial(honest, form=functools.partial(padded, operand=operand))
            record = self.fails(case, mutant, "ht", "b=0 h=0 k=0", "all heads")
            self.assertEqual(record["tensors"]["o"]["status"], "PASSED")

    def test_a_bf16_state(self):
        for case, form in self.each("a state kept in bf16"):
            self.passes(case, functools.partial(honest, form=form))
            for mutant in bf16_state, bf16_state_per_chunk:
                solve = functools.partial(honest, form=mutant)
                record = self.fails(case, solve, "ht", r"b=0 h=\d k=\d+ v=\d+")
                self.assertFalse(record["tensors"]["ht"]["clauses"]["C.grid"]["passed"])
            # A state that is rounded at every token shows in o alone; once a chunk it is rounded as an operand anyway.
            solve = functools.partial(honest, form=bf16_state)
            self.fails(case, solve, "o", r"b=0 t=\d+ h=\d v=\d+", "all heads", options=["--only", "o"])

    def test_a_bf16_state_whose_last_value_is_not_rounded(self):
        def hidden(q, k, v, gate, S, form, tokens):
            before, S = form(q[:-tokens], k[:-tokens], v[:-tokens], gate[:-tokens], S)
            behind, S = simple_gla.recurrent(q[-tokens:], k[-tokens:], v[-tokens:], gate[-tokens:], S)
            return np.concatenate([before, behind]), S

        for case, _ in self.each("a state kept in bf16"):
            for form, tokens in (bf16_state, 1), (bf16_state_per_chunk, 64):
                solve = functools.partial(honest, form=functools.partial(hidden, form=form, tokens=tokens))
                record = self.fails(case, solve, "ht", r"b=0 h=\d k=\d+ v=\d+")
                self.assertTrue(record["tensors"]["ht"]["clauses"]["C.grid"]["passed"])

    def test_tf32_operands_in_a_kernel_that_declares_fp32(self):
        for case, form in self.each("TF32 operands"):
            for options in [], ["--recipe", "single"]:
                self.passes(case, functools.partial(honest, form=form), options)
                self.fails(case, functools.partial(honest, form=tf32_operands), "o", r"t=\d+ h=\d", "all heads",
                           options=options)
            self.passes(case, functools.partial(honest, form=tf32_operands), ["--recipe", "tf32"])

    def test_one_nan(self):
        def one_nan(inputs, **options):
            o, ht = honest(inputs, simple_gla.recurrent, **options)
            o[0, 129, 1, 5] = np.nan
            return o, ht

        for case, form in self.each("NaN: 0 * inf"):
            self.passes(case, functools.partial(honest, form=form))
            self.fails(case, one_nan, "o", "b=0 t=129 h=1 v=5: got NaN", "1 of ", "only head 1", "only v=5")
            solve = functools.partial(honest, form=masked_by_a_product)
            self.fails(case, solve, "o", r"t=\d+ .*got NaN", "all heads")

    def test_a_row_that_nobody_writes(self):
        for case, form in self.each("the row that nobody writes"):
            solve = functools.partial(honest, form=form)
            self.passes(case, solve)
            self.fails(case, solve, "o", "t=64 ", r"2 rows NaN throughout \(never written\?\)", "only in the last, partial chunk",
                       written=slice(64))

    def test_a_last_row_that_stays_zero(self):
        def dropped(inputs, **options):
            o, ht = honest(inputs, simple_gla.recurrent, **options)
            o[:, -1] = 0
            return o, ht

        for case, _ in self.each("the row that nobody writes"):
            self.fails(case, dropped, "o", "t=64 ", "only at the last token", "only in the last, partial chunk")

    def test_zeros(self):
        def zeros(inputs, **options):
            return tuple(np.zeros_like(x) for x in honest(inputs, **options))

        for case, form in self.each("a kernel that returns zeros"):
            self.passes(case, functools.partial(honest, form=form))
            for tensor in "o", "ht":
                self.fails(case, zeros, tensor, r"got 0x0p\+0", "all heads")

    def test_outputs_truncated_to_bf16(self):
        def truncated(inputs, form, **options):
            o, ht = honest(inputs, form, **options)
            return (o.view(np.uint32) & 0xFFFF0000).view(np.float32), ht

        for case, form in self.each("every regime that decays"):
            record = self.fails(case, functools.partial(truncated, form=form), "o", r"mean signed error -0\.\d")
            self.assertFalse(record["tensors"]["o"]["clauses"]["D.truncation"]["passed"])
            self.passes(case, functools.partial(honest, form=form))

    def test_a_final_state_rounded_to_bf16(self):
        def rounded(inputs, form, **options):
            o, ht = honest(inputs, form, **options)
            return o, bf16(ht)

        for start in "every regime that decays", "the same where an error of the gate":
            for case, form in self.each(start):
                record = self.fails(case, functools.partial(rounded, form=form), "ht", "bf16 grid|first|worst")
                self.assertFalse(record["tensors"]["ht"]["clauses"]["C.grid"]["passed"])
                self.assertEqual(record["tensors"]["o"]["status"], "PASSED")

    def test_swapped_heads(self):
        def swapped(inputs, **options):
            o, ht = honest(inputs, simple_gla.recurrent, **options)
            return o[:, :, [0, 2, 1, 3]], ht[:, [0, 2, 1, 3]]

        for case, _ in self.each("a head that forgets"):
            for tensor in "o", "ht":
                self.fails(case, swapped, tensor, "only heads 1, 2 of 4")

    def test_a_transposed_final_state(self):
        def transposed(inputs, form, **options):
            o, ht = honest(inputs, form, **options)
            return o, ht.swapaxes(2, 3)

        for case, form in self.each("one flipped sign"):
            record = self.fails(case, functools.partial(transposed, form=form), "ht", r"b=0 h=0 k=\d+ v=", "all heads")
            self.assertEqual(record["tensors"]["o"]["status"], "PASSED")

    def test_a_state_that_leaks_into_the_next_sequence(self):
        for case, form in self.each("several boundaries inside one tile"):
            self.passes(case, functools.partial(honest, form=form))
            for tensor in "o", "ht":
                self.fails(case, neighbours_state, tensor, "only n=1")


if __name__ == "__main__":
    unittest.main()
