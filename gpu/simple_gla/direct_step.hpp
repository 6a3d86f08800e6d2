// gpu.step for one token where a state is adjacent bytes: by way of registers (direct_step.cu).
#pragma once

#include "gpu/simple_gla/steps.hpp"

namespace groundstate::gpu::simple_gla {

// Queues a step on a pool of fp32, bf16 or fp16 whose states are row-major, without gaps, and
// aligned to 16 bytes; K = 64 or 128, rows of 128, 256 or 512 bytes; values in adjacent rows
// aligned to 16 bytes. False, and nothing is queued, for any other.
bool direct_step(const Steps& steps, Stream stream);

}  // namespace groundstate::gpu::simple_gla
