// groundstate record CASE... -o F.h5 : run, and keep what it takes to judge that again elsewhere.
#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "harness/case/error.hpp"
#include "harness/case/text.hpp"
#include "harness/cli/arguments.hpp"
#include "harness/cli/progress.hpp"
#include "harness/cli/run_options.hpp"
#include "harness/cli/standard_output.hpp"
#include "harness/cli/verbs.hpp"
#include "harness/evidence/evidence.hpp"
#include "harness/operators/registry.hpp"
#include "harness/report/table.hpp"
#include "harness/run/outputs.hpp"

namespace groundstate::harness::cli {
namespace {

struct Options {
  CaseRunning running;
  std::string output;
  Index elements = kept_elements;
  bool no_pictures = false;
};

// The variants that are run by default and need a device.
std::vector<std::string> device_variants(const Operator& op, const Case& c) {
  std::vector<std::string> result;
  for (const std::string& text : op.default_variants(c))
    if (op.path(checked_variant(op, text).path)->needs_device) result.push_back(text);
  return result;
}

std::vector<ListedCase> requested(const Options& options) {
  std::vector<ListedCase> result;
  for (CaseEntry& entry : expand_arguments(options.running.cases)) {
    std::vector<std::string> paths = options.running.paths;
    if (paths.empty()) paths = device_variants(operator_of(entry.value), entry.value);
    if (!paths.empty()) result.push_back({std::move(entry), std::move(paths)});
  }
  if (result.empty())
    throw UsageError(
        "no case is run by default on a device, which is what evidence is of; others are recorded "
        "with --path");
  return result;
}

// The sources of every path that has a result.
void add_sources(const Operator& op, const CaseReport& report, Origin& origin) {
  for (const Result& result : report.results) {
    const Path& path = *op.path(checked_variant(op, result.path).path);
    const std::string key = source_key(report.operator_name, path.name);
    if (!origin.sources.contains(key)) origin.sources[key] = source_of(report.operator_name, path);
  }
}

int record(const Options& options) {
  const std::vector<ListedCase> wanted = requested(options);
  std::vector<CaseEntry> entries;
  for (const ListedCase& each : wanted) entries.push_back(each.entry);
  RunOptions how = options.running.options(entries);
  how.recorded_elements = options.elements;
  const ListRunning running = options.running.list_running(!options.running.no_isolation);
  EvidenceWriter writer(options.output, options.elements, !options.no_pictures);
  Origin origin = origin_here();

  const TableStyle style{colour_wanted(), wanted.size() > 3 && !options.running.details};
  Progress progress(static_cast<Index>(wanted.size()), options.running.progress);
  Tally tally;
  const auto begin = [&](std::size_t i) { progress.start(entries[i].value.canonical()); };
  const auto take = [&](std::size_t i, const CaseReport& report) {
    tally.add(report);
    add_sources(operator_of(entries[i].value), report, origin);
    writer.add(report);
    progress.finish(report.failed());
    progress.clear();
    fmt::print("{}", render(report, style));
    flush_standard_output();
  };
  run_case_list(wanted, how, running, begin, take);
  fmt::print("{}", render(tally, style));
  if (writer.results() == 0) {
    fmt::print("{}: not written, as there is no result\n", options.output);
    flush_standard_output();
    if (tally.unavailable > 0)
      throw ResourceError("every path to be recorded needs a device, and there is none");
    return nothing_judged;
  }
  writer.commit(origin);
  fmt::print("{}: {} results, {} kB\n", options.output, writer.results(),
             (std::filesystem::file_size(options.output) + 999) / 1000);
  return tally.any_failure() ? failed : passed;
}

std::string elements_option(const std::string& text) {
  const bool good = integer_of(text).value_or(0) >= 1;
  return good ? "" : fmt::format("{} (accepted: a number from 1 on)", text);
}

}  // namespace

void add_record(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* const verb = app.add_subcommand(
      "record", "Run paths as `run` does and record evidence that can be judged anywhere");
  options->running.declare(*verb);
  verb->add_option("--path", options->running.paths,
                   "Variants to record; default: those that need a device")
      ->take_all();
  verb->add_option("-o,--output", options->output, "HDF5 file to write")
      ->required()
      ->check(file_name);
  verb->add_option("--elements", options->elements,
                   "Elements to keep of each output of a (sequence, head) pair, at most")
      ->check(elements_option);
  verb->add_flag("--no-pictures", options->no_pictures,
                 "Leave out the pictures of errors that reports show, half of a long list's file");
  verb->callback([options, &action] { action = [options] { return record(*options); }; });
}

}  // namespace groundstate::harness::cli
