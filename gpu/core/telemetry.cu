#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <array>
#include <memory>

#include "gpu/core/telemetry.hpp"

namespace groundstate::gpu {
namespace {

// Of nvml.h, which the toolkit may lack; NVML keeps names and numbers of what it once had.
using NvmlDevice = void*;
constexpr int success = 0, sm_clock_type = 1, gpu_sensor = 0;

class Library {
 public:
  Library() : handle_(dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL)) {}
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library() {
    if (handle_ != nullptr) dlclose(handle_);
  }

  // Whether there is such a function and it succeeds.
  template <class... Arguments>
  bool call(const char* name, Arguments... arguments) const {
    void* const found = handle_ != nullptr ? dlsym(handle_, name) : nullptr;
    return found != nullptr &&
           reinterpret_cast<int (*)(Arguments...)>(found)(arguments...) == success;
  }

 private:
  void* handle_;
};

}  // namespace

Telemetry telemetry() {
  Telemetry result;
  const Library nvml;
  if (!nvml.call("nvmlInit_v2")) return result;
  std::array<char, 96> driver{};
  if (nvml.call("nvmlSystemGetDriverVersion", driver.data(), static_cast<unsigned>(driver.size())))
    result.driver = driver.data();
  // The numbers of the two libraries need not agree, the address on the bus does.
  std::array<char, 32> address{};
  NvmlDevice device = nullptr;
  if (cudaDeviceGetPCIBusId(address.data(), static_cast<int>(address.size()), 0) == cudaSuccess &&
      nvml.call("nvmlDeviceGetHandleByPciBusId_v2", static_cast<const char*>(address.data()),
                &device)) {
    unsigned value = 0;
    if (nvml.call("nvmlDeviceGetClockInfo", device, sm_clock_type, &value))
      result.sm_clock = 1e6 * value;
    if (nvml.call("nvmlDeviceGetTemperature", device, gpu_sensor, &value))
      result.temperature = value;
  }
  static_cast<void>(nvml.call("nvmlShutdown"));
  return result;
}

}  // namespace groundstate::gpu
