// Lanes and slots of a case of an operator on pools: the keys that say them, the contents of the
// index tensors, and what somebody's index tensors say of the keys.
//
// An operator on pools has the keys B T lengths pool index_dtype padding dst ... of here, and a
// Plan of its own that starts with a SlotPlan.
#pragma once

#include <memory>
#include <vector>

#include "harness/operators/binding.hpp"

namespace groundstate::harness {

// Sizes, and the contents of the index tensors.
struct SlotPlan {
  Index batch = 0, time = 0, sequences = 0, slots = 0;
  Index longest = 0;                                  // tokens of a lane
  Index source_columns = 1, destination_columns = 0;  // 0: no such tensor
  Index rows = 0;                                     // of intermediate_states, 0: none
  std::vector<Index> offsets;                         // of each lane's tokens, as if packed
  std::vector<bool> padded;                           // lanes
  std::vector<Index> source, destination, accepted, row;
  std::vector<Index> replayed;  // empty: no such tensor
  std::vector<bool> read;       // slots; empty: all

  bool is_read(Index slot) const { return read.empty() || read[static_cast<std::size_t>(slot)]; }
};

// The keys from `indices` to `philox_rounds`, and what their values show.
std::vector<Key> slot_keys();
std::vector<KeyValueHelp> slot_help();
// Throws UsageError where keys contradict each other.
void refuse_slot_contradictions(const Case& c);

// Tokens of lanes, by B, T and lengths; then their slots and rows.
void plan_lanes(const Case& c, SlotPlan& n);
void plan_slots(const Case& c, SlotPlan& n);

// ---- index tensors

bool is_index_tensor(std::string_view name);
bool index_given(const Case& c, std::string_view name);
std::string index_domain(std::string_view name);
// All of a plan, as int64, for a contract's own check.
Tensors index_tensors(const SlotPlan& n);
// Refuses to generate what is to come of a file.
std::function<double(Index)> index_element(const Case& c, std::shared_ptr<const SlotPlan> plan,
                                           std::string_view name);
// Those axes whose extents the plan rules, and the axes' names do not.
std::vector<AxisExtent> slot_axes(const SlotPlan& plan, std::string_view name,
                                  std::vector<AxisExtent> full);
// NaN in the tokens of padded lanes and in those that are not replayed, `of_token` elements each.
std::function<double(Index)> with_padding(std::shared_ptr<const SlotPlan> plan, Index of_token,
                                          std::function<double(Index)> value);

// ---- files

// `key` as the presence of a tensor says it; `when_given` where the case does not know it.
void infer_presence(Inference& inference, const Case& c, std::string_view key,
                    const Tensors& inputs, std::string_view name, std::string_view when_given);
void infer_lanes(Inference& inference, const Case& c, const Tensors& inputs, const Tensor& x);
void infer_slots(Inference& inference, const Case& c, const Tensors& inputs);
// The case with the sizes and the contents of the index tensors at hand, where they are not those
// that it would generate.
using MakePlan = std::function<std::shared_ptr<const SlotPlan>(const Case&)>;
Case with_slots(Case c, const Tensors& inputs, const MakePlan& make_plan);

}  // namespace groundstate::harness
