// The report of a case as bytes, from a child process to its parent: the same program on the same
// machine. Every field comes back in every bit, NaN included.
#pragma once

#include <string>
#include <string_view>

#include "harness/run/result.hpp"

namespace groundstate::harness {

std::string report_message(CaseReport report);

// Throws std::runtime_error for bytes that are no report.
CaseReport read_report(std::string_view message);

}  // namespace groundstate::harness
