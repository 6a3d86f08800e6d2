// What a path must do whatever the right result is: checks without an oracle, for shapes where that
// is too slow. Each is a clause of a verdict, value / limit, with the limit 1: the error in units
// of what honest rounding explains.
//
//   finite       no NaN and no infinity where the inputs have none
//   prefix       the first 16 tokens (last, for gradients) against the oracle of those tokens alone
//   one token    the first token as a call of its own, against the oracle
//   causal       other values from the middle on change no bit before it (behind it, for gradients)
//   independent  other values everywhere but in the last sequence and head change no bit of those
//   scaled       twice the values give twice the outputs, in every bit
//   additive     the outputs of values cut in two by tokens add up
//   split        time cut in the middle, off the chunk boundaries, the state carried on
//   adjoint      Euler: sum of x dx is the same for every group x of inputs that the outputs are
//                linear in, and the sum of y dy over the outputs: <J dx, dy> = <dx, J^T dy>
//   residual     what else an operator's outputs must satisfy among themselves
//   closed       inputs whose outputs are known: open gates, one-hot keys
//
// "Values" are the inputs in which all outputs are linear (Operator::linear_inputs). Of a file only
// the outputs at hand are tested: finite, prefix, and of gradients adjoint and residual.
//
// Tolerance: each output i is a sum of products of inputs and decays; M_i, the sum of their
// absolute values, is what the same path gives for the absolute values of its inputs. Disturbing
// operands, states after each of n tokens, and gates by their roundoffs moves it by at most
//
//   c M_i,  c = L (2 u_operand + sqrt(n) u_carry) + u_gate (n + L G)      + u_out |y_i| for storage
//
// (Cauchy-Schwarz over at most four factors and n states; n decays, each rounded once), with L the
// recipe's limit of the maximum and G the largest running sum of log decays in a chunk where the
// path does not promise that nothing cancels there. fp16 operands add L 2^-25 of M with open gates
// and all inputs one larger. It is wider than clause A by about M / |y|: it finds what is wrong,
// not what is a little imprecise.
#pragma once

#include <functional>
#include <optional>

#include "harness/run/judge_case.hpp"

namespace groundstate::harness {

// Of a variant, with the outputs of its run on these inputs. `at` is called with what is to be done
// before each run, and may throw to stop. Throws what run_variant throws.
PathVerdict check_properties(const Operator& op, const Case& c, const Tensors& inputs,
                             const PathVariant& variant, const Tensors& outputs,
                             const std::function<void(const std::string&)>& at = {});

// Of outputs that somebody gives, judged as `candidate` (its recipe and form; Operator::judged() of
// the outputs). Sizes come from our fp32 recurrence on absolute values.
PathVerdict check_given(const Operator& op, const Case& c, const Tensors& inputs,
                        const Candidate& candidate);

}  // namespace groundstate::harness
