// Pools of states as the harness sees them: what they hold before a run, which of their bytes a
// call may change, and the states of every lane as the judge compares them.
#pragma once

#include "harness/operators/selective_state_update/case.hpp"
#include "harness/operators/slot_stores.hpp"

namespace groundstate::harness::selective_state_update_binding {

// Inputs, with in-place tensors to be read only; absent scales where states are no codes.
ssu::HostInputs bind_inputs(const Tensors& inputs);
ssu::HostOutputs bind_pool(const Tensors& inputs);
ssu::HostOutputs bind_outputs(Tensors& outputs);

// Scales belong to codes; an exact path keeps numbers of fp64.
template <class Outputs>
void drop_scales(Outputs& y) {
  if (!y.state || ssu::has_codes(y.state.type())) return;
  y.scale = {};
  y.intermediate_scale = {};
}
// Options for states of this type: numbers of 32 bits and more are not rounded stochastically.
ssu::Options options_for(const Case& c, ElementType state);

// Pools as they are before a run: the input's bytes, or its values where the types differ (an exact
// path keeps numbers of fp64); 0xff all over intermediate states.
void start(const Tensors& inputs, Tensors& outputs);

// The first slot or output that broke the contract of untouched memory.
std::optional<std::string> violation(const Case& c, const Tensors& inputs, const Tensors& outputs);

// "state" [sequence, head, stores * P, N] and "intermediate_states" [sequence, head, T P, N]: what
// each lane stored, decoded, store after store; 0 where it stored nothing. Codes become fp64.
std::vector<TensorSpec> judged_states(const Case& c);
Tensors judged(const Case& c, const Tensors& inputs, const Tensors& outputs);

// Tokens of it.
Index longest_lane(const ssu::HostInputs& x, const ssu::Shape& n);

SlotStores slot_stores(const ssu::HostInputs& x, const ssu::Options& options);

// The states that lane `sequence` leaves in the pool, one after the other, of a call with
// stores_of() of them for every lane: rows t P .. t P + P - 1 hold the state after token t, or the
// only one. `state(t)` gives the state after token t.
using StateAt = std::function<Matrix<double>(Index t)>;
Index stores_of(const ssu::HostInputs& x, const ssu::Options& options);
Matrix<double> stored_rows(const ssu::HostInputs& x, const ssu::Shape& n,
                           const ssu::Options& options, Index sequence, const StateAt& state);

}  // namespace groundstate::harness::selective_state_update_binding
