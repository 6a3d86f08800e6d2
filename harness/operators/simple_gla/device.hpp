// The paths of simple_gla that run on a device. Defined where gpu/ is part of the program
// (built_with_cuda).
#pragma once

#include <memory>

#include "harness/operators/device_run.hpp"
#include "harness/operators/simple_gla/paths.hpp"

namespace groundstate::harness::simple_gla_binding {

std::unique_ptr<DeviceRun> prepare(const Variant& v, const Options& options, const Tensors& inputs,
                                   const Tensors& outputs);
std::unique_ptr<DeviceRun> prepare(const BackwardVariant& v, const Options& options,
                                   const Tensors& inputs, const Tensors& outputs);

}  // namespace groundstate::harness::simple_gla_binding
