// Case arguments shared by the verbs: quoted case lines (with sweeps) and @files.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "harness/case/case_file.hpp"
#include "reference/core/axis.hpp"

namespace groundstate::harness::cli {

// All cases of all arguments, checked before any of them is run. Throws UsageError.
std::vector<CaseEntry> expand_arguments(const std::vector<std::string>& arguments);

// Exactly one case.
CaseEntry single_case(const std::vector<std::string>& arguments);

// The value of --pairs: all, auto (nothing), or a number from 1 on. The first is a check for CLI11.
std::string pairs_option(const std::string& text);
std::optional<Index> pairs_of(const std::string& text);

}  // namespace groundstate::harness::cli
