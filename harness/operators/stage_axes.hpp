// Axes that only intermediates have (axis.hpp).
#pragma once

#include "reference/core/axis.hpp"

namespace groundstate::harness {

// Chunks of the sequences of a batch element, one sequence after another.
struct ChunkNumber {
  Index index;
  static constexpr std::string_view name = "chunk", letter = "c";
};
// A token of a chunk, counted from its first in the order of processing.
struct ChunkToken {
  Index index;
  static constexpr std::string_view name = "column", letter = "j";
};

}  // namespace groundstate::harness
