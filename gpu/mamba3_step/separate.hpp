// gpu.separate: the prologue by itself, and gpu.step on what it wrote.
//
// Two launches. What gpu.step refuses without a prologue, this refuses.
#pragma once

#include "gpu/core/launch.hpp"
#include "gpu/mamba3_step/device_tensors.hpp"

namespace groundstate::gpu::mamba3_step {

std::size_t separate_workspace(const DeviceInputs& x, const DeviceOutputs& y);
void separate(const DeviceInputs& x, const Options& options, const DeviceOutputs& y,
              const Launch& launch);

}  // namespace groundstate::gpu::mamba3_step
