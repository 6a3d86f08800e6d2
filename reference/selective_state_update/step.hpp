// One token, as maths: what dt makes of A, and what a token does to a state.
//
// Order of operations, each rounded in the scalar of the recipe (fma where it is written):
//   d[p] = dt[p] + dt_bias[p];  d[p] = softplus(d[p]) where wanted and d[p] <= 20
//   g[p, n] = A[p, n] d[p]                             one number a token where the decay is tied
//   S[p, n] = fma(S[p, n], exp(g[p, n]), (B[n] d[p]) x[p])
//   y = sum over n of S[p, n] C[n]                     ascending n, one fma a term
//   out[p] = fma(x[p], D[p], y) silu(z[p])             the parts that are there
// exp, softplus and silu: reference/core/elementary.hpp. 5 P N flop a token.
#pragma once

#include <algorithm>
#include <cmath>

#include "reference/core/elementary.hpp"
#include "reference/core/recipe.hpp"
#include "reference/selective_state_update/gather.hpp"

namespace groundstate::selective_state_update {

// What dt makes of a continuous system, by token.
template <class Scalar>
struct Discrete {
  Matrix<Scalar> d;          // [time, value]
  Matrix<Scalar> log_decay;  // [time, value * state]; [time, 1] where the decay is tied
};

template <class Scalar>
Discrete<Scalar> discretise(const Problem<Scalar>& p) {
  Discrete<Scalar> r{Matrix<Scalar>(p.time(), p.value()), Matrix<Scalar>(p.time(), p.A.size())};
  for (Index t = 0; t < p.time(); ++t) {
    for (Index i = 0; i < p.value(); ++i) {
      const Scalar d = p.dt(t, i) + p.dt_bias[i];
      r.d(t, i) = p.softplus && d <= Scalar(20) ? softplus(d) : d;
    }
    for (Index k = 0; k < p.A.size(); ++k)
      r.log_decay(t, k) = p.A.data()[k] * r.d(t, k / p.A.cols());
  }
  return r;
}

// Advances `state` by token t and writes its outputs, [value].
template <class Recipe>
void advance(const Problem<ScalarOf<Recipe>>& p, const Discrete<ScalarOf<Recipe>>& r, Index t,
             Matrix<ScalarOf<Recipe>>& state, ScalarOf<Recipe>* out, Recipe& recipe) {
  using std::fma;
  using Scalar = ScalarOf<Recipe>;
  constexpr Index block = 16;  // columns for which a recipe that disturbs the state has random bits
  const bool tied = r.log_decay.cols() == 1;
  const Scalar tied_decay = tied ? exponential(Scalar(r.log_decay(t, 0))) : Scalar(0);
  for (Index i = 0; i < p.value(); ++i) out[i] = Scalar(0);
  for (Index first = 0; first < p.states(); first += block) {
    const Index end = std::min(first + block, p.states());
    for (Index i = 0; i < p.value(); ++i) {
      const Scalar d = r.d(t, i), x = p.x(t, i);
      const auto carry = recipe.carry(t, i, first);
      for (Index n = first; n < end; ++n) {
        const Scalar decay =
            tied ? tied_decay : exponential(Scalar(r.log_decay(t, i * p.states() + n)));
        const Scalar input = (p.B(t, n) * d) * x;
        const Scalar s = carry(fma(state(i, n), decay, input), n - first);
        state(i, n) = s;
        out[i] = fma(s, p.C(t, n), out[i]);
      }
    }
  }
  for (Index i = 0; i < p.value(); ++i) {
    if (p.D.size() > 0) out[i] = fma(p.x(t, i), p.D[i], out[i]);
    if (p.z.size() > 0) out[i] *= silu(Scalar(p.z(t, i)));
  }
}

}  // namespace groundstate::selective_state_update
