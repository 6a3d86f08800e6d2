// Whether there is a device to run on, and which one it is. All of it is about device 0.
#pragma once

#include <optional>
#include <string>

namespace groundstate::gpu {

// None where there is no device, no driver, or an older driver than the toolkit's.
std::optional<std::string> device_name();

// Of the current device. Throws std::runtime_error where there is none.
int multiprocessors();

struct DeviceFacts {
  int multiprocessors = 0;
  double highest_clock = 0;  // Hz, of the multiprocessors
  double l2_bytes = 0;
};
// Throws std::runtime_error where there is no device.
DeviceFacts device_facts();

}  // namespace groundstate::gpu
