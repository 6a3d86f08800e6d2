// One token, as maths: what dt and trap make of it, and what it does to a state.
//
// Order of operations, each rounded in the scalar of the recipe (fma where it is written):
//   alpha = exp(A dt);  gamma = trap dt;  beta = ((1 - trap) dt) alpha
//   g[p] = x[p] gamma;  h[p] = X[p] beta;  for r = 0 .. R - 1:
//     m = r == 0 ? (g[p] xproj[0,p]) b[0,n] : fma(g[p] xproj[r,p], b[r,n], m)
//     m = fma(h[p] xproj[r,p], K[r,n], m)
//   S[p,n] = fma(S[p,n], alpha, m)
//   y[r,p] = sum over n of S[p,n] c[r,n]              ascending n, one fma a term
//   y[r,p] = fma(D x[p], xproj[r,p], y[r,p]);  y[r,p] silu(z[p] zproj[r,p])    the parts that are
//   there out[p] = y[0,p] outproj[0,p], then fma(y[r,p], outproj[r,p], out[p])
// exp and silu: reference/core/elementary.hpp. This is the order of the CUDA step but for two
// things: it sums over n by lanes, and computes silu as h tanh(h) + h with h half of its argument,
// which cancels for negative arguments. P N (6 R + 2) flop a token.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>

#include "reference/core/elementary.hpp"
#include "reference/core/recipe.hpp"
#include "reference/mamba3_step/prologue.hpp"

namespace groundstate::mamba3_step {

// What dt makes of a continuous system, by token.
template <class Scalar>
struct Discrete {
  Vector<Scalar> log_decay;  // [time]
  Matrix<Scalar> advance;    // [time, frequency]: by how much the angles grow
};

template <class Scalar>
Discrete<Scalar> discretise(const Problem<Scalar>& p) {
  Discrete<Scalar> r{Vector<Scalar>(p.time()), Matrix<Scalar>(p.time(), p.theta.cols())};
  for (Index t = 0; t < p.time(); ++t) {
    r.log_decay[t] = p.A[t] * p.dt[t];
    for (Index f = 0; f < p.theta.cols(); ++f)
      r.advance(t, f) = (pi<Scalar> * hyperbolic_tangent(Scalar(p.theta(t, f)))) * p.dt[t];
  }
  return r;
}

// The three factors of one token.
template <class Scalar>
struct Factors {
  Scalar alpha, gamma, beta;
};
template <class Scalar>
Factors<Scalar> factors(const Problem<Scalar>& p, const Discrete<Scalar>& r, Index t) {
  const Scalar alpha = exponential(Scalar(r.log_decay[t]));
  return {alpha, p.trap[t] * p.dt[t], ((Scalar(1) - p.trap[t]) * p.dt[t]) * alpha};
}

// From C S, [rank, value], to the outputs of token t.
template <class Scalar>
void finish_outputs(const Problem<Scalar>& p, Index t, Matrix<Scalar>& y, Scalar* out) {
  using std::fma;
  const Index R = p.ranks(), P = p.value();
  for (Index r = 0; r < R; ++r)
    for (Index i = 0; i < P; ++i) {
      if (p.D.size() > 0) y(r, i) = fma(p.D[0] * p.x(t, i), p.xproj(r, i), y(r, i));
      if (p.z.size() > 0) y(r, i) *= silu(Scalar(p.z(t, i) * p.zproj(r, i)));
      if (p.outproj.size() == 0)
        out[r * P + i] = y(r, i);
      else
        out[i] = r == 0 ? Scalar(y(r, i) * p.outproj(r, i)) : fma(y(r, i), p.outproj(r, i), out[i]);
    }
}

// Advances `own` by token t and writes its outputs.
template <class Recipe>
void advance(const Problem<ScalarOf<Recipe>>& p, const Discrete<ScalarOf<Recipe>>& r, Index t,
             Carried<ScalarOf<Recipe>>& own, ScalarOf<Recipe>* out, Recipe& recipe) {
  using std::fma;
  using Scalar = ScalarOf<Recipe>;
  constexpr Index block = 16;  // columns for which a recipe that disturbs the state has random bits
  Keys<Scalar> keys = keys_of(p, t);
  if (p.prologue) {
    advance_angle(p, r.advance.row(t).data(), own.angle);
    const Turn<Scalar> turn = turn_by(own.angle);
    rotate(keys.b, p.rotation, turn);
    rotate(keys.c, p.rotation, turn);
  }
  const auto [alpha, gamma, beta] = factors(p, r, t);
  const Index R = p.ranks();
  Matrix<Scalar> y = Matrix<Scalar>::Zero(R, p.value());
  for (Index first = 0; first < p.states(); first += block) {
    const Index width = std::min(block, p.states() - first);
    for (Index i = 0; i < p.value(); ++i) {
      const Scalar now = p.x(t, i) * gamma, before = own.x[i] * beta;
      std::array<Scalar, block> sum{};
      for (Index k = 0; k < R; ++k) {
        const Scalar u = now * p.xproj(k, i), v = before * p.xproj(k, i);
        const Scalar *const b = &keys.b(k, first), *const K = &own.k(k, first);
        for (Index n = 0; n < width; ++n) {
          auto& m = sum[static_cast<std::size_t>(n)];
          m = fma(v, K[n], k == 0 ? Scalar(u * b[n]) : fma(u, b[n], m));
        }
      }
      const auto carry = recipe.carry(t, i, first);
      Scalar* const S = &own.state(i, first);
      for (Index n = 0; n < width; ++n)
        S[n] = carry(fma(S[n], alpha, sum[static_cast<std::size_t>(n)]), n);
      for (Index k = 0; k < R; ++k) {
        const Scalar* const c = &keys.c(k, first);
        Scalar total = y(k, i);
        for (Index n = 0; n < width; ++n) total = fma(S[n], c[n], total);
        y(k, i) = total;
      }
    }
  }
  finish_outputs(p, t, y, out);
  own.k = keys.b;
  own.x = p.x.row(t).transpose();
}

}  // namespace groundstate::mamba3_step
