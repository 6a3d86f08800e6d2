// gpu.step for one token a lane, B and C rotated before: by way of registers (direct_step.cu).
#pragma once

#include "gpu/mamba3_step/device_tensors.hpp"

namespace groundstate::gpu::mamba3_step {

// Whether direct_step() takes a call that step() takes. Both have the same bits.
bool direct_step_takes(const DeviceInputs& x, const Options& options, const DeviceOutputs& y);
void direct_step(const DeviceInputs& x, const Options& options, const DeviceOutputs& y,
                 cudaStream_t stream);

}  // namespace groundstate::gpu::mamba3_step
