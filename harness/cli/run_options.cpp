#include "harness/cli/run_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>

#include "harness/case/error.hpp"
#include "harness/cli/arguments.hpp"
#include "harness/cli/interrupt.hpp"
#include "harness/operators/registry.hpp"
#include "harness/run/outputs.hpp"

namespace groundstate::harness::cli {

void CaseRunning::declare(CLI::App& verb) {
  verb.add_option("case", cases, "Case lines ('simple_gla T=63,64') and @files.cases")->required();
  verb.add_option("--pairs", pairs,
                  "(sequence, head) pairs judged with sensitivities: all, auto, or a number")
      ->check(pairs_option);
  verb.add_option("--max-cost", max_cost, "Flop of one path above which it is UNSUPPORTED")
      ->check(positive_number);
  verb.add_option("--max-memory", max_memory, "GiB of tensors above which a case is UNSUPPORTED")
      ->check(positive_number);
  verb.add_option("--timeout", time_out,
                  "Seconds after which the path that a case is at has FAILED; default: none")
      ->check(time_out_option);
  verb.add_option(
          "--jobs", jobs,
          "Cases that run side by side, in a process each; times are then of a busy machine")
      ->check(CLI::Range(1, 1024));
  verb.add_flag("--no-isolation", no_isolation,
                "Run in this process, for debuggers: a crash ends everything");
  verb.add_flag("--no-contracts", no_contracts, "Leave the bitwise contracts out");
  verb.add_flag("--details", details, "A table for each case, however many there are");
  verb.add_flag("--progress", progress, "Progress on standard error even when it is no terminal");
}

RunOptions CaseRunning::options(const std::vector<CaseEntry>& entries) const {
  RunOptions how;
  how.paths = paths;
  how.equalities = !no_contracts;
  how.max_flops = max_cost;
  how.max_bytes = max_memory * 0x1p30;
  how.tick = check_interrupt;
  how.pairs = pairs_of(pairs);
  for (const CaseEntry& entry : entries)
    for (const std::string& path : paths) checked_variant(operator_of(entry.value), path);
  return how;
}

ListRunning CaseRunning::list_running(bool isolated) const {
  const auto needs_isolation = [&](bool asked, const char* option) {
    if (asked && !isolated)
      throw UsageError(
          fmt::format("{} needs the isolation that --no-isolation and --save give up", option));
  };
  needs_isolation(time_out.has_value(), "--timeout");
  needs_isolation(jobs > 1, "--jobs");
  ListRunning running{isolated, jobs};
  if (time_out)
    running.isolation.time_out =
        std::chrono::milliseconds(std::max<std::int64_t>(std::llround(*time_out * 1e3), 1));
  running.isolation.hear = [](const std::string& said) { fmt::print(stderr, "{}", said); };
  return running;
}

}  // namespace groundstate::harness::cli
