// The date, UTC: "2026-11-22".
#pragma once

#include <string>

namespace groundstate::harness {

std::string today();

}  // namespace groundstate::harness
