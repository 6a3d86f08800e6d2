// The tokens of a lane in calls of a few tokens each, as a decoder makes them: between two calls
// the state is what its slot holds. Stochastic rounding has another seed in each call, the next
// number.
//
// Rounding points: the state, after each call, as it is stored.
#pragma once

#include <algorithm>

#include "reference/selective_state_update/recurrent.hpp"

namespace groundstate::selective_state_update {

// Tokens [begin, begin + count) of a tensor with tokens.
template <class T, class... Axes>
HostView<T, Batch, Time, Axes...> tokens_of(const HostView<T, Batch, Time, Axes...>& x, Index begin,
                                            Index count) {
  if (!x) return x;
  auto extents = x.extents();
  extents[1] = count;
  using Byte = std::conditional_t<std::is_const_v<T>, const std::byte, std::byte>;
  auto* const data = static_cast<Byte*>(x.data()) +
                     begin * x.template stride<Time>() * static_cast<Index>(size_of(x.type()));
  return {x.type(), data, extents, x.strides()};
}

// `tokens` >= 1. Throws std::invalid_argument where a lane does not write the one slot that it
// reads, and for packed lanes.
template <class Recipe>
void stepwise(const HostInputs& x, const Options& options, const HostOutputs& y, Index tokens) {
  require(!x.offsets && !x.destination && !x.accepted && !y.intermediate && options.update_state &&
              !options.sequential,
          "calls one after the other need dense lanes that write the slot that they read");
  const Index time = x.x.extent<Time>();
  Options own = options;
  for (Index t = 0; t < time; t += tokens) {
    const Index count = std::min(tokens, time - t);
    HostInputs part = x;
    part.x = tokens_of(x.x, t, count);
    part.dt = tokens_of(x.dt, t, count);
    part.B = tokens_of(x.B, t, count);
    part.C = tokens_of(x.C, t, count);
    part.z = tokens_of(x.z, t, count);
    HostOutputs result = y;
    result.out = tokens_of(y.out, t, count);
    recurrent<Recipe>(part, own, result);
    if (own.stochastic) ++own.stochastic->seed;
  }
}

}  // namespace groundstate::selective_state_update
