// selective_state_update on a device, in the harness.
#pragma once

#include <memory>
#include <string_view>

#include "harness/operators/device_run.hpp"
#include "harness/operators/selective_state_update/case.hpp"

namespace groundstate::harness::selective_state_update_binding {

// `form` is recurrent or step; `outputs` hold what start() puts there.
std::unique_ptr<DeviceRun> prepare(const Case& c, std::string_view form, const Tensors& inputs,
                                   const Tensors& outputs);

}  // namespace groundstate::harness::selective_state_update_binding
