// The lanes of a call: which of its tensors are the indices of reference/core/lane.hpp, which has
// the rules and what is wrong with a slot.
#pragma once

#include "reference/core/lane.hpp"
#include "reference/selective_state_update/contract.hpp"

namespace groundstate::selective_state_update {

template <Space space, class E, class Load>
constexpr Lane lane(const Inputs<space, E>& x, const Options& options, Index sequence,
                    const Load& load) {
  return groundstate::lane(indices(x), options, x.x.template extent<Time>(), sequence, load);
}

// The slot in which a lane that is no padding stores its state after its token t, or nowhere.
template <Space space, class E, class Load>
constexpr Index destination(const Inputs<space, E>& x, const Options& options, Index sequence,
                            const Lane& own, Index t, const Load& load) {
  return groundstate::destination(indices(x), options, sequence, own, t, load);
}

// Throws std::invalid_argument naming the lane, the slot and what is accepted: slots outside of the
// pool, slots of two lanes, offsets that decrease.
inline void validate_indices(const Inputs<Space::host, AnyElements>& x,
                             const Outputs<Space::host, AnyElements>& y, const Options& options) {
  validate_lanes(operator_name, indices(x), options, lane_sizes(shape(x, y), y));
}

}  // namespace groundstate::selective_state_update
