// groundstate versus CASE --path A --path B [-o F.jsonl], or with files of outputs: two
// implementations of one problem, and the tolerance that an honest pair of their recipes needs.
#include "harness/report/versus.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "harness/case/error.hpp"
#include "harness/cli/arguments.hpp"
#include "harness/cli/interrupt.hpp"
#include "harness/cli/progress.hpp"
#include "harness/cli/standard_output.hpp"
#include "harness/cli/verbs.hpp"
#include "harness/fixture/read.hpp"
#include "harness/operators/registry.hpp"
#include "harness/report/json_lines.hpp"
#include "harness/run/device.hpp"
#include "harness/run/equality.hpp"
#include "harness/run/outputs.hpp"
#include "harness/run/run_case.hpp"

namespace groundstate::harness::cli {
namespace {

struct Options {
  std::vector<std::string> arguments, paths, recipes, forms;
  std::string case_text, output, pairs = "auto";
  double max_cost = 1e12;
  bool json = false, progress = false;
};

bool is_file(const std::string& argument) {
  return !argument.starts_with('@') && (argument.ends_with(".h5") || argument.ends_with(".hdf5"));
}

// What is to be compared on one case.
struct Task {
  const Operator* op;
  Case value;
  std::vector<CheckedFixture> given;  // the same case of each file
  std::vector<std::string> files;     // of each of them
  std::vector<PathVariant> variants;
  std::string reproducer;
};

[[noreturn]] void refuse_count(std::size_t count, std::string_view where) {
  throw UsageError(fmt::format(
      "versus takes two implementations, not {}{} (accepted: two paths by --path, two files of "
      "outputs, or a file and a path)",
      count, where));
}

std::vector<Task> tasks_of_cases(const Options& options) {
  if (!options.recipes.empty() || !options.forms.empty() || !options.case_text.empty())
    throw UsageError("--recipe, --form and --case are of files; a path has its recipe in its name");
  if (options.paths.size() != 2) refuse_count(options.paths.size(), "");
  std::vector<Task> tasks;
  for (const CaseEntry& entry : expand_arguments(options.arguments)) {
    const Operator& op = operator_of(entry.value);
    Task task{&op, entry.value, {}, {}, {}, {}};
    for (const std::string& path : options.paths)
      task.variants.push_back(checked_variant(op, path));
    task.reproducer = fmt::format("groundstate versus '{}' --path '{}' --path '{}'",
                                  entry.value.canonical(), options.paths[0], options.paths[1]);
    tasks.push_back(std::move(task));
  }
  return tasks;
}

// The inputs of a file as tensors; generated where it has none.
Tensors inputs_of(const CheckedFixture& given) {
  return given.generated ? harness::generate(given.op->inputs(given.value)) : given.inputs;
}

void check_same_problem(const Task& task) {
  if (task.given.size() < 2) return;
  const CheckedFixture &left = task.given[0], &right = task.given[1];
  if (!(left.value == right.value))
    throw UsageError(fmt::format("{} is of the case '{}', {} of '{}'", task.files[0],
                                 left.value.canonical(), task.files[1], right.value.canonical()));
  const Tensors own = inputs_of(left), others = inputs_of(right);
  for (const Tensor& tensor : own)
    if (const auto difference = first_difference(tensor, *find(others, tensor.name())))
      throw UsageError(fmt::format("the inputs of {} and {} differ: {}", task.files[0],
                                   task.files[1], *difference));
}

// For each file, in their order: the one for all, or its own.
std::optional<std::string> of_file(const std::vector<std::string>& values, std::size_t file,
                                   std::size_t files, std::string_view option) {
  if (values.empty()) return std::nullopt;
  if (values.size() != 1 && values.size() != files)
    throw UsageError(
        fmt::format("{}: {} values for {} files (accepted: one for all, or one a file)", option,
                    values.size(), files));
  return values.size() == 1 ? values.front() : values[file];
}

std::vector<Task> tasks_of_files(const Options& options) {
  const std::vector<std::string>& files = options.arguments;
  if (const auto line = std::find_if_not(files.begin(), files.end(), is_file); line != files.end())
    throw UsageError(fmt::format(
        "'{}' beside a file: a file says itself what its case is, or --case does", *line));
  if (files.size() > 2) refuse_count(files.size(), "");
  std::vector<Task> tasks;
  std::map<std::string, std::size_t> places;
  for (std::size_t f = 0; f < files.size(); ++f) {
    CompareOptions how;
    how.file = files[f];
    if (!options.case_text.empty()) how.case_text = options.case_text;
    how.recipe = of_file(options.recipes, f, files.size(), "--recipe");
    how.form = of_file(options.forms, f, files.size(), "--form");
    how.warn = [](const std::string& text) { fmt::print(stderr, "warning: {}\n", text); };
    const std::vector<FixtureCase> cases = read_fixture(files[f]);
    if (f > 0 && cases.size() != tasks.size())
      throw UsageError(fmt::format("{} has {} cases, {} has {}", files[0], tasks.size(), files[f],
                                   cases.size()));
    for (const FixtureCase& fixture : cases) {
      check_interrupt();
      const auto [place, is_new] = places.try_emplace(fixture.group, tasks.size());
      if (is_new && f > 0)
        throw UsageError(fmt::format("{}: has no case {}", files[0], fixture.group));
      CheckedFixture given = check_fixture(fixture, how);
      if (is_new) tasks.push_back({given.op, given.value, {}, {}, {}, {}});
      Task& task = tasks[place->second];
      task.given.push_back(std::move(given));
      task.files.push_back(files[f]);
    }
  }
  for (Task& task : tasks) {
    std::size_t count = options.paths.size();
    for (const CheckedFixture& given : task.given) count += given.submissions.size();
    if (count != 2)
      refuse_count(count,
                   fmt::format(" in the outputs of {} and --path", fmt::join(task.files, " and ")));
    check_same_problem(task);
    task.reproducer = fmt::format("groundstate versus {}", fmt::join(files, " "));
    if (!options.case_text.empty())
      task.reproducer += fmt::format(" --case '{}'", options.case_text);
    for (const std::string& recipe : options.recipes) task.reproducer += " --recipe " + recipe;
    for (const std::string& form : options.forms)
      task.reproducer += fmt::format(" --form '{}'", form);
    for (const std::string& path : options.paths) {
      task.variants.push_back(checked_variant(*task.op, path));
      task.reproducer += fmt::format(" --path '{}'", path);
    }
  }
  return tasks;
}

// Outputs of files first, then paths.
std::array<std::string, 2> names_of(const Task& task) {
  std::vector<std::string> names;
  for (std::size_t f = 0; f < task.given.size(); ++f)
    for (const Submission& submission : task.given[f].submissions)
      names.push_back(task.given.size() > 1 ? task.files[f] + " " + submission.path
                                            : submission.path);
  for (const PathVariant& v : task.variants) names.push_back(v.text(task.op->path_keys()));
  return {names[0], names[1]};
}

// Why a path cannot be run on the case, and whether a device is what it needs.
VersusReport not_run(const Task& task, Status status, std::string note) {
  VersusReport report;
  report.names = names_of(task);
  report.case_text = task.value.canonical();
  report.id = task.value.id();
  report.operator_name = task.value.operator_name();
  report.status = status;
  report.note = std::move(note);
  report.reproducer = task.reproducer;
  return report;
}

VersusReport compared(const Task& task, const Options& options) {
  for (const PathVariant& v : task.variants) {
    const std::string name = v.text(task.op->path_keys());
    if (const auto reason = task.op->unsupported(task.value, v))
      return not_run(task, Status::unsupported, fmt::format("{}: {}", name, *reason));
    if (const double flops = task.op->path_flops(task.value, v); flops > options.max_cost)
      return not_run(task, Status::unsupported,
                     fmt::format("{}: {:.2g} flop are above --max-cost {:.2g}", name, flops,
                                 options.max_cost));
    if (task.op->path(v.path)->needs_device && device().name.empty())
      return not_run(task, Status::unavailable, fmt::format("{}: {}", name, device().missing));
  }
  const Tensors inputs = task.given.empty() ? harness::generate(task.op->inputs(task.value))
                                            : inputs_of(task.given.front());
  std::vector<Implementation> sides;
  for (std::size_t f = 0; f < task.given.size(); ++f)
    for (const Submission& submission : task.given[f].submissions)
      sides.push_back(submitted_implementation(task.given[f], submission, inputs));
  for (const PathVariant& v : task.variants) {
    check_interrupt();
    sides.push_back(run_implementation(*task.op, task.value, v, inputs));
  }
  VersusReport report =
      versus_case(*task.op, task.value, inputs, {std::move(sides[0]), std::move(sides[1])},
                  pairs_of(options.pairs), check_interrupt);
  report.names = names_of(task);
  report.reproducer = task.reproducer;
  return report;
}

int versus(const Options& options) {
  const bool files = std::any_of(options.arguments.begin(), options.arguments.end(), is_file);
  const std::vector<Task> tasks = files ? tasks_of_files(options) : tasks_of_cases(options);
  std::unique_ptr<JsonLines> out, file;
  if (options.json) out = std::make_unique<JsonLines>("-");
  if (!options.output.empty()) file = std::make_unique<JsonLines>(options.output);
  const TableStyle style{colour_wanted(), false};
  Progress progress(static_cast<Index>(tasks.size()), options.progress);
  Tally tally;
  for (const Task& task : tasks) {
    check_interrupt();
    progress.start(task.value.canonical());
    const VersusReport report = compared(task, options);
    tally.add(report.status);
    ++tally.cases;
    progress.finish(report.status == Status::failed);
    progress.clear();
    if (file) file->write(to_record(report));
    if (out)
      out->write(to_record(report));
    else
      fmt::print("{}", render(report, style));
    flush_standard_output();
  }
  if (!options.json && tasks.size() > 1) fmt::print("{}", render(tally, style));
  flush_standard_output();
  if (tally.unavailable > 0)
    throw ResourceError(fmt::format("a path of --path needs a device: {}", device().missing));
  return tally.any_failure() ? failed : tally.judged() == 0 ? nothing_judged : passed;
}

}  // namespace

void add_versus(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* const verb = app.add_subcommand(
      "versus", "Compare two implementations of one problem and recommend a tolerance");
  verb->add_option("what", options->arguments,
                   "Case lines and @files.cases, or one or two HDF5 files with outputs")
      ->required();
  verb->add_option(
          "--path", options->paths,
          "Variant to compare, e.g. 'chunked:tensorcore-bf16'; given twice, or once beside "
          "a file")
      ->take_all();
  verb->add_option("--case", options->case_text, "Case of files without the attribute");
  verb->add_option("--recipe", options->recipes,
                   "Precision recipe of the outputs of files: one for all, or one a file")
      ->take_all();
  verb->add_option("--form", options->forms,
                   "Form of the kernels of files: one for all, or one a file")
      ->take_all();
  verb->add_option("-o,--output", options->output,
                   "Record every comparison in this JSON Lines file")
      ->check(file_name);
  verb->add_option("--pairs", options->pairs,
                   "(sequence, head) pairs with sensitivities: all, auto, or a number")
      ->check(pairs_option);
  verb->add_option("--max-cost", options->max_cost,
                   "Flop of one path above which it is UNSUPPORTED")
      ->check(positive_number);
  verb->add_flag("--json", options->json, "JSON Lines on standard output");
  verb->add_flag("--progress", options->progress,
                 "Progress on standard error even when it is no terminal");
  verb->callback([options, &action] { action = [options] { return versus(*options); }; });
}

}  // namespace groundstate::harness::cli
