// Runs a list of cases, one after the other or some side by side.
//
// Side by side, each of `jobs` processes takes the next case that nobody has, runs it in isolation
// (isolated_case.hpp) on its share of the threads, and hands the report to this process. Reports
// come in the order of the list, and but for times have the bits of those of cases that run one
// after the other: no bit depends on the number of threads.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "harness/run/isolated_case.hpp"

namespace groundstate::harness {

struct ListedCase {
  CaseEntry entry;
  std::vector<std::string> paths;  // RunOptions::paths of this case
};

struct ListRunning {
  bool isolated = true;  // as jobs > 1 needs
  int jobs = 1;
  CaseIsolation isolation = {};
};

// Calls begin(i) before case i, or where others run already before it is waited for, and take(i,
// report) with what came of it. Throws what run_case throws, once all cases before are taken, what
// `begin`, `take` and options.tick throw, and ResourceError where a process of a job is not to be
// had or ends early; no process is left then.
void run_case_list(const std::vector<ListedCase>& cases, const RunOptions& options,
                   const ListRunning& how, const std::function<void(std::size_t)>& begin,
                   const std::function<void(std::size_t, const CaseReport&)>& take);

}  // namespace groundstate::harness
