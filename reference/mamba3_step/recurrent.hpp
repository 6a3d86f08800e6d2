// All tokens of a lane, one after the other. With `Exact` on pools of fp64 this is the oracle of
// the operator: its order of operations (prologue.hpp, step.hpp) is normative.
//
// Rounding points: carry, the state after each token (nothing for the recipes that a kernel has: a
// state is rounded where it is stored, and with Carry::storage after every token).
#pragma once

#include "reference/mamba3_step/step.hpp"

namespace groundstate::mamba3_step {

// Calls keep(t, Carried) after each token, which may change it; returns the outputs.
template <class Recipe, class Keep>
Matrix<ScalarOf<Recipe>> recurrent(const Problem<ScalarOf<Recipe>>& p,
                                   const Discrete<ScalarOf<Recipe>>& r, Keep&& keep,
                                   Recipe recipe = {}) {
  using Scalar = ScalarOf<Recipe>;
  Matrix<Scalar> out(p.time(), p.outputs());
  Carried<Scalar> own = p.before;
  for (Index t = 0; t < p.time(); ++t) {
    advance<Recipe>(p, r, t, own, out.row(t).data(), recipe);
    keep(t, own);
  }
  return out;
}

// The whole call: every lane and head, the pools in place.
template <class Recipe>
void recurrent(const HostInputs& x, const Options& options, const HostOutputs& y) {
  using Scalar = ScalarOf<Recipe>;
  for_each_problem<Scalar>(x, options, y, [](const Problem<Scalar>& p, auto&& keep) {
    return recurrent<Recipe>(p, discretise(p), keep);
  });
}

}  // namespace groundstate::mamba3_step
