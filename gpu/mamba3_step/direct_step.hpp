// gpu.step for one token a lane, with the prologue or without (direct_step.cu).
#pragma once

#include <cuda_runtime_api.h>

#include "gpu/mamba3_step/mamba3_step.hpp"

namespace groundstate::gpu::mamba3_step {

// Queues a call that step() takes, with the same bits. False, and nothing is queued, where it is
// another.
bool direct_step(const DeviceInputs& x, const Options& options, const DeviceOutputs& y,
                 cudaStream_t stream);

}  // namespace groundstate::gpu::mamba3_step
