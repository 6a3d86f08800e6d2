// The tensors of a call on the device (reference/mamba3_step/contract.hpp), with element types
// known at run time.
#pragma once

#include "reference/mamba3_step/contract.hpp"

namespace groundstate::mamba3_step {

using DeviceInputs = Inputs<Space::device, AnyElements>;
using DeviceOutputs = Outputs<Space::device, AnyElements>;

}  // namespace groundstate::mamba3_step

namespace groundstate::gpu::mamba3_step {

using namespace groundstate::mamba3_step;

}  // namespace groundstate::gpu::mamba3_step
