#include "harness/operators/device_run.hpp"

#include "gpu/core/device.hpp"

namespace groundstate::harness {
namespace {

constexpr unsigned char not_a_number = 0xff;
unsigned char fresh = not_a_number;

}  // namespace

std::string run_once(DeviceRun& run, Tensors& outputs) {
  run.launch({});
  run.read(outputs);
  return run.note();
}

Device find_device() {
  if constexpr (built_with_cuda) {
    if (const auto name = gpu::device_name()) return {*name, {}};
    return {{}, "no CUDA device here"};
  } else {
    return {{}, "built without CUDA"};
  }
}

PoisonedDevice::PoisonedDevice(unsigned char byte) { fresh = byte; }
PoisonedDevice::~PoisonedDevice() { fresh = not_a_number; }
unsigned char fresh_device_byte() { return fresh; }

}  // namespace groundstate::harness
