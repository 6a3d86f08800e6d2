// What one lane of a call reads and writes, from the index tensors; and what is wrong with them.
//
// The one place where padding, accepted tokens and destinations are looked up, by a host and by a
// device. `load(view, coordinates...)` reads an element of an index tensor on either.
#pragma once

#include <map>

#include "reference/selective_state_update/contract.hpp"

namespace groundstate::selective_state_update {

struct Lane {
  Index batch = 0, begin = 0, length = 0;  // its tokens
  Index source = 0;                        // the slot that it reads
  bool padding = false;                    // then it has none
  Index row = 0;                           // of intermediate_states
};

constexpr bool is_padding(const Options& options, Index slot) {
  return options.pad_slot_id ? slot == *options.pad_slot_id : slot < 0;
}

template <Space space, class E, class Load>
constexpr Lane lane(const Inputs<space, E>& x, const Options& options, Index sequence,
                    const Load& load) {
  Lane own;
  own.batch = x.offsets ? 0 : sequence;
  own.begin = x.offsets ? load(x.offsets, Offset{sequence}) : 0;
  own.length =
      x.offsets ? load(x.offsets, Offset{sequence + 1}) - own.begin : x.x.template extent<Time>();
  const Index accepted = x.accepted ? load(x.accepted, Sequence{sequence}) : 1;
  own.source = x.source ? load(x.source, Sequence{sequence}, Time{accepted > 1 ? accepted - 1 : 0})
                        : sequence;
  own.padding = x.source && is_padding(options, own.source);
  own.row = x.intermediate_rows ? load(x.intermediate_rows, Sequence{sequence}) : own.source;
  return own;
}

inline constexpr Index nowhere = -1;

// The slot in which a lane that is no padding stores its state after its token t, or nowhere.
template <Space space, class E, class Load>
constexpr Index destination(const Inputs<space, E>& x, const Options& options, Index sequence,
                            const Lane& own, Index t, const Load& load) {
  if (!options.update_state) return nowhere;
  const bool every_token = x.destination && x.destination.template extent<Time>() > 1;
  if (!every_token && t + 1 < own.length) return nowhere;
  if (!x.destination) return own.source;
  const Index slot = load(x.destination, Sequence{sequence}, Time{every_token ? t : 0});
  return is_padding(options, slot) ? nowhere : slot;
}

inline constexpr auto load_index = [](const auto& view, auto... at) {
  return static_cast<Index>(view.load(at...));
};

// Throws std::invalid_argument naming the lane, the slot and what is accepted: slots outside of the
// pool, slots of two lanes, offsets that decrease.
inline void validate_indices(const Inputs<Space::host, AnyElements>& x,
                             const Outputs<Space::host, AnyElements>& y, const Options& options) {
  const Shape n = shape(x, y);
  const auto& load = load_index;
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
  const auto claim = [&](std::map<Index, Index>& owners, Index slot, Index lane, const char* what) {
    const auto [owner, fresh] = owners.emplace(slot, lane);
    require(fresh || owner->second == lane || options.sequential,
            "lanes " + number(owner->second) + " and " + number(lane) + " both write " + what +
                " " + number(slot) +
                "; each may be written by one lane (or process lanes sequentially)");
  };
  for (Index i = 0; i < n.sequences; ++i) {
    if (x.accepted) {
      const Index accepted = load(x.accepted, Sequence{i}), columns = x.source.extent<Time>();
      require(accepted >= 0 && accepted <= columns,
              "num_accepted_tokens of lane " + number(i) + " is " + number(accepted) +
                  "; accepted is 0 to " + number(columns) + ", the columns of state_batch_indices");
    }
    const Lane own = lane(x, options, i, load);
    if (own.padding) continue;
    const auto require_slot = [&](Index slot, const char* tensor) {
      require(slot >= 0 && slot < n.slots,
              std::string(tensor) + " of lane " + number(i) + " is " + number(slot) +
                  "; accepted is 0 to " + number(n.slots - 1) +
                  (options.pad_slot_id ? " and pad_slot_id, " + number(*options.pad_slot_id)
                                       : std::string(", negative for padding")));
    };
    require_slot(own.source, "state_batch_indices");
    if (own.length == 0) continue;
    readers.emplace(own.source, i);
    if (x.destination && x.destination.extent<Time>() > 1)
      require(x.destination.extent<Time>() >= own.length,
              "dst_state_batch_indices needs a column per token, " + number(own.length) +
                  ", or one; it has " + number(x.destination.extent<Time>()));
    for (Index t = 0; t < own.length; ++t) {
      const Index slot = destination(x, options, i, own, t, load);
      if (slot == nowhere) continue;
      require_slot(slot, "dst_state_batch_indices");
      claim(writer, slot, i, "slot");
    }
    if (y.intermediate) {
      const Index rows = y.intermediate.extent<Slot>(), steps = y.intermediate.extent<Time>();
      require(steps >= own.length, "intermediate_states needs a step per token, " +
                                       number(own.length) + "; it has " + number(steps));
      require(own.row >= 0 && own.row < rows, "the row of intermediate_states of lane " +
                                                  number(i) + " is " + number(own.row) +
                                                  "; accepted is 0 to " + number(rows - 1));
      claim(row_writer, own.row, i, "intermediate row");
    }
  }
  for (const auto& [slot, reader] : readers) {
    const auto owner = writer.find(slot);
    require(owner == writer.end() || owner->second == reader || options.sequential,
            "lane " + number(reader) + " reads slot " + number(slot) + ", which lane " +
                number(owner == writer.end() ? 0 : owner->second) +
                " writes; a slot that is written belongs to one lane (or process lanes "
                "sequentially)");
  }
}

}  // namespace groundstate::selective_state_update
