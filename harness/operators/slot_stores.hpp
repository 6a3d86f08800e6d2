// What the lanes of a call leave in the slots of a pool, whatever the recurrence is.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "reference/core/lane.hpp"

namespace groundstate::harness {

struct SlotStore {
  Index sequence, token;  // the lane, and the token after which it stores
};

struct SlotStores {
  LaneIndices<Space::host, Any> indices;
  LaneRules rules;
  Index time, sequences;  // tokens of a lane that is not packed; lanes

  // The last store in each slot.
  std::map<Index, SlotStore> last() const;
  // Tokens of a lane whose store nothing replaces.
  std::vector<Index> lasting(Index sequence) const;
  // What left in the pools the state that a lane reads from slot `source`, where lanes are
  // processed one after the other.
  std::optional<SlotStore> predecessor(Index sequence, Index source) const;

 private:
  // Of lanes begin .. end - 1.
  std::map<Index, SlotStore> last(Index begin, Index end) const;
};

}  // namespace groundstate::harness
