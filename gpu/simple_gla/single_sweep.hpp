// A sweep (sweep.hpp) of fp32 tensors, without tensor cores: X(.) rounds nothing, products are fp32
// fma. The states that it keeps are fp32, a block of 64 columns of a as [columns of b][64].
#pragma once

#include "gpu/simple_gla/sweep.hpp"

namespace groundstate::gpu::simple_gla {

// Queues one kernel. As run_sweep, of which it is the part for ElementType::float32.
void run_single_sweep(Purpose purpose, const Sweep& sweep, int value_blocks, cudaStream_t stream);

}  // namespace groundstate::gpu::simple_gla
