// Runs a case in a child process, so that a path that crashes, hangs or takes all memory costs its
// own result and no other.
//
// The child says what it is about to do and sends the report when all is done. When it ends before
// that, the path it was at is FAILED with the reason ("crashed: SIGSEGV (segmentation fault) in
// path chunked while running"), and the others are run again without it. What is done for all paths
// together (generating inputs, judging) may break by the fault of one: each is then run alone. A
// time-out there fails all of them at once. The report of a case without trouble has the same bits
// as that of run_case.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "harness/run/run_case.hpp"

namespace groundstate::harness {

struct CaseIsolation {
  std::optional<std::chrono::milliseconds> time_out;  // of one child
  std::function<void(const std::string&)> hear;       // what a child printed, if anything
};

// Throws what run_case throws, but for a lack of memory: that fails the path that met it.
// options.tick is called while the parent waits; options.save is not called.
CaseReport run_case_isolated(const Operator& op, const CaseEntry& entry, const RunOptions& options,
                             const CaseIsolation& isolation);

}  // namespace groundstate::harness
