// The adjoint of the recurrence, from the last token to the first.
//
//   dS := dht;  for t = T-1 .. 0:
//     dS := dS + dy_t
//     dx_t = dS
//     dg_t = sum_v dS (exp(g_t) S_{t-1})     ascending v, one fma a term; 0 where exp(g_t) = 0
//     dS := exp(g_t) dS
//   dh0 = dS
//
// The states are recomputed by the recurrence and kept, T V values. dg is the product of two states
// and needs no difference of large sums.
// Rounding points: carry, of S after each token and of dS after each dy_t. 7 V flop a token and
// head.
#pragma once

#include <cmath>

#include "reference/decayed_sum/recurrent.hpp"

namespace groundstate::decayed_sum {

// `of_state` rounds S, `of_gradient` dS: two recipes, so that the harness can disturb each
// independently of the other.
template <class Recipe>
Gradients<ScalarOf<Recipe>> backward(const BackwardProblem<ScalarOf<Recipe>>& p,
                                     Recipe of_state = {}, Recipe of_gradient = {}) {
  using std::fma;
  using Scalar = ScalarOf<Recipe>;
  const Matrix<Scalar> y = recurrent<Recipe>(p, of_state).y;
  Gradients<Scalar> r{Matrix<Scalar>(p.time(), p.value()), Vector<Scalar>::Zero(p.time()), p.dht};
  Matrix<Scalar>& gradient = r.dh0;
  for (Index t = p.time() - 1; t >= 0; --t) {
    gradient += p.dy.row(t);
    carry(of_gradient, p.time() - 1 - t, gradient);
    r.dx.row(t) = gradient;
    const Scalar factor = decay(LogDecay<Scalar>{p.log_decay[t]}).factor;
    for (Index j = 0; factor > 0 && j < p.value(); ++j)
      r.dg[t] = fma(gradient(0, j), factor * (t > 0 ? y(t - 1, j) : p.h0(0, j)), r.dg[t]);
    gradient *= factor;
  }
  return r;
}

}  // namespace groundstate::decayed_sum
