#include "harness/operators/slot_stores.hpp"

namespace groundstate::harness {

std::map<Index, SlotStore> SlotStores::last() const { return last(0, sequences); }

std::vector<Index> SlotStores::lasting(Index sequence) const {
  // Only a lane that comes later, where they are processed one after the other, can store where
  // this one did.
  std::vector<Index> tokens;
  for (const auto& [slot, store] : last(sequence, rules.sequential ? sequences : sequence + 1))
    if (store.sequence == sequence) tokens.push_back(store.token);
  return tokens;
}

std::optional<SlotStore> SlotStores::predecessor(Index sequence, Index source) const {
  if (!rules.sequential) return std::nullopt;
  const std::map<Index, SlotStore> stores = last(0, sequence);
  const auto found = stores.find(source);
  return found == stores.end() ? std::nullopt : std::optional(found->second);
}

std::map<Index, SlotStore> SlotStores::last(Index begin, Index end) const {
  std::map<Index, SlotStore> result;
  for (Index i = begin; i < end; ++i) {
    const Lane own = lane(indices, rules, time, i, load_index);
    for (Index t = 0; !own.padding && t < own.length; ++t)
      if (const Index slot = destination(indices, rules, i, own, t, load_index); slot != nowhere)
        result[slot] = {i, t};
  }
  return result;
}

}  // namespace groundstate::harness
