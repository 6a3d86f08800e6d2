// The same recurrence without a cumulative angle: the state turns instead of B and C.
//
//   Q = Rot(-phi) on the rows of S.  b', c' without rotation, delta_t = pi tanh(theta_t) dt_t:
//   Q := Rot(-delta_t) alpha (Q + (1 - trap) dt sum over r of (X xproj_r) K'_r^T)
//        + gamma sum over r of (x xproj_r) b'_r^T
//   y_r = Q c'_r;  K' := b'
//
// Sines and cosines are those of one increment: what goes wrong in a sum of many angles shows as a
// difference to recurrent.hpp. Where a token is kept its state is turned back by the cumulative
// angle. Needs the prologue, and Carry::arithmetic. By tolerance, in any recipe.
// Rounding points: carry, Q after each token. Source: the complex transition of Mamba-3.
#pragma once

#include "reference/mamba3_step/step.hpp"

namespace groundstate::mamba3_step {

template <class Recipe, class Keep>
Matrix<ScalarOf<Recipe>> rotating(const Problem<ScalarOf<Recipe>>& p,
                                  const Discrete<ScalarOf<Recipe>>& r, Keep&& keep,
                                  Recipe recipe = {}) {
  using Scalar = ScalarOf<Recipe>;
  const Index R = p.ranks(), P = p.value();
  Matrix<Scalar> out(p.time(), p.outputs());
  Vector<Scalar> angle = p.before.angle;
  const Turn<Scalar> back = turn_by(Vector<Scalar>(-angle));
  Matrix<Scalar> Q = p.before.state, K = p.before.k;
  rotate(Q, p.rotation, back);
  rotate(K, p.rotation, back);
  Vector<Scalar> X = p.before.x;
  for (Index t = 0; t < p.time(); ++t) {
    const Scalar alpha = exponential(Scalar(r.log_decay[t])), dt = p.dt[t];
    const Scalar gamma = p.trap[t] * dt, later = (Scalar(1) - p.trap[t]) * dt;
    const Keys<Scalar> keys = keys_of(p, t);
    for (Index k = 0; k < R; ++k)
      Q += (later * p.xproj.row(k).transpose().cwiseProduct(X)) * K.row(k);
    Q *= alpha;
    rotate(Q, p.rotation, turn_by(Vector<Scalar>(-r.advance.row(t).transpose())));
    for (Index k = 0; k < R; ++k)
      Q += (gamma * p.xproj.row(k).cwiseProduct(p.x.row(t))).transpose() * keys.b.row(k);
    for (Index i = 0; i < P; ++i)
      for (Index n = 0; n < Q.cols(); ++n) Q(i, n) = recipe.carry(t, i, n)(Q(i, n), 0);
    Matrix<Scalar> y = keys.c * Q.transpose();
    finish_outputs(p, t, y, out.row(t).data());
    K = keys.b;
    X = p.x.row(t).transpose();
    advance_angle(p, r.advance.row(t).data(), angle);
    Carried<Scalar> own{Q, K, X, angle};
    const Turn<Scalar> forth = turn_by(angle);
    rotate(own.state, p.rotation, forth);
    rotate(own.k, p.rotation, forth);
    keep(t, own);
  }
  return out;
}

// Why this form does not take a call; empty where it does.
inline const char* rotating_refusal(bool prologue, Carry carry) {
  if (!prologue) return "the rotating form needs B and C before their rotation: the prologue";
  if (carry == Carry::storage) return "the rotating form keeps its state in the arithmetic";
  return "";
}

template <class Recipe>
void rotating(const HostInputs& x, const Options& options, const HostOutputs& y) {
  using Scalar = ScalarOf<Recipe>;
  const std::string refusal = rotating_refusal(static_cast<bool>(x.theta), options.carry);
  require(refusal.empty(), refusal);
  for_each_problem<Scalar>(x, options, y, [](const Problem<Scalar>& p, auto&& keep) {
    return rotating<Recipe>(p, discretise(p), keep);
  });
}

}  // namespace groundstate::mamba3_step
