// groundstate bench CASE... : how long paths take that are right, and how near that is to what the
// machine can do (harness/clock/).
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "harness/case/error.hpp"
#include "harness/case/text.hpp"
#include "harness/cli/arguments.hpp"
#include "harness/cli/interrupt.hpp"
#include "harness/cli/progress.hpp"
#include "harness/cli/standard_output.hpp"
#include "harness/cli/verbs.hpp"
#include "harness/clock/bench_case.hpp"
#include "harness/operators/registry.hpp"
#include "harness/report/json_lines.hpp"
#include "harness/report/speed.hpp"
#include "harness/run/outputs.hpp"

namespace groundstate::harness::cli {
namespace {

struct Options {
  std::vector<std::string> cases, paths;
  std::string output;
  Protocol protocol;
  bool warm = false, json = false, progress = false;
  double max_cost = 1e12, max_memory = 4;
};

// What rows were held against.
std::string ceilings_text(Ceilings& ceilings) {
  std::string text = fmt::format("{}: launching nothing takes {}", ceilings.clock().device(),
                                 short_seconds(ceilings.empty_seconds()));
  for (const auto& [units, flops_per_second] : ceilings.peaks())
    text += fmt::format(", {} {:.3g} GFLOP/s", units, 1e-9 * flops_per_second);
  for (const auto& [bytes, seconds] : ceilings.copies())
    text += fmt::format(", copy of {:.3g} MB {:.3g} GB/s", 1e-6 * bytes, 1e-9 * bytes / seconds);
  return text;
}

int bench(const Options& options) {
  const std::vector<CaseEntry> entries = expand_arguments(options.cases);
  RunOptions how;
  how.paths = options.paths;
  how.max_flops = options.max_cost;
  how.max_bytes = options.max_memory * 0x1p30;
  how.tick = check_interrupt;
  for (const CaseEntry& entry : entries)
    for (const std::string& path : options.paths) checked_variant(operator_of(entry.value), path);
  Protocol protocol = options.protocol;
  protocol.cold = !options.warm;

  std::unique_ptr<JsonLines> lines, out;
  if (!options.output.empty()) lines = std::make_unique<JsonLines>(options.output);
  if (options.json) out = std::make_unique<JsonLines>("-");
  const std::unique_ptr<Clock> cpu_clock = make_cpu_clock(), device_clock = make_device_clock();
  Ceilings cpu(*cpu_clock, protocol, check_interrupt);
  std::optional<Ceilings> device;
  if (device_clock) device.emplace(*device_clock, protocol, check_interrupt);

  Index timed = 0, failures = 0;
  Progress progress(static_cast<Index>(entries.size()), options.progress);
  for (const CaseEntry& entry : entries) {
    check_interrupt();
    const std::string text = entry.value.canonical();
    progress.start(text);
    const Index failures_before = failures;
    bool first = true;
    bench_case(operator_of(entry.value), entry, how, {cpu, device ? &*device : nullptr},
               [&](const BenchRow& row) {
                 timed += row.timing.has_value();
                 failures += is_failure(row.status);
                 if (lines) lines->write(to_record(row));
                 if (out) out->write(to_record(row));
                 if (options.json) return;
                 progress.clear();
                 if (std::exchange(first, false)) fmt::print("{}\n", text);
                 fmt::print("{}", render(row));
                 flush_standard_output();
                 progress.start(text);
               });
    progress.finish(failures > failures_before);
  }
  progress.clear();
  if (!options.json) {
    for (Ceilings* const used : {&cpu, device ? &*device : nullptr})
      if (used != nullptr && used->used()) fmt::print("{}\n", ceilings_text(*used));
    fmt::print("{} timed, {} failed\n", timed, failures);
  }
  return failures > 0 ? failed : timed == 0 ? nothing_judged : passed;
}

std::string repetitions_option(const std::string& text) {
  const auto number = integer_of(text).value_or(0);
  const bool good = number >= Protocol::fewest_repetitions && number <= 1'000'000;
  return good ? ""
              : fmt::format("{} (accepted: a number from {} to 1000000)", text,
                            Protocol::fewest_repetitions);
}

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* const verb = app.add_subcommand(
      "bench", "Time paths that are right, beside what the machine can do in the same run");
  verb->add_option("case", options->cases, "Case lines ('simple_gla T=1024') and @files.cases")
      ->required();
  verb->add_option("--path", options->paths,
                   "Variants to time, e.g. 'chunked[chunk=128]:single'; default: all paths")
      ->take_all();
  verb->add_option("-o,--output", options->output, "Record every timing in this JSON Lines file")
      ->check(file_name);
  verb->add_option("--repetitions", options->protocol.repetitions,
                   "Times that each path is timed; default 30")
      ->check(repetitions_option);
  verb->add_option("--budget", options->protocol.budget,
                   "Seconds of one path after which there are no more repetitions; default 10")
      ->check(positive_number);
  verb->add_flag("--warm", options->warm,
                 "Leave tensors in the caches; such a time has no percentage");
  verb->add_option("--max-cost", options->max_cost,
                   "Flop of one path above which it is UNSUPPORTED")
      ->check(positive_number);
  verb->add_option("--max-memory", options->max_memory,
                   "GiB of tensors above which a case is UNSUPPORTED")
      ->check(positive_number);
  verb->add_flag("--json", options->json, "JSON Lines on standard output");
  verb->add_flag("--progress", options->progress,
                 "Progress on standard error even when it is no terminal");
  verb->callback([options, &action] { action = [options] { return bench(*options); }; });
}

}  // namespace groundstate::harness::cli
