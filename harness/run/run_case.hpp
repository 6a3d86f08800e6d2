// Runs paths of one case against the oracle and checks its bitwise contracts.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "harness/case/case_file.hpp"
#include "harness/operators/operator.hpp"
#include "harness/run/result.hpp"

namespace groundstate::harness {

struct RunOptions {
  std::vector<std::string> paths;  // variants as text; empty: the operator's default ones
  std::optional<Index> pairs;      // judged with sensitivities; absent: by cost (sample.hpp)
  bool equalities = true;
  double max_flops = 1e12;                    // of one path; above it the path is UNSUPPORTED
  double max_bytes = 4.0 * (Index{1} << 30);  // of the inputs and the outputs of all paths
  // Called between steps; may throw Interrupted.
  std::function<void()> tick;
  // Called with the outputs of each path that ran, before they are dropped.
  std::function<void(const Result&, const Tensors& inputs, const Tensors& outputs)> save;
};

// Everything that can be wrong with a case before it is run: contradicting keys, overflowing
// shapes, more memory than the machine has. Throws UsageError.
void check_case(const Operator& op, const Case& c);

CaseReport run_case(const Operator& op, const CaseEntry& entry, const RunOptions& options);

}  // namespace groundstate::harness
