// What the ways of gpu.step have in common: its arguments. step.cu has the equation.
#pragma once

#include "gpu/simple_gla/recurrence.hpp"

namespace groundstate::gpu::simple_gla {

struct Steps {
  Index batch, time, rows, columns;
  unsigned heads;
  Gates gates;
  bool reverse;
  TokenInput query, key, value;
  TokenOutput output;
  StateOutput pool;           // its sequences are slots
  const std::int32_t* slots;  // null: slot b for sequence b
  Index slot_stride;
};

}  // namespace groundstate::gpu::simple_gla
