#include "gpu/core/check.hpp"
#include "gpu/core/device.hpp"

namespace groundstate::gpu {

std::optional<std::string> device_name() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    static_cast<void>(cudaGetLastError());  // a machine without a device is not an error
    return std::nullopt;
  }
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, 0));
  return properties.name;
}

}  // namespace groundstate::gpu
