// Operator x path x recipe x device, with its holes, as the lines of a Markdown table; the rounding
// profiles of other libraries are listed in its last column, and what `evidence` says of a path on
// a device ("evidence H100") stands beside that.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "harness/operators/operator.hpp"

namespace groundstate::harness {

std::vector<std::string> support_header();  // two lines
using EvidenceMark = std::function<std::string(const Path&)>;
std::vector<std::string> support_rows(const Operator& op,
                                      const EvidenceMark& evidence = {});  // one a path

}  // namespace groundstate::harness
