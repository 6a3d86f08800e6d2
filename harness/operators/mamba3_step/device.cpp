#include "harness/operators/mamba3_step/device.hpp"

#include "gpu/mamba3_step/mamba3_step.hpp"
#include "harness/operators/device_tensors.hpp"
#include "harness/operators/mamba3_step/pool.hpp"

namespace groundstate::harness::mamba3_step_binding {

namespace kernels = groundstate::gpu::mamba3_step;

std::unique_ptr<DeviceRun> prepare(const Case& c, std::string_view form, const Tensors& inputs,
                                   const Tensors& outputs) {
  const auto x_memory = std::make_shared<const DeviceTensors>(without_outputs(inputs, outputs)),
             y_memory = std::make_shared<const DeviceTensors>(outputs);
  const auto x = bind_inputs<mamba3::DeviceInputs>(*x_memory);
  auto y = bind_outputs<mamba3::DeviceOutputs>(*y_memory);
  y.rotation = pool_rotation(c);
  const mamba3::Options options = options_for(c, y.state.type());
  // A second launch goes on from the pools that the first one left.
  const auto make = [&](std::size_t workspace, auto entry) {
    return make_device_run(
        x_memory, y_memory, workspace,
        [=](const gpu::Launch& launch) { entry(x, options, y, launch); }, Repeated::goes_on);
  };
  if (form == "step") return make(0, kernels::step);
  if (form == "separate") return make(kernels::separate_workspace(x, y), kernels::separate);
  if (form == "gathered")
    return make(kernels::gathered_workspace(x, y, options), kernels::gathered);
  return make(kernels::recurrent_workspace(x, y, options), kernels::recurrent);
}

}  // namespace groundstate::harness::mamba3_step_binding
