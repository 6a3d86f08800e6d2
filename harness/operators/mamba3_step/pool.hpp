// Pools of mamba3_step as the harness sees them: what they hold before a run, which of their bytes
// a call may change, and what every lane leaves as the judge compares it.
//
//   state         [sequence, head, stores * P, N]    S, store after store (or of state_out)
//   k_state       [sequence, head, stores * R, N]
//   x_state       [sequence, head, stores, P]
//   angle_state   [sequence, head, stores, 2 F]      cos phi, then sin phi: angles are compared on
//                                                    the circle
//   intermediate_states  [sequence, head, T P, N]
//   out           [batch, time, head, P], or R P of rank_out
#pragma once

#include "harness/operators/mamba3_step/case.hpp"
#include "harness/operators/slot_stores.hpp"

namespace groundstate::harness::mamba3_step_binding {

// The names of the pools.
bool is_pool(std::string_view name);

// Inputs, with the pools to be read only.
mamba3::HostInputs bind_inputs(const Tensors& inputs);
mamba3::HostOutputs bind_pools(const Case& c, const Tensors& inputs);
mamba3::HostOutputs bind_outputs(const Case& c, Tensors& outputs);
// Options for states of this type: numbers of 32 bits and more are not rounded stochastically.
mamba3::Options options_for(const Case& c, ElementType state);

// Pools as they are before a run: the input's bytes, or its values where the types differ (an exact
// path keeps numbers of fp64); 0xff all over what is written only.
void start(const Tensors& inputs, Tensors& outputs);

// The first slot or output that broke the contract of untouched memory.
std::optional<std::string> violation(const Case& c, const Tensors& inputs, const Tensors& outputs);

std::vector<TensorSpec> judged_outputs(const Case& c);
Tensors judged(const Case& c, const Tensors& inputs, const Tensors& outputs);

// Lanes of a call with the shape that they need.
struct Lanes {
  Lanes(const Case& c, const Tensors& inputs);
  Lane at(Index sequence) const { return lane(x.lanes, options, n.time, sequence, load_index); }
  Index destination(Index sequence, const Lane& own, Index t) const {
    return groundstate::destination(x.lanes, options, sequence, own, t, load_index);
  }
  // What the judge sees of the pools: stores a lane; 0 where no pool is written.
  Index stores() const;
  SlotStores slot_stores() const { return {x.lanes, options, n.time, n.sequences}; }

  mamba3::HostInputs x;
  mamba3::HostOutputs pools;
  mamba3::Options options;
  mamba3::Shape n;
  bool state_out, intermediate;
};

// The judged tensors of pools, and intermediate_states, in their order.
std::vector<std::string> judged_names(const mamba3::Options& options, bool prologue,
                                      bool intermediate);

// The rows of one judged tensor that lane `sequence` leaves; `after(t)` is what the lane carries
// behind its token t. 0 where it stores nothing.
using After = std::function<mamba3::Carried<double>(Index t)>;
Matrix<double> judged_rows(const Lanes& lanes, std::string_view tensor, Index sequence,
                           const After& after);

}  // namespace groundstate::harness::mamba3_step_binding
