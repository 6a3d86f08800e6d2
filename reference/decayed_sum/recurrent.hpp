// The sequential recurrence: the equation, token by token. With `Exact` this is the oracle of the
// operator: its order of operations is normative.
//
//   S[v] := exp(g_t) S[v]      rounded
//   S[v] := S[v] + x_t[v]      rounded; the token's own term is not decayed
//
// Rounding points: carry, after each token. 2 V flop a token and head.
#pragma once

#include <algorithm>
#include <utility>

#include "reference/core/gate.hpp"
#include "reference/core/recipe.hpp"
#include "reference/decayed_sum/gather.hpp"

namespace groundstate::decayed_sum {

// Passes a state that token `time` has just entered through the recipe, in blocks of columns: a
// recipe that disturbs the state has one random bit for each column of a block.
template <class Recipe>
void carry(Recipe& recipe, Index time, Matrix<ScalarOf<Recipe>>& state) {
  constexpr Index block = 16;
  for (Index column = 0; column < state.cols(); column += block) {
    const auto rounded = recipe.carry(time, 0, column);
    for (Index j = 0; j < std::min(block, state.cols() - column); ++j)
      state(0, column + j) = rounded(state(0, column + j), j);
  }
}

template <class Recipe>
Result<ScalarOf<Recipe>> recurrent(const Problem<ScalarOf<Recipe>>& p, Recipe recipe = {}) {
  using Scalar = ScalarOf<Recipe>;
  Result<Scalar> r{Matrix<Scalar>(p.time(), p.value()), p.h0};
  Matrix<Scalar>& state = r.ht;
  for (Index t = 0; t < p.time(); ++t) {
    state = decay(LogDecay<Scalar>{p.log_decay[t]}).factor * state + p.x.row(t);
    carry(recipe, t, state);
    r.y.row(t) = state;
  }
  return r;
}

}  // namespace groundstate::decayed_sum
