// Whether there is a device to run on.
#pragma once

#include <optional>
#include <string>

namespace groundstate::gpu {

// The name of device 0; none where there is no device, no driver, or an older driver than the
// toolkit's.
std::optional<std::string> device_name();

}  // namespace groundstate::gpu
