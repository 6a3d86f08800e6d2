// The sequential recurrence, from the initial to the final state. With `Exact` this is the oracle
// of the operator: its order of operations (step.hpp) is normative.
//
// 5 K V flop a token and head.
#pragma once

#include "reference/simple_gla/step.hpp"

namespace groundstate::simple_gla {

template <class Recipe>
Result<ScalarOf<Recipe>> recurrent(const Problem<ScalarOf<Recipe>>& p, const Recipe& recipe = {}) {
  Result<ScalarOf<Recipe>> r{Matrix<ScalarOf<Recipe>>(p.time(), p.value()), p.h0};
  advance<Recipe>(p, 0, r.ht, r.o, recipe);
  return r;
}

// The same in calls of `tokens` tokens each, as a decoder makes them. Throws nothing; tokens >= 1.
template <class Recipe>
Result<ScalarOf<Recipe>> stepwise(const Problem<ScalarOf<Recipe>>& p, Index tokens,
                                  const Recipe& recipe = {}) {
  Result<ScalarOf<Recipe>> r{Matrix<ScalarOf<Recipe>>(p.time(), p.value()), p.h0};
  for (Index t = 0; t < p.time(); t += tokens) {
    const Index count = std::min(tokens, p.time() - t);
    advance<Recipe>(p.tokens(t, count), t, r.ht, r.o.middleRows(t, count), recipe);
  }
  return r;
}

}  // namespace groundstate::simple_gla
