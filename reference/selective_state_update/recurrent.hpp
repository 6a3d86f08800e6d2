// All tokens of a lane, one after the other. With `Exact` on a pool of fp64 this is the oracle of
// the operator: its order of operations (step.hpp) is normative.
//
// Rounding points: carry, the state after each token (nothing for the recipes that a kernel has: a
// state is rounded where it is stored). 5 P N flop a token and head.
#pragma once

#include "reference/selective_state_update/step.hpp"

namespace groundstate::selective_state_update {

// Calls store(t, S) after each token, which may change S; returns the outputs [time, value].
template <class Recipe, class Store>
Matrix<ScalarOf<Recipe>> recurrent(const Problem<ScalarOf<Recipe>>& p,
                                   const Discrete<ScalarOf<Recipe>>& r, Store&& store,
                                   Recipe recipe = {}) {
  using Scalar = ScalarOf<Recipe>;
  Matrix<Scalar> out(p.time(), p.value()), state = p.state;
  for (Index t = 0; t < p.time(); ++t) {
    advance<Recipe>(p, r, t, state, out.row(t).data(), recipe);
    store(t, state);
  }
  return out;
}

// The whole call: every lane and head, `y.state` in place.
template <class Recipe>
void recurrent(const HostInputs& x, const Options& options, const HostOutputs& y) {
  using Scalar = ScalarOf<Recipe>;
  for_each_problem<Scalar>(x, options, y, [](const Problem<Scalar>& p, auto&& store) {
    return recurrent<Recipe>(p, discretise(p), store);
  });
}

}  // namespace groundstate::selective_state_update
