// gpu.step where a state is adjacent bytes: it passes through shared memory (streamed_step.cu);
// step.cu has the equation and takes everything else.
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

// To mend with the next change of this code: a pool of a 4-byte type that is no number of a state is
// taken for one of fp16; step() is to refuse it first, as it does for pools that do not come here.
//
// Pools of fp32, bf16 and fp16 whose states are row-major, without gaps, and aligned to 16 bytes;
// V at most 128, two states with their tokens in 227 KB, at most 32 tokens.
bool streamed_step_takes(const Steps& steps);
void streamed_step(const Steps& steps, Stream stream);

}  // namespace groundstate::gpu::simple_gla
