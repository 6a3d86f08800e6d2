// gpu.recurrent: the reference, a CTA for each lane and head.
//
// Every contract: any layout, storage, N, R and T, lanes one after the other where
// Options::sequential says so. In fp32 every bit is that of the reference on the host; arithmetic
// is fp64 where the output is, and exp, sin, cos and tanh are then CUDA's.
#pragma once

#include "gpu/core/launch.hpp"
#include "gpu/mamba3_step/device_tensors.hpp"

namespace groundstate::gpu::mamba3_step {

std::size_t recurrent_workspace(const DeviceInputs& x, const DeviceOutputs& y,
                                const Options& options);
void recurrent(const DeviceInputs& x, const Options& options, const DeviceOutputs& y,
               const Launch& launch);

}  // namespace groundstate::gpu::mamba3_step
