// gpu.step for one token a lane and states of plain numbers (direct_step.cu).
#pragma once

#include <cuda_runtime_api.h>

#include "gpu/selective_state_update/selective_state_update.hpp"

namespace groundstate::gpu::selective_state_update {

// Queues a call that step() takes, with the same bits. False, and nothing is queued, where it is
// another.
bool direct_step(const DeviceInputs& x, const Options& options, const DeviceOutputs& y,
                 cudaStream_t stream);

}  // namespace groundstate::gpu::selective_state_update
