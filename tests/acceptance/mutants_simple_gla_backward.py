"""Known-wrong backward kernels fail, and the message says which gradient is wrong and where; the honest twin of each
passes on the same case.
"""

import dataclasses
import functools
import unittest

import numpy as np
import simple_gla_backward
from program import MutantTest, fill
from simple_gla import exp
from simple_gla_backward import backward, chunked, recurrent, state_pass, token_pass


def exact(x):
    return x


fp32_chunked = functools.partial(chunked, operand=exact)


def solving(form, **changes):
    """The gradients of `form`; those in `changes` go through a function."""
    def solve(**inputs):
        gradients = backward(**inputs, form=form)
        return gradients | {name: change(gradients[name]) for name, change in changes.items()}
    return solve


# ---- forms with one thing wrong


def first_gate_left_out(*problem):
    """dh0 is the gradient of the state behind the first decay."""
    gate = problem[3]
    *rest, dh0 = recurrent(*problem)
    return *rest, dh0 / exp(gate[0], dh0.dtype)[:, None, None]


def gate_off_by_one(q, k, v, gate, *more):
    """On the way from a token to the one before it dS decays by the gate of the wrong one."""
    dq = recurrent(q, k, v, gate, *more)[0]
    return dq, *recurrent(q, k, v, np.concatenate([gate[:1], gate[:-1]]), *more)[1:]


def padded(q, k, v, gate, S, do, dS, *more, form, chunk=64):
    """The constant decay goes on in the padding of the last chunk."""
    return form(q, k, v, gate, S, do, exp(gate[-1] * (-len(v) % chunk), v.dtype)[:, None, None] * dS, *more)


def without_dht(q, k, v, gate, S, do, dS, *more):
    return fp32_chunked(q, k, v, gate, S, do, np.zeros_like(dS), *more)


def stale(slot, content):
    """The second pass finds something else in a slot of the gradients of the states."""
    def reading(c, S, dS):
        return token_pass(c, S, content(dS) if c.number == slot else dS)
    return functools.partial(fp32_chunked, token_pass=reading)


def blind_to_the_diagonal(c):
    return dataclasses.replace(c, decay=c.decay * np.tri(c.decay.shape[1], k=-1, dtype=c.decay.dtype))


def undecayed_keys(c):
    return dataclasses.replace(c, to_end=np.ones_like(c.to_end))


def undecayed_scores(c):
    return dataclasses.replace(c, decay=np.broadcast_to(np.tri(c.decay.shape[1], dtype=c.decay.dtype), c.decay.shape))


def keys_decayed_by_their_own_gate(c):
    own = np.concatenate([c.from_begin[:, :1, 0], np.diagonal(c.decay, -1, 1, 2)], axis=1)
    return dataclasses.replace(c, to_end=own[:, :, None] * c.to_end)


def state_pass_of(wrong, **more):
    return functools.partial(chunked, state_pass=lambda c, dS: state_pass(wrong(c), dS), **more)


def token_pass_of(wrong, **more):
    return functools.partial(chunked, token_pass=lambda c, S, dS: token_pass(wrong(c), S, dS), **more)


# ---- wrong around the kernel


def one_head_of_each_group(q, k, v, **inputs):
    """dq of the first value head of each group alone."""
    group = v.shape[2] // q.shape[2]
    apart = backward(np.repeat(q, group, axis=2), np.repeat(k, group, axis=2), v, **inputs, form=fp32_chunked)
    return backward(q, k, v, **inputs, form=fp32_chunked) | {"dq": apart["dq"][:, :, ::group]}


def leaking_into_the_sequence_before(**inputs):
    """The first packed sequence goes on from the gradient of the second."""
    gradients = backward(**inputs)
    leaking = backward(**inputs | {"dht": np.concatenate([gradients["dh0"][1:2], inputs["dht"][1:]])})
    end = inputs["cu_seqlens"][1]
    for name in "dk", "dv", "dg":
        gradients[name][:, :end] = leaking[name][:, :end]
    gradients["dh0"][0] = leaking["dh0"][0]
    return gradients


class Mutants(MutantTest):
    def judged(self, case, solve, options=()):
        path = self.generated(case)
        fill(path, case, solve)
        end, records = self.compared(path, *options)
        self.assertEqual(end.stderr, "")
        return end, records["user"]

    def wrong_in(self, tensors, case, solve, *words, options=()):
        """Exactly these fail, each with the words."""
        record = self.fails(case, solve, tensors, *words, options=options)
        wrong = {name for name, own in record["tensors"].items() if own["status"] != "PASSED"}
        self.assertEqual(wrong, set(tensors), case)
        return record

    def test_each_gradient_off_by_two_percent(self):
        for dtype, form in ("fp32", fp32_chunked), ("bf16", chunked):
            case = (f"simple_gla.backward T=200 K=32 V=32 dtype={dtype} gate=slow gate_inputs=both gamma=-0.01 "
                    "state=random dht=random")
            self.passes(case, solving(form))
            for tensor in "dq", "dk", "dv", "dg", "dg_gamma", "dh0":
                with self.subTest(dtype=dtype, tensor=tensor):
                    # One number a head: 2 % are 2.6 honest errors of bf16 operands here, the limit is 3.6.
                    factor = np.float32(1.05 if (dtype, tensor) == ("bf16", "dg_gamma") else 1.02)
                    words = [] if dtype == "bf16" and tensor in ("dg", "dg_gamma") else ["all heads"]
                    self.wrong_in([tensor], case, solving(form, **{tensor: lambda x: factor * x}), *words)

    def test_dg_gamma_of_zeros(self):
        case = "simple_gla.backward T=200 H=4 gate_inputs=both gamma=-0.01 state=random dht=random dtype=fp32"
        self.wrong_in(["dg_gamma"], case, solving(fp32_chunked, dg_gamma=np.zeros_like), r"got 0x0p\+0", "all heads")

    def test_dg_gamma_of_a_bf16_kernel(self):
        case = "simple_gla.backward T=200 H=4 gate_inputs=both gamma=-0.01 state=random dht=random"
        self.wrong_in(["dg_gamma"], case, solving(chunked, dg_gamma=np.zeros_like))

    def test_a_gradient_off_by_two_percent_in_one_head(self):
        case = "simple_gla.backward T=200 H=4 K=16 V=16 dtype=fp32 gate=slow state=random dht=random"
        factor = np.float32([1, 1, 1.02, 1])
        for tensor in "dq", "dk", "dv", "dg", "dh0":
            with self.subTest(tensor):
                heads = factor[:, None] if tensor in ("dq", "dk", "dv") else factor
                heads = factor[:, None, None] if tensor == "dh0" else heads
                self.wrong_in([tensor], case, solving(fp32_chunked, **{tensor: lambda x: heads * x}), "only head 2")

    def test_dg_summed_to_the_end_of_a_long_sequence_but_declared_by_chunk(self):
        for dtype, form, recipe in ("fp32", fp32_chunked, "single"), ("bf16", chunked, "tensorcore-bf16"):
            with self.subTest(dtype):
                case = f"simple_gla.backward T=8192 H=1 K=16 V=16 dtype={dtype} gate=normal"
                mutant = solving(functools.partial(form, dg_form="global"))
                for dg_form in "chunk", "global":
                    options = ["--recipe", recipe, "--form", f"chunked[dg_form={dg_form},gate_sum=plain]"]
                    if dg_form == "chunk":
                        self.passes(case, solving(form), options)
                        self.wrong_in(["dg"], case, mutant, options=options)
                    else:
                        self.passes(case, mutant, options)

    def test_dg_gamma_summed_over_the_wrong_tokens(self):
        case = "simple_gla.backward B=2 T=100 H=4 K=16 V=16 dtype=fp32 gate=slow gate_inputs=both gamma=-0.01"
        self.passes(case, solving(fp32_chunked))
        for axes in "heads", "last":
            def wrong_sum(**inputs):
                gradients = backward(**inputs, form=fp32_chunked)
                dg = gradients["dg"]
                total = np.full(dg.shape[2], np.sum(dg)) if axes == "heads" else np.sum(dg[-1], axis=0)
                return gradients | {"dg_gamma": total}
            self.wrong_in(["dg_gamma"], case, wrong_sum, "all heads")
        case = "simple_gla.backward lengths=60+0+70 H=4 K=16 V=16 dtype=fp32 gate=slow gate_inputs=both gamma=-0.01"

        def last_sequence(**inputs):
            gradients = backward(**inputs, form=fp32_chunked)
            return gradients | {"dg_gamma": np.sum(gradients["dg"][0, 60:], axis=0)}
        self.wrong_in(["dg_gamma"], case, last_sequence, "all heads")

    def test_dh0_without_the_first_gate(self):
        case = "simple_gla.backward T=65 dtype=fp32 gate=medium state=random dht=random"
        self.passes(case, solving(recurrent))
        self.wrong_in(["dh0"], case, solving(first_gate_left_out), "b=0 h=0 k=0", "all heads")

    def test_a_stale_slot_of_state_gradients(self):
        case = "simple_gla.backward T=300 K=16 V=24 dtype=fp32 gate=slow state=random dht=random"
        self.passes(case, solving(fp32_chunked))
        for content in np.zeros_like, lambda dS: dS[::-1]:
            record = self.wrong_in(["dk", "dg"], case, solving(stale(2, content)), "b=0 t=128 ", "only t=128..191",
                                   "all heads")
            self.assertTrue(record["tensors"]["dk"]["first_bad"].startswith("b=0 t=128 "))
        # Nobody writes the last slot where dht is not given: it must be zero.
        case = "simple_gla.backward T=300 K=16 V=24 dtype=fp32 gate=slow state=random"
        self.wrong_in(["dk", "dg"], case, solving(stale(4, lambda dS: dS + 1)), "b=0 t=256 ",
                      "only in the last, partial chunk")

    def test_dg_that_is_not_zero_at_a_reset(self):
        for dtype, form in ("fp32", fp32_chunked), ("bf16", chunked):
            case = f"simple_gla.backward T=300 K=32 V=32 dtype={dtype} gate=reset state=random dht=random"
            self.passes(case, solving(form))
            mutant = functools.partial(form, zeroed=False)
            self.wrong_in(["dg"], case, solving(mutant), "b=0 t=37 ", "t = 37 mod 64", "all heads")

    def test_the_gate_off_by_one(self):
        case = "simple_gla.backward T=200 K=32 V=32 dtype=fp32 gate=normal state=random dht=random"
        self.passes(case, solving(recurrent))
        self.wrong_in(["dk", "dv", "dg", "dh0"], case, solving(gate_off_by_one), "b=0 (t|h)=0 ", "all heads")
        # -3 at every 16th token, else 0
        case = "simple_gla.backward T=300 K=32 V=32 dtype=fp32 gate=chunk_end dht=random"
        options = ["--recipe", "single", "--form", "chunked[chunk=16,gate_sum=plain]"]
        words = "b=0 t=15 ", "t = 15 mod 16", "all heads"
        wrong = keys_decayed_by_their_own_gate
        self.passes(case, solving(functools.partial(fp32_chunked, size=16)), options)
        self.wrong_in(["dv"], case, solving(state_pass_of(wrong, operand=exact, size=16)), *words, options=options)
        self.wrong_in(["dk"], case, solving(token_pass_of(wrong, operand=exact, size=16)), *words, options=options)

    def test_dq_without_the_scale_or_with_two(self):
        for dtype, form in ("fp32", fp32_chunked), ("bf16", chunked):
            case = f"simple_gla.backward T=100 dtype={dtype} dht=random"
            self.passes(case, solving(form))
            for factor in 8, 1 / 8:
                self.wrong_in(["dq"], case, solving(form, dq=lambda x: np.float32(factor) * x), "b=0 t=0 ", "all heads")

    def test_dht_ignored(self):
        case = "simple_gla.backward T=300 K=32 V=32 dtype=fp32 state=random dht=random gate="
        for gate in "slow", "normal":
            self.passes(case + gate, solving(fp32_chunked))
        self.wrong_in(["dk", "dv", "dg", "dh0"], case + "slow", solving(without_dht), "all heads")
        self.wrong_in(["dk", "dv", "dg"], case + "normal", solving(without_dht), "only in the last, partial chunk")
        case = "simple_gla.backward T=100 K=32 V=32 dtype=fp32 do=zero dht=random gate=slow"
        self.wrong_in(["dk", "dv", "dg"], case, solving(without_dht), r"got 0x0p\+0", "all heads")

    def test_a_constant_decay_that_goes_on_in_the_padding(self):
        for gamma in "-0.05", "retnet":
            for dtype, form in ("fp32", fp32_chunked), ("bf16", chunked):
                case = (f"simple_gla.backward T=100 K=32 V=32 dtype={dtype} gate_inputs=gamma gamma={gamma} "
                        "state=random dht=random")
                self.passes(case, solving(form))
                mutant = functools.partial(padded, form=form)
                record = self.wrong_in(["dk", "dv", "dg_gamma", "dh0"], case, solving(mutant))
                for tensor in "dk", "dv", "dh0":
                    self.assertIn("all heads", record["tensors"][tensor]["finding"])

    def test_dq_of_one_head_of_each_group(self):
        case = "simple_gla.backward T=100 H=2 HV=6 K=24 V=16 dtype=fp32"
        self.passes(case, solving(fp32_chunked))
        self.wrong_in(["dq"], case, one_head_of_each_group, "b=0 t=0 h=0 ", "all heads")

    def test_scores_without_their_diagonal(self):
        for dtype, operand in ("fp32", exact), ("bf16", simple_gla_backward.bf16):
            case = f"simple_gla.backward T=130 K=32 V=32 dtype={dtype} gate=medium"
            self.passes(case, solving(functools.partial(chunked, operand=operand)))
            mutant = state_pass_of(blind_to_the_diagonal, operand=operand)
            self.wrong_in(["dv"], case, solving(mutant), "b=0 t=0 ", "all heads")
            mutant = token_pass_of(blind_to_the_diagonal, operand=operand)
            self.wrong_in(["dq", "dk"], case, solving(mutant), "b=0 t=0 ", "all heads")

    def test_dv_without_decay(self):
        for dtype, operand in ("fp32", exact), ("bf16", simple_gla_backward.bf16):
            case = f"simple_gla.backward T=130 K=32 V=32 dtype={dtype} gate=medium dht=random"
            for wrong in undecayed_keys, undecayed_scores:
                mutant = state_pass_of(wrong, operand=operand)
                self.wrong_in(["dv"], case, solving(mutant), r"b=0 t=\d ", "all heads")

    def test_a_state_gradient_that_leaks_into_the_sequence_before(self):
        case = "simple_gla.backward lengths=20+13+7+24 K=16 V=16 dtype=fp32 gate=slow state=random dht=random"
        self.passes(case, solving(recurrent))
        self.wrong_in(["dk", "dv", "dg", "dh0"], case, leaking_into_the_sequence_before, "only n=0")


if __name__ == "__main__":
    unittest.main()
