// Operator x path x recipe x device, with its holes, as the lines of a Markdown table; the rounding
// profiles of other libraries are listed in its last column.
#pragma once

#include <string>
#include <vector>

#include "harness/operators/operator.hpp"

namespace groundstate::harness {

std::vector<std::string> support_header();                  // two lines
std::vector<std::string> support_rows(const Operator& op);  // one a path

}  // namespace groundstate::harness
