#include "harness/operators/mamba3_step/device.hpp"

#include "gpu/mamba3_step/mamba3_step.hpp"
#include "harness/operators/device_tensors.hpp"
#include "harness/operators/mamba3_step/pool.hpp"

namespace groundstate::harness::mamba3_step_binding {

namespace kernels = groundstate::gpu::mamba3_step;

std::unique_ptr<DeviceRun> prepare(const Case& c, std::string_view form, const Tensors& inputs,
                                   const Tensors& outputs) {
  Tensors given = inputs;  // the pools are among the outputs
  std::erase_if(given, [&](const Tensor& x) { return find(outputs, x.name()) != nullptr; });
  const auto x_memory = std::make_shared<const DeviceTensors>(given),
             y_memory = std::make_shared<const DeviceTensors>(outputs);
  mamba3::DeviceInputs x;
  mamba3::DeviceOutputs y;
  input_tensors(x, [&](std::string_view name, auto& view, auto...) { x_memory->bind(name, view); });
  output_tensors(y,
                 [&](std::string_view name, auto& view, auto...) { y_memory->bind(name, view); });
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
