// What `run` and `record` are told of how to run cases.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "harness/cli/verbs.hpp"
#include "harness/run/case_list.hpp"

namespace groundstate::harness::cli {

struct CaseRunning {
  std::vector<std::string> cases, paths;
  std::string pairs = "auto";
  double max_cost = 1e12, max_memory = 4;
  int jobs = 1;
  std::optional<double> time_out;
  bool progress = false, details = false, no_isolation = false, no_contracts = false;

  void declare(CLI::App& verb);

  // Throws UsageError for a path that an entry's operator has not.
  RunOptions options(const std::vector<CaseEntry>& entries) const;
  // `isolated`: whether cases run in processes of their own. Throws UsageError where an option
  // needs it and it is not so.
  ListRunning list_running(bool isolated) const;
};

}  // namespace groundstate::harness::cli
