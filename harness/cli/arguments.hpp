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

// Checks for CLI11: empty, or what is wrong with an option's value and what is accepted.
std::string pairs_option(const std::string& text);     // all, auto, or a number from 1 on
std::string positive_number(const std::string& text);  // finite
std::string time_out_option(const std::string& text);  // seconds
std::string file_name(const std::string& text);

// The value of --pairs; auto is nothing.
std::optional<Index> pairs_of(const std::string& text);

}  // namespace groundstate::harness::cli
