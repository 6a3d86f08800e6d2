#include "harness/operators/selective_state_update/device.hpp"

#include "gpu/selective_state_update/selective_state_update.hpp"
#include "harness/operators/device_tensors.hpp"
#include "harness/operators/selective_state_update/pool.hpp"

namespace groundstate::harness::selective_state_update_binding {

namespace kernels = groundstate::gpu::selective_state_update;

std::unique_ptr<DeviceRun> prepare(const Case& c, std::string_view form, const Tensors& inputs,
                                   const Tensors& outputs) {
  Tensors given = inputs;  // the pools are among the outputs
  std::erase_if(given, [&](const Tensor& x) { return find(outputs, x.name()) != nullptr; });
  const auto x_memory = std::make_shared<const DeviceTensors>(given),
             y_memory = std::make_shared<const DeviceTensors>(outputs);
  ssu::DeviceInputs x;
  ssu::DeviceOutputs y;
  input_tensors(x, [&](std::string_view name, auto& view, auto...) { x_memory->bind(name, view); });
  output_tensors(y,
                 [&](std::string_view name, auto& view, auto...) { y_memory->bind(name, view); });
  drop_scales(y);
  const ssu::Options options = options_for(c, y.state.type());
  // A second launch goes on from the pool that the first one left.
  if (form == "step")
    return make_device_run(
        x_memory, y_memory, 0,
        [=](const gpu::Launch& launch) { kernels::step(x, options, y, launch); },
        Repeated::goes_on);
  return make_device_run(
      x_memory, y_memory, kernels::recurrent_workspace(x, y, options),
      [=](const gpu::Launch& launch) { kernels::recurrent(x, options, y, launch); },
      Repeated::goes_on);
}

}  // namespace groundstate::harness::selective_state_update_binding
