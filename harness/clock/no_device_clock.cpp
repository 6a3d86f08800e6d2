// In place of device_clock.cpp where gpu/ is not compiled.
#include "harness/clock/clock.hpp"

namespace groundstate::harness {

std::unique_ptr<Clock> make_device_clock() { return nullptr; }

}  // namespace groundstate::harness
