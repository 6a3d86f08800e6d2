#include "harness/operators/selective_state_update/device.hpp"

#include "gpu/selective_state_update/selective_state_update.hpp"
#include "harness/operators/device_tensors.hpp"
#include "harness/operators/selective_state_update/pool.hpp"

namespace groundstate::harness::selective_state_update_binding {

namespace kernels = groundstate::gpu::selective_state_update;

std::unique_ptr<DeviceRun> prepare(const Case& c, std::string_view form, const Tensors& inputs,
                                   const Tensors& outputs) {
  const auto x_memory = std::make_shared<const DeviceTensors>(without_outputs(inputs, outputs)),
             y_memory = std::make_shared<const DeviceTensors>(outputs);
  const auto x = bind_inputs<ssu::DeviceInputs>(*x_memory);
  auto y = bind_outputs<ssu::DeviceOutputs>(*y_memory);
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
