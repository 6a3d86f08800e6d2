// Axes of tensors as types.
//
// A coordinate is a value of its axis (`Time{5}`), a tensor's type is its list of axes in the order
// of the equation. Exchanging two indices, or passing a [value, key] state where [key, value] is
// wanted, therefore does not compile (tests/misuse).
#pragma once

#include <cstdint>
#include <string_view>

namespace groundstate {

using Index = std::int64_t;

// `name` is the word used in messages, HDF5 dimension labels and reports; `letter` the short form
// of a coordinate (t=17).
struct Batch {
  Index index;
  static constexpr std::string_view name = "batch", letter = "b";
};
struct Sequence {
  Index index;
  static constexpr std::string_view name = "sequence", letter = "n";
};
struct Time {
  Index index;
  static constexpr std::string_view name = "time", letter = "t";
};
struct Head {
  Index index;
  static constexpr std::string_view name = "head", letter = "h";
};
struct ValueHead {
  Index index;
  static constexpr std::string_view name = "value_head", letter = "hv";
};
struct Group {
  Index index;
  static constexpr std::string_view name = "group", letter = "g";
};
struct Key {
  Index index;
  static constexpr std::string_view name = "key", letter = "k";
};
struct Value {
  Index index;
  static constexpr std::string_view name = "value", letter = "v";
};
struct State {
  Index index;
  static constexpr std::string_view name = "state", letter = "s";
};
struct Slot {
  Index index;
  static constexpr std::string_view name = "slot", letter = "slot";
};
struct Rank {
  Index index;
  static constexpr std::string_view name = "rank", letter = "r";
};
struct Call {
  Index index;
  static constexpr std::string_view name = "call", letter = "call";
};
struct Offset {
  Index index;
  static constexpr std::string_view name = "offset", letter = "i";
};

}  // namespace groundstate
