#include "harness/mutants/pool_edit.hpp"

#include <cmath>
#include <limits>

namespace groundstate::harness {
namespace {

constexpr const char* source = "state_batch_indices";

// Lanes that are padding read another slot, and the rest of the call is as it is. What such a lane
// is given is NaN.
Defect padded_lanes_read(std::function<Index(Index slots)> slot) {
  return [=](const RightPath& right, const Case& c, const Tensors& inputs, Tensors& outputs) {
    const Index slots = find(outputs, "state")->extent(Slot::name);
    const Tensors known = edited(inputs, source, [&](double own, const At&) {
      return own < 0 ? static_cast<double>(slot(slots)) : own;
    });
    right(c.with("duplicates", "sequential"), known, outputs);
  };
}

void leave_padded_rows(const RightPath& right, const Case& c, const Tensors& inputs,
                       Tensors& outputs) {
  const Tensor before = copy_of(outputs[0]);
  right(c, inputs, outputs);
  if (find(inputs, "cu_seqlens") != nullptr) return;
  for (Index lane = 0; lane < before.extent(Batch::name); ++lane)
    if (is_padded(inputs, lane))
      copy_bytes(before.slice(Batch::name, lane, 1), outputs[0].slice(Batch::name, lane, 1));
}

void zero_times_padding(const RightPath& right, const Case& c, const Tensors& inputs,
                        Tensors& outputs) {
  right(c, inputs, outputs);
  if (find(inputs, "cu_seqlens") != nullptr) return;
  const Tensor& x = *find(inputs, "x");
  edit(outputs[0], [&](double y, const At& at) {
    return is_padded(inputs, at[0]) ? y + 0 * x.load(at[0] * x.axes()[0].stride) : y;
  });
}

}  // namespace

bool is_padded(const Tensors& inputs, Index lane) {
  const Tensor* const slots = find(inputs, source);
  return slots != nullptr && slots->load(lane * slots->axes()[0].stride) < 0;
}

Defect on_pool(std::string name, Edit how) {
  return [name = std::move(name), how = std::move(how)](const RightPath& right, const Case& c,
                                                        const Tensors& inputs, Tensors& outputs) {
    if (Tensor* const pool = find(outputs, name)) edit(*pool, how);
    right(c, inputs, outputs);
  };
}

void edit_stored(const Tensors& inputs, Tensors& outputs, std::string_view pool, const Edit& how) {
  Tensor* const after = find(outputs, pool);
  const Tensor* const before = find(inputs, pool);
  if (after == nullptr || before == nullptr || after->type() != before->type()) return;
  Tensor changed = edited(*after, how);
  for (Index slot = 0; slot < after->extent(Slot::name); ++slot)
    if (!same_bytes(after->slice(Slot::name, slot, 1), before->slice(Slot::name, slot, 1)))
      copy_bytes(changed.slice(Slot::name, slot, 1), after->slice(Slot::name, slot, 1));
}

void restore(const Tensors& inputs, Tensors& outputs, std::string_view pool) {
  Tensor* const after = find(outputs, pool);
  const Tensor* const before = find(inputs, pool);
  if (after != nullptr && before != nullptr) copy_elements(*before, *after);
}

std::vector<Mutant> pool_mutants(const std::string& path, const std::string& contract) {
  const std::string padding = "docs/indices_padding_duplicates.md";
  return {
      {"padded_lane_reads_slot_0", path, "a negative slot is taken for slot 0", padding,
       padded_lanes_read([](Index) { return 0; })},
      {"negative_slot_wraps", path, "slot -1 is the last of the pool: a padded lane writes there",
       padding, padded_lanes_read([](Index slots) { return slots - 1; })},
      {"padded_rows_unwritten", path, "out of a padded lane is not written", padding,
       leave_padded_rows},
      {"zero_times_padding", path, "out of a padded lane is 0 times what it was given: NaN",
       padding, zero_times_padding},
      {"accepted_tokens_ignored", path, "a lane reads the slot of its first column", padding,
       on_inputs(
           [](const Case&, const Tensors& x) { return without(x, {"num_accepted_tokens"}); })},
      {"accepted_tokens_off_by_one", path, "a lane reads the column behind the right one", padding,
       on_inputs([](const Case&, const Tensors& x) {
         const Tensor* const slots = find(x, source);
         if (slots == nullptr) return x;
         const auto columns = static_cast<double>(slots->extent(Time::name));
         return edited(x, "num_accepted_tokens", [=](double n, const At&) {
           return std::min(std::max(n, 1.0) + 1, columns);
         });
       })},
      {"destinations_swapped", path, "states of two tokens are stored in each other's slot",
       padding, on_inputs([](const Case&, const Tensors& x) {
         const Tensor* const slots = find(x, "dst_state_batch_indices");
         const Index last = slots == nullptr ? 0 : slots->extent(Time::name) - 1;
         return last < 1 ? x : moved(x, {"dst_state_batch_indices"}, Time::name, [=](Index t) {
           return last - t;
         });
       })},
      {"two_lanes_one_slot", path, "the second lane stores in the slot of the first", padding,
       [](const RightPath& right, const Case& c, const Tensors& inputs, Tensors& outputs) {
         right(c, inputs, outputs);
         const std::string name = find(inputs, "dst_state_batch_indices") != nullptr
                                      ? "dst_state_batch_indices"
                                      : source;
         const Tensor* const slots = find(inputs, name);
         Tensor& state = *find(outputs, "state");
         const auto slot = [&](Index lane) {
           return slots == nullptr
                      ? lane
                      : static_cast<Index>(slots->load(lane * slots->axes()[0].stride));
         };
         const Index lanes =
             slots == nullptr ? outputs[0].extent(Batch::name) : slots->extent(Sequence::name);
         Index first = -1;
         for (Index lane = 0; lane < lanes; ++lane) {
           if (slot(lane) < 0) continue;
           if (first >= 0) {
             copy_bytes(state.slice(Slot::name, slot(lane), 1),
                        state.slice(Slot::name, slot(first), 1));
             return;
           }
           first = lane;
         }
       }},
      {"state_rounded_to_bf16", path, "states of fp32 are stored as bf16 would hold them", contract,
       on_outputs([](const Case&, const Tensors& x, Tensors& y) {
         edit_stored(x, y, "state",
                     [](double s, const At&) { return rounded(ElementType::bfloat16, s); });
       })},
      {"state_layout_swapped", path, "states are stored [state, value]", contract,
       on_outputs([](const Case&, const Tensors& x, Tensors& y) {
         const Tensor turned = transposed_bytes(*find(y, "state"));
         edit_stored(x, y, "state", [&](double, const At& at) {
           Index offset = 0;
           for (std::size_t a = 0; a < at.size(); ++a) offset += at[a] * turned.axes()[a].stride;
           return turned.load(offset);
         });
       })},
      {"state_not_stored", path, "the pool keeps the state of before", contract,
       on_outputs([](const Case&, const Tensors& x, Tensors& y) { restore(x, y, "state"); })},
      {"group_map_by_modulo", path, "head h reads B and C of group h % G", contract,
       on_inputs([](const Case&, const Tensors& x) {
         const Index groups = find(x, "B")->extent(Group::name);
         return moved(
             x, {"B", "C"}, Group::name, [=](Index h) { return h % groups; },
             find(x, "x")->extent(Head::name));
       })},
      {"D_left_out", path, "the skip connection does not enter", contract,
       on_inputs([](const Case&, const Tensors& x) { return without(x, {"D"}); })},
      {"offset_of_32_bits",
       path,
       "offsets into the pool wrap at 2^31 elements",
       contract,
       {},
       "a pool of more than 2^31 elements: '" + contract.substr(10, contract.rfind('/') - 10) +
           " B=1 H=64 P=64 N=128 pool=4097', --max-memory 32, in a slot behind the 4096th"},
      {"another_seed",
       path,
       "stochastic rounding draws with rand_seed + 1",
       contract,
       {},
       "no tolerance, as both are right to a step: compare --against " + path + " --bitwise"},
  };
}

}  // namespace groundstate::harness
