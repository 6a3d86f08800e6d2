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

int multiprocessors() {
  static const int count = [] {
    int device, found;
    check(cudaGetDevice(&device));
    check(cudaDeviceGetAttribute(&found, cudaDevAttrMultiProcessorCount, device));
    return found;
  }();
  return count;
}

DeviceFacts device_facts() {
  const auto attribute = [](cudaDeviceAttr which) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, which, 0));
    return value;
  };
  return {attribute(cudaDevAttrMultiProcessorCount), 1e3 * attribute(cudaDevAttrClockRate),
          static_cast<double>(attribute(cudaDevAttrL2CacheSize))};
}

}  // namespace groundstate::gpu
