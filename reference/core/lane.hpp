// Lanes and slots: which tokens one sequence of a call has, which slot of the pools it reads, and
// which it writes, from index tensors; and what is wrong with those.
//
//   name                        shape                  default    meaning
//   state_batch_indices         [sequence, columns]    slot n     the slot that a lane reads
//   num_accepted_tokens         [sequence]             1          which column: max(this - 1, 0)
//   dst_state_batch_indices     [sequence, columns]    as read    the slots that a lane writes
//   cu_seqlens                  [sequence + 1]         dense      tokens of packed lanes, batch = 1
//   replayed_tokens             [sequence]             all        only the first ones are processed
//   intermediate_state_indices  [sequence]             as read    row of intermediate_states
//
// Padding. Without pad_slot_id every negative slot is padding, with it only that number. A padded
// entry of dst_state_batch_indices is a state that is not stored. A lane without tokens reads and
// stores nothing.
//
// Duplicates. A slot that one lane writes may not be read or written by another: refused, unless
// the lanes are to be processed one after the other (LaneRules::sequential).
//
// Compiles for a device: `load(view, coordinates...)` reads an element of an index tensor there.
// Errors: validate_lanes() throws std::invalid_argument naming the tensor, the lanes and what is
// accepted.
#pragma once

#include <map>
#include <optional>
#include <stdexcept>
#include <string>

#include "reference/core/tensor_list.hpp"
#include "reference/core/view.hpp"

namespace groundstate {

template <Space space, class Element>
struct LaneIndices {
  View<space, const Element, Sequence, Time> source;
  View<space, const Element, Sequence> accepted;
  View<space, const Element, Sequence, Time> destination;
  View<space, const Element, Offset> offsets;
  View<space, const Element, Sequence> replayed;
  View<space, const Element, Sequence> intermediate_rows;
};

template <Space space, class Element, class Visit>
void index_tensors(LaneIndices<space, Element>& x, Visit&& visit) {
  visit("state_batch_indices", x.source, ElementClass::index, Presence::optional);
  visit("num_accepted_tokens", x.accepted, ElementClass::index, Presence::optional);
  visit("dst_state_batch_indices", x.destination, ElementClass::index, Presence::optional);
  visit("cu_seqlens", x.offsets, ElementClass::index, Presence::optional);
  visit("replayed_tokens", x.replayed, ElementClass::index, Presence::optional);
  visit("intermediate_state_indices", x.intermediate_rows, ElementClass::index, Presence::optional);
}

struct LaneRules {
  std::optional<Index> pad_slot_id = {};
  bool update_state = true;
  bool sequential = false;
};

struct Lane {
  Index batch = 0, begin = 0, length = 0;  // its tokens
  Index given = 0;                         // tokens that it has without replayed_tokens
  Index source = 0;                        // the slot that it reads
  bool padding = false;                    // then it has none
  Index row = 0;                           // of intermediate_states
};

constexpr bool is_padding(const LaneRules& rules, Index slot) {
  return rules.pad_slot_id ? slot == *rules.pad_slot_id : slot < 0;
}

// `time`: the tokens of a lane that is not packed.
template <Space space, class Element, class Load>
constexpr Lane lane(const LaneIndices<space, Element>& x, const LaneRules& rules, Index time,
                    Index sequence, const Load& load) {
  Lane own;
  own.batch = x.offsets ? 0 : sequence;
  own.begin = x.offsets ? load(x.offsets, Offset{sequence}) : 0;
  own.given = x.offsets ? load(x.offsets, Offset{sequence + 1}) - own.begin : time;
  own.length = x.replayed ? load(x.replayed, Sequence{sequence}) : own.given;
  const Index accepted = x.accepted ? load(x.accepted, Sequence{sequence}) : 1;
  own.source = x.source ? load(x.source, Sequence{sequence}, Time{accepted > 1 ? accepted - 1 : 0})
                        : sequence;
  own.padding = x.source && is_padding(rules, own.source);
  own.row = x.intermediate_rows ? load(x.intermediate_rows, Sequence{sequence}) : own.source;
  return own;
}

inline constexpr Index nowhere = -1;

// What destination() gives where a token has a slot of its own, or is the last of its lane: the
// slot that `slots` names, else the lane's source.
template <class Slots, class Load>
constexpr Index destination_of(const Slots& slots, const LaneRules& rules, Index sequence,
                               Index source, Time t, const Load& load) {
  if (!rules.update_state) return nowhere;
  if (!slots) return source;
  const Index slot = load(slots, Sequence{sequence}, t);
  return is_padding(rules, slot) ? nowhere : slot;
}

// The slot in which a lane that is no padding stores its states after its token t, or nowhere.
template <Space space, class Element, class Load>
constexpr Index destination(const LaneIndices<space, Element>& x, const LaneRules& rules,
                            Index sequence, const Lane& own, Index t, const Load& load) {
  const bool every_token = x.destination && x.destination.template extent<Time>() > 1;
  if (!every_token && t + 1 < own.length) return nowhere;
  return destination_of(x.destination, rules, sequence, own.source, Time{every_token ? t : 0},
                        load);
}

inline constexpr auto load_index = [](const auto& view, auto... at) {
  return static_cast<Index>(view.load(at...));
};

// What validate_lanes() has to know of a call beside its indices.
struct LaneSizes {
  Index batch = 0, time = 0, sequences = 0, slots = 0;
  Index rows = 0, steps = 0;  // of intermediate_states; 0 and 0 where there are none
  bool intermediate = false;
};

// The lanes of a call: those of cu_seqlens, else of the batch.
template <Space space, class Element>
Index sequences_of(const LaneIndices<space, Element>& x, Index batch) {
  return x.offsets ? x.offsets.template extent<Offset>() - 1 : batch;
}

// Shapes of the index tensors. `what` is the operator, at the start of every message.
template <Space space, class Element>
void validate_index_shapes(const std::string& what, const LaneIndices<space, Element>& x,
                           const LaneSizes& n) {
  const auto require = [&](bool good, const std::string& message) {
    if (!good) throw std::invalid_argument(what + ": " + message);
  };
  if (x.offsets)
    require(n.batch == 1, "cu_seqlens needs batch = 1, got " + std::to_string(n.batch));
  require(n.sequences >= 0, "cu_seqlens needs at least one entry");
  const auto require_rows = [&](const auto& view, const std::string& name) {
    require(!view || view.template extent<Sequence>() == n.sequences,
            name + " must have one row per lane, " + std::to_string(n.sequences));
  };
  require_rows(x.source, "state_batch_indices");
  require_rows(x.accepted, "num_accepted_tokens");
  require_rows(x.destination, "dst_state_batch_indices");
  require_rows(x.replayed, "replayed_tokens");
  require_rows(x.intermediate_rows, "intermediate_state_indices");
  require(!x.accepted || x.source, "num_accepted_tokens needs state_batch_indices");
  require(!x.intermediate_rows || n.intermediate,
          "intermediate_state_indices needs intermediate_states");
  require(x.source || n.slots >= n.sequences,
          "without state_batch_indices the pool needs a slot per lane, " +
              std::to_string(n.sequences) + "; it has " + std::to_string(n.slots));
  require(!x.destination || !n.intermediate,
          "dst_state_batch_indices and intermediate_states exclude each other");
}

// Contents of the index tensors: slots outside of the pool, slots of two lanes, offsets that
// decrease.
template <class Element>
void validate_lanes(const std::string& what, const LaneIndices<Space::host, Element>& x,
                    const LaneRules& rules, const LaneSizes& n) {
  const auto& load = load_index;
  const auto require = [&](bool good, const std::string& message) {
    if (!good) throw std::invalid_argument(what + ": " + message);
  };
  const auto number = [](Index i) { return std::to_string(i); };
  if (x.offsets) {
    Index before = 0;
    for (Index i = 0; i <= n.sequences; ++i) {
      const Index offset = load(x.offsets, Offset{i});
      require(offset >= before && (i > 0 || offset == 0) && offset <= n.time,
              "cu_seqlens must start at 0, not decrease and end at " + number(n.time) + "; entry " +
                  number(i) + " is " + number(offset));
      before = offset;
    }
    require(before == n.time, "cu_seqlens must end at " + number(n.time) +
                                  ", the tokens of x; it ends at " + number(before));
  }
  std::map<Index, Index> writer, row_writer;  // lane by slot, by row of intermediate_states
  std::multimap<Index, Index> readers;        // lanes by slot
  const auto claim = [&](std::map<Index, Index>& owners, Index slot, Index lane, const char* kind) {
    const auto [owner, fresh] = owners.emplace(slot, lane);
    require(fresh || owner->second == lane || rules.sequential,
            "lanes " + number(owner->second) + " and " + number(lane) + " both write " + kind +
                " " + number(slot) +
                "; each may be written by one lane (or process lanes sequentially)");
  };
  for (Index i = 0; i < n.sequences; ++i) {
    if (x.accepted) {
      const Index accepted = load(x.accepted, Sequence{i}),
                  columns = x.source.template extent<Time>();
      require(accepted >= 0 && accepted <= columns,
              "num_accepted_tokens of lane " + number(i) + " is " + number(accepted) +
                  "; accepted is 0 to " + number(columns) + ", the columns of state_batch_indices");
    }
    const Lane own = lane(x, rules, n.time, i, load);
    require(own.length >= 0 && own.length <= own.given,
            "replayed_tokens of lane " + number(i) + " is " + number(own.length) +
                "; accepted is 0 to " + number(own.given) + ", its tokens");
    if (own.padding) continue;
    const auto require_slot = [&](Index slot, const char* tensor) {
      require(slot >= 0 && slot < n.slots,
              std::string(tensor) + " of lane " + number(i) + " is " + number(slot) +
                  "; accepted is 0 to " + number(n.slots - 1) +
                  (rules.pad_slot_id ? " and pad_slot_id, " + number(*rules.pad_slot_id)
                                     : std::string(", negative for padding")));
    };
    require_slot(own.source, "state_batch_indices");
    if (own.length == 0) continue;
    readers.emplace(own.source, i);
    if (x.destination && x.destination.template extent<Time>() > 1)
      require(x.destination.template extent<Time>() >= own.length,
              "dst_state_batch_indices needs a column per token, " + number(own.length) +
                  ", or one; it has " + number(x.destination.template extent<Time>()));
    for (Index t = 0; t < own.length; ++t) {
      const Index slot = destination(x, rules, i, own, t, load);
      if (slot == nowhere) continue;
      require_slot(slot, "dst_state_batch_indices");
      claim(writer, slot, i, "slot");
    }
    if (n.intermediate) {
      require(n.steps >= own.length, "intermediate_states needs a step per token, " +
                                         number(own.length) + "; it has " + number(n.steps));
      require(own.row >= 0 && own.row < n.rows, "the row of intermediate_states of lane " +
                                                    number(i) + " is " + number(own.row) +
                                                    "; accepted is 0 to " + number(n.rows - 1));
      claim(row_writer, own.row, i, "intermediate row");
    }
  }
  for (const auto& [slot, reader] : readers) {
    const auto owner = writer.find(slot);
    require(owner == writer.end() || owner->second == reader || rules.sequential,
            "lane " + number(reader) + " reads slot " + number(slot) + ", which lane " +
                number(owner == writer.end() ? 0 : owner->second) +
                " writes; a slot that is written belongs to one lane (or process lanes "
                "sequentially)");
  }
}

}  // namespace groundstate
