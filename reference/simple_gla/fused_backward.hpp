// The chunked backward in one pass from the last chunk to the first: dS stays on chip and is never
// written. The phases of chunked_backward.hpp in another order, hence its bits.
#pragma once

#include "reference/simple_gla/chunked_backward.hpp"

namespace groundstate::simple_gla {

template <class Recipe>
Gradients<ScalarOf<Recipe>> fused_backward(const BackwardProblem<ScalarOf<Recipe>>& p,
                                           const BackwardForm& form) {
  using Scalar = ScalarOf<Recipe>;
  Matrix<Scalar> final_state = p.h0, dS = p.dht;
  const auto h = kept_states<Recipe>(p, form, final_state);
  GradientBuilder<Scalar> gradients(p, form);
  for (Index c = number_of_chunks(p.time(), form.chunk) - 1; c >= 0; --c) {
    const Index begin = c * form.chunk;
    const BackwardChunk<Recipe> chunk(p, begin, std::min(form.chunk, p.time() - begin));
    gradients.set_value_gradient(begin, value_gradient<Recipe>(chunk, dS));
    gradients.set(begin, query_key_gradients<Recipe>(chunk, h[static_cast<std::size_t>(c)], dS));
    update_state_gradient<Recipe>(chunk, dS);
  }
  return gradients.finish(final_state, dS);
}

}  // namespace groundstate::simple_gla
