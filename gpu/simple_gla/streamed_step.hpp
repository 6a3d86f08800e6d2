// gpu.step where a state is adjacent bytes: it passes through shared memory (streamed_step.cu);
// step.cu has the equation and takes everything else.
#pragma once

#include "gpu/simple_gla/steps.hpp"

namespace groundstate::gpu::simple_gla {

// Pools of fp32, bf16 and fp16 whose states are row-major, without gaps, and aligned to 16 bytes;
// V at most 128, two states with their tokens in 227 KB, at most 32 tokens.
bool streamed_step_takes(const Steps& steps);
void streamed_step(const Steps& steps, Stream stream);

}  // namespace groundstate::gpu::simple_gla
