// gpu.step for one token a lane and states of plain numbers (direct_step.cu).
#pragma once

#include "gpu/selective_state_update/selective_state_update.hpp"

namespace groundstate::gpu::selective_state_update {

// Whether direct_step() takes a call that step() takes. Both have the same bits.
bool direct_step_takes(const DeviceInputs& x, const Options& options, const DeviceOutputs& y);
void direct_step(const DeviceInputs& x, const Options& options, const DeviceOutputs& y,
                 cudaStream_t stream);

}  // namespace groundstate::gpu::selective_state_update
