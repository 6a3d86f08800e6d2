// mamba3_step on a device, in the harness.
#pragma once

#include <memory>
#include <string_view>

#include "harness/operators/device_run.hpp"
#include "harness/operators/mamba3_step/case.hpp"

namespace groundstate::harness::mamba3_step_binding {

// `form` is that of a path of the device; `outputs` hold what start() puts there.
std::unique_ptr<DeviceRun> prepare(const Case& c, std::string_view form, const Tensors& inputs,
                                   const Tensors& outputs);

}  // namespace groundstate::harness::mamba3_step_binding
