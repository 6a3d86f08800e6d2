// What is incomplete or stale in a source tree: every check (checks.hpp) of every operator.
#pragma once

#include <chrono>
#include <span>
#include <string>
#include <vector>

#include "harness/doctor/finding.hpp"
#include "harness/doctor/source_tree.hpp"

namespace groundstate::harness {

// `verbs` are those of the program. Check by check, in the order of the operators within each.
// Throws ResourceError when this machine has no process or memory to read the goldens.
std::vector<Finding> examine(const SourceTree& tree, std::span<const std::string> verbs,
                             std::chrono::year_month_day today);

}  // namespace groundstate::harness
