#include "gpu/simple_gla/simple_gla.hpp"
namespace groundstate::gpu::simple_gla {
std::size_t recurrent_workspace(const DeviceInputs&, const DeviceOutputs&) { return 0; }
void recurrent(const DeviceInputs&, const Options&, const DeviceOutputs&, const Launch&) {
  throw std::logic_error("gpu.recurrent is not written yet");
}
std::size_t step_workspace(const DeviceInputs&, const DevicePool&) { return 0; }
void step(const DeviceInputs&, const DevicePool&, const DeviceView<const std::int32_t, Batch>&,
          const Options&, const DeviceView<Any, Batch, Time, ValueHead, Value>&, const Launch&) {
  throw std::logic_error("gpu.step is not written yet");
}
std::size_t recurrent_backward_workspace(const DeviceBackwardInputs&,
                                         const DeviceBackwardOutputs&) {
  return 0;
}
void recurrent_backward(const DeviceBackwardInputs&, const Options&, const DeviceBackwardOutputs&,
                        const Launch&) {
  throw std::logic_error("gpu.recurrent is not written yet");
}
}  // namespace groundstate::gpu::simple_gla
