// groundstate run CASE... : paths against the oracle, and every bitwise contract.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "harness/case/error.hpp"
#include "harness/cli/arguments.hpp"
#include "harness/cli/progress.hpp"
#include "harness/cli/run_options.hpp"
#include "harness/cli/standard_output.hpp"
#include "harness/cli/verbs.hpp"
#include "harness/fixture/write.hpp"
#include "harness/operators/registry.hpp"
#include "harness/report/determinism.hpp"
#include "harness/report/json_lines.hpp"
#include "harness/report/recorded_run.hpp"
#include "harness/report/table.hpp"
#include "harness/run/device.hpp"
#include "harness/run/isolated_case.hpp"
#include "harness/run/judge_stages.hpp"
#include "harness/run/outputs.hpp"
#include "harness/run/run_case.hpp"

namespace groundstate::harness::cli {
namespace {

struct Options {
  CaseRunning running;
  std::string output, save;
  bool json = false, resume = false, determinism = false, checks = false, certificate = false,
       stages = false;
};

// Writes inputs once a case and the outputs of every path, its stages where there are any.
class Saver {
 public:
  explicit Saver(const std::string& path) : writer_(path) {}
  void begin(const CaseEntry& entry, bool alone) {
    writer_.begin_case(alone ? "/" : "/" + entry.value.id(), entry.value.canonical(),
                       entry.value.operator_name());
    inputs_written_ = false;
    op_ = &operator_of(entry.value);
  }
  void save(const Result& result, const Tensors& inputs, const Tensors& outputs) {
    if (!inputs_written_)
      for (const Tensor& tensor : inputs) writer_.write("inputs", tensor);
    inputs_written_ = true;
    const std::string group = "outputs/" + result.path;
    for (const Tensor& tensor : outputs) writer_.write(group, tensor);
    writer_.attribute(group, "recipe", result.recipe);
    writer_.attribute(group, "form", result.form);
  }
  void save(const Result& result, const GivenStages& stages) {
    const std::string group = "stages/" + result.path;
    for (const Tensor& tensor : stages.tensors) writer_.write(group, tensor);
    writer_.attribute(group, "chunk", std::int64_t{stages.form.integer("chunk", op_->path_keys())});
  }
  void commit() { writer_.commit(); }

 private:
  FixtureWriter writer_;
  bool inputs_written_ = false;
  const Operator* op_ = nullptr;  // of the case
};

int run(const Options& options) {
  const std::vector<CaseEntry> entries = expand_arguments(options.running.cases);
  RunOptions how = options.running.options(entries);
  how.determinism = options.determinism;
  how.checks = options.checks;
  how.certificate = options.certificate;
  how.stages = options.stages;
  if (options.determinism) {
    if (options.running.no_contracts)
      throw UsageError(
          "--determinism sets contracts beside what is observed: not together with "
          "--no-contracts");
    how.program = std::filesystem::read_symlink("/proc/self/exe").string();
  }
  if (options.checks && options.certificate)
    throw UsageError("--checks does without the oracle that --certificate is about");
  if (options.checks && options.stages)
    throw UsageError("--checks does without the oracle that --stages compares with");
  // What is saved is in the memory of the process that computed it.
  const bool isolated = !options.running.no_isolation && options.save.empty();
  const ListRunning running = options.running.list_running(isolated);

  RecordedRun recorded{std::vector<std::optional<RecordedCase>>(entries.size()), 0};
  if (options.resume) {
    if (options.output.empty() || options.output == "-")
      throw UsageError("--resume needs -o FILE, the file to go on with");
    if (!options.save.empty())
      throw UsageError("--save needs all cases to be run: not together with --resume");
    std::vector<RequestedCase> requested;
    for (const CaseEntry& entry : entries)
      requested.push_back(
          {entry.value.id(), plan_case(operator_of(entry.value), entry, how).report.request});
    recorded = read_recorded_run(options.output, requested);
  }
  const auto finished = std::count_if(recorded.cases.begin(), recorded.cases.end(),
                                      [](const auto& each) { return each.has_value(); });

  // In this order: a file to save to is temporary until the end, a record replaces the older one.
  std::optional<Saver> saver;
  if (!options.save.empty()) saver.emplace(options.save);
  std::unique_ptr<JsonLines> lines;
  if (!options.output.empty()) lines = std::make_unique<JsonLines>(options.output, recorded.size);
  std::unique_ptr<JsonLines> out;
  if (options.json) out = std::make_unique<JsonLines>("-");
  if (saver) {
    how.save = [&](const Result& result, const Tensors& inputs, const Tensors& outputs) {
      saver->save(result, inputs, outputs);
    };
    how.save_stages = [&](const Result& result, const GivenStages& stages) {
      saver->save(result, stages);
    };
  }

  const TableStyle style{colour_wanted(), entries.size() > 3 && !options.running.details};
  Progress progress(static_cast<Index>(entries.size()) - finished, options.running.progress);
  Tally tally;
  std::vector<FilePart> parts;
  std::vector<ListedCase> todo;
  std::vector<std::size_t> places;  // of these in the list
  for (std::size_t i = 0; i < entries.size(); ++i)
    if (!recorded.cases[i]) {
      todo.push_back({entries[i], options.running.paths});
      places.push_back(i);
    }
  std::size_t next = 0;  // that is neither taken nor passed
  const auto pass_finished = [&](std::size_t end) {
    for (; next < end; ++next) {
      const RecordedCase& known = *recorded.cases[next];
      tally.add(known.tally);
      parts.push_back(known.lines);
      if (out)
        for (const std::string& line : lines_of(options.output, known.lines))
          out->write(nlohmann::json::parse(line));
    }
  };
  const auto begin = [&](std::size_t i) {
    const CaseEntry& entry = todo[i].entry;
    progress.start(entry.value.canonical());
    if (saver) saver->begin(entry, entries.size() == 1);
  };
  const auto take = [&](std::size_t i, const CaseReport& report) {
    pass_finished(places[i]);
    next = places[i] + 1;
    tally.add(report);
    progress.finish(report.failed());
    progress.clear();
    const long long first = lines ? lines->size() : 0;
    for (const nlohmann::json& record : to_records(report)) {
      if (lines) lines->write(record);
      if (out) out->write(record);
    }
    if (lines) parts.push_back({first, lines->size()});
    if (!options.json) {
      fmt::print("{}", render(report, style));
      if (options.determinism) {
        DeterminismProfile profile;
        for (const EqualityResult& each : report.equalities) profile.add(each);
        fmt::print("{}", render(profile, style));
      }
      flush_standard_output();
    }
  };
  run_case_list(todo, how, running, begin, take);
  pass_finished(entries.size());
  if (saver) saver->commit();
  // Only where the list of cases has changed in between.
  if (options.resume) put_in_order(options.output, parts);
  if (!options.json && options.resume)
    fmt::print("{} of {} cases were in {} already\n", finished, entries.size(), options.output);
  if (!options.json) fmt::print("{}", render(tally, style));
  flush_standard_output();
  if (!options.running.paths.empty() && tally.unavailable > 0)
    throw ResourceError(fmt::format("a path of --path needs a device: {}", device().missing));
  return tally.any_failure() ? failed : tally.judged() == 0 ? nothing_judged : passed;
}

}  // namespace

void add_run(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* const verb = app.add_subcommand(
      "run", "Run paths of cases against the oracle and check bitwise contracts");
  options->running.declare(*verb);
  verb->add_option("--path", options->running.paths,
                   "Variants to run, e.g. 'chunked[chunk=128]:single'; default: all paths")
      ->take_all();
  verb->add_option("-o,--output", options->output, "Record every result in this JSON Lines file")
      ->check(file_name);
  verb->add_option("--save", options->save,
                   "Write inputs, outputs and stages (--stages) to this HDF5 file; without "
                   "isolation")
      ->check(file_name);
  verb->add_flag("--resume", options->resume,
                 "Go on with the file of -o: cases that are finished there are not run again");
  verb->add_flag("--determinism", options->determinism,
                 "Observe the bits that no contract promises as well, and set both side by side");
  verb->add_flag("--checks", options->checks,
                 "Properties instead of the oracle, for shapes where that is too slow");
  verb->add_flag("--certificate", options->certificate,
                 "Bound the oracle's own error, and check its gradients");
  verb->add_flag(
      "--stages", options->stages,
      "Judge the intermediates of chunked paths as well, and name the first that diverges");
  verb->add_flag("--json", options->json, "JSON Lines on standard output");
  verb->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace groundstate::harness::cli
