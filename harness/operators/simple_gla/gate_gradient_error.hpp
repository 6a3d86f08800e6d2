// How far an honest chunked kernel's dg and dg_gamma may be off, beside what their sensitivities to
// inputs, states and gates say: the form term of judge/scaled_error.hpp.
//
// In a chunk of n tokens, in the notation of reference/simple_gla/chunked_backward.hpp, dg_t is the
// sum over i >= t of raw_i = q_i . dq_i - k_i . dk_i, plus the bracket exp(G_L) <S, dS> + sum_j
// k_j . dk'_j: a difference of terms that may be 10^40 times larger (fast gates, resets). With
// u_dq, u_dk the units of dq and dk, u the operands' roundoff, independent errors of
//   sums      a_i^2 = sum_k (q_ik u_dq,ik)^2 + (k_ik u_dk,ik)^2                    of raw_i
//             b^2 = sum_jk (k_jk u_dk,jk)^2 + (u_bracket exp(G_L) ||S * dS||)^2    of the bracket
//   operands  u^2 ||S * sum_{i>=t} scale exp(G_i) q_i do_i^T||^2                   rounding S,
//             u^2 ||dS * sum_{j<t} exp(G_L - G_j) k_j v_j^T||^2                    dS,
//             u^2 sum_{i>=t>j} (dA_ij (q_i . k_j))^2                               and dA
// (* element by element, || || over key and value) give
//   F_t^2 = sum_{i>=t} a_i^2 + b^2 + operands
// and for dg_gamma the square of what each single error adds up to over the t that it enters:
// (i + 1)^2 a_i^2, n^2 b^2, sums over i and j weighted by i + 1 and n - 1 - j, (i - j)^2 of a pair.
//
// Over a group of chunks dg_t goes on to the end of the group: i counts from its first token, the
// sums a_i^2 and the errors of S enter all tokens before them in the group, and the bracket is that
// of its last chunk. Of the others -k_j . dk'_j has no counterpart: dS in them enters as
// u^2 ||dS * sum_{j>=t} exp(G_L - G_j) k_j v_j^T||^2, weighted by j + 1, and all tokens before.
//
// u_dq and u_dk are at the roundoff of the fp32 sums: what rounding an operand does to q_i . dq_i
// it does to k_j . dk_j or to the bracket as well, with the same value, and only the terms above
// are left. That holds where operands hold the inputs exactly. Where they round them, a kernel may
// multiply dq by the q it was given and dk by the rounded one; then u_dq, u_dk are the recipe's.
//
// The global form is one chunk of all tokens with the bracket <ht, dht>. Between chunks nothing
// cancels, so u_dq and u_dk are the recipe's and there are no further operand terms; every token
// gets nearly the same draw of one random walk, so F is twice its spread: the median of such a
// tensor is then within limits that are made for many draws. Source: the study of the scale,
// section 3, which takes the recipe's u_dq, u_dk everywhere: bf16 kernels with a dg_gamma of zeros
// passed (tests/acceptance/mutants_simple_gla_backward.py).
#pragma once

#include "reference/simple_gla/chunked_backward.hpp"

namespace groundstate::harness::simple_gla_binding {

struct GateGradientError {
  Vector<double> dg;  // [time]
  double dg_gamma;    // of this sequence
};

// Everything in the order of processing. `operand` and `bracket` are roundoffs.
GateGradientError chunk_form_error(const groundstate::simple_gla::BackwardProblem<double>& p,
                                   Index chunk, Index dg_chunks, const Matrix<double>& dq_units,
                                   const Matrix<double>& dk_units, double operand, double bracket);
GateGradientError global_form_error(const groundstate::simple_gla::BackwardProblem<double>& p,
                                    const Matrix<double>& dq_units, const Matrix<double>& dk_units,
                                    double bracket);

}  // namespace groundstate::harness::simple_gla_binding
