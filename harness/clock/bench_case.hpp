// Times paths of one case. Nothing is timed that is not right:
//
//   before  outputs are judged by the oracle (harness/run/run_case.hpp), and each of the rotated
//           sets of tensors gives the bits that were judged
//   after   they are the same after the last repetition
//
// A path on a device is timed there (Operator::prepare), any other as the wall time of
// Operator::run; inputs are generated and outputs allocated before.
#pragma once

#include <functional>

#include "harness/clock/bench_row.hpp"
#include "harness/run/run_case.hpp"

namespace groundstate::harness {

// What cases are timed on.
struct Machine {
  Ceilings& cpu;
  Ceilings* device = nullptr;  // null: paths that need one are UNAVAILABLE
};

// `done` is called with each row as soon as it is there.
void bench_case(const Operator& op, const CaseEntry& entry, const RunOptions& options,
                const Machine& machine, const std::function<void(const BenchRow&)>& done);

}  // namespace groundstate::harness
