#include "harness/run/today.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>

namespace groundstate::harness {

std::string today() { return fmt::format("{:%F}", fmt::gmtime(std::time(nullptr))); }

}  // namespace groundstate::harness
