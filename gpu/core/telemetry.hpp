// What the driver says of device 0 at this moment, through its management library (NVML).
//
// libnvidia-ml.so.1 comes with the driver, so it is looked for when it is wanted; what it does not
// say is absent. Nothing throws.
#pragma once

#include <optional>
#include <string>

namespace groundstate::gpu {

struct Telemetry {
  std::optional<double> sm_clock;     // Hz
  std::optional<double> temperature;  // degrees Celsius
  std::string driver;                 // version; empty where it is not known
};

Telemetry telemetry();

}  // namespace groundstate::gpu
