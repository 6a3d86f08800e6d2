// groundstate compare FILE.h5: judges somebody's outputs.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "harness/case/error.hpp"
#include "harness/cli/arguments.hpp"
#include "harness/cli/interrupt.hpp"
#include "harness/cli/progress.hpp"
#include "harness/cli/standard_output.hpp"
#include "harness/cli/verbs.hpp"
#include "harness/fixture/read.hpp"
#include "harness/report/json_lines.hpp"
#include "harness/report/table.hpp"
#include "harness/run/compare_case.hpp"

namespace groundstate::harness::cli {
namespace {

struct Options {
  CompareOptions compare;
  std::string case_text, recipe, form, against, output, pairs = "auto";
  bool json = false, progress = false;
};

int compare(Options options) {
  CompareOptions& how = options.compare;
  const auto optional = [](const std::string& text) {
    return text.empty() ? std::nullopt : std::optional(text);
  };
  how.case_text = optional(options.case_text);
  how.recipe = optional(options.recipe);
  how.form = optional(options.form);
  how.pairs = pairs_of(options.pairs);
  how.tick = check_interrupt;
  std::vector<std::string> warnings;
  how.warn = [&](const std::string& text) { warnings.push_back(text); };
  if (how.bitwise && options.against.empty())
    throw UsageError("--bitwise needs --against FILE.h5 or a path");

  if (how.checks && how.certificate)
    throw UsageError("--checks does without the oracle that --certificate is about");
  if (how.checks && how.sample_only)
    throw UsageError("--checks does without the sample that --sample-only is about");

  const std::vector<FixtureCase> cases = read_fixture(how.file);
  std::vector<FixtureCase> others;
  if (options.against.ends_with(".h5") || options.against.ends_with(".hdf5")) {
    how.against_file = options.against;
    others = read_fixture(options.against);
  } else if (!options.against.empty()) {
    how.against_path = options.against;
  }
  // All of them before the first one is judged, and before anything is written: an error is the
  // only message.
  std::vector<CheckedFixture> checked;
  for (const FixtureCase& fixture : cases) {
    check_interrupt();
    const auto other = std::find_if(others.begin(), others.end(), [&](const FixtureCase& each) {
      return each.group == fixture.group;
    });
    if (!others.empty() && other == others.end())
      throw UsageError(
          fmt::format("{}: has no case {} to compare with", options.against, fixture.group));
    checked.push_back(check_fixture(fixture, how, others.empty() ? nullptr : &*other));
  }
  for (const std::string& text : warnings) fmt::print(stderr, "warning: {}\n", text);

  std::unique_ptr<JsonLines> lines;
  if (!options.output.empty()) lines = std::make_unique<JsonLines>(options.output);
  std::unique_ptr<JsonLines> out;
  if (options.json) out = std::make_unique<JsonLines>("-");
  const TableStyle style{colour_wanted(), false};
  Progress progress(static_cast<Index>(cases.size()), options.progress);
  Tally tally;
  for (const CheckedFixture& fixture : checked) {
    check_interrupt();
    progress.start(fixture.value.canonical());
    const Comparison comparison = compare_case(fixture, how);
    tally.add(comparison.report);
    progress.finish(comparison.report.failed());
    progress.clear();
    for (nlohmann::json& record : to_records(comparison.report)) {
      if (lines) lines->write(record);
      if (out) out->write(record);
    }
    if (options.json) continue;
    fmt::print("{}  [{}]\n", comparison.report.case_text, comparison.report.id);
    for (const Result& result : comparison.report.results)
      fmt::print("{}", render_clauses(result, style));
    if (comparison.report.mistrusted)
      fmt::print(
          "  MISTRUSTED: less than 10 % of every output is non-zero, so the case proves nothing\n");
    if (comparison.report.sampled < comparison.report.pairs)
      fmt::print(
          "  {} of {} (sequence, head) pairs judged with sensitivities, the others against the "
          "oracle and the emulation\n",
          comparison.report.sampled, comparison.report.pairs);
    for (const std::string& remark : comparison.remarks) fmt::print("  {}\n", remark);
    for (const std::string& missing : comparison.missing) fmt::print("  not given: {}\n", missing);
    for (const Agreement& own : comparison.agreements)
      fmt::print(
          "  {} {} against {}: ||a - b|| / ||b|| = {:.3g}, max |a - b| = {:.3g}, {} of {} elements "
          "differ{}\n",
          own.path, own.tensor, options.against, own.relative_norm, own.largest, own.different,
          own.elements, own.first_difference ? "; first: " + *own.first_difference : "");
    flush_standard_output();
  }
  if (!options.json) fmt::print("{}", render(tally, style));
  return tally.any_failure() ? failed : tally.judged() == 0 ? nothing_judged : passed;
}

}  // namespace

void add_compare(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* const verb =
      app.add_subcommand("compare", "Judge the outputs in an HDF5 file against the oracle");
  verb->add_option("file", options->compare.file,
                   "HDF5 file with outputs/ and, unless they are to be generated, inputs/")
      ->required()
      ->check(file_name);
  verb->add_option("--case", options->case_text,
                   "Case of a file without the attribute, e.g. 'simple_gla'");
  verb->add_option("--recipe", options->recipe,
                   "Precision recipe of the kernel: exact, single, tf32, tensorcore, ...");
  verb->add_option("--form", options->form,
                   "Form of the kernel: recurrent, 'chunked[chunk=64]', ...");
  verb->add_option("--only", options->compare.only, "Outputs to judge, e.g. o,ht")->delimiter(',');
  verb->add_option("--against", options->against,
                   "Another file, or a path of ours, to compare with as well");
  verb->add_flag("--bitwise", options->compare.bitwise,
                 "Fail unless --against agrees in every bit");
  verb->add_flag("--checks", options->compare.checks,
                 "Properties of the outputs at hand instead of the oracle");
  verb->add_flag("--certificate", options->compare.certificate,
                 "Bound the oracle's own error, and check its gradients");
  verb->add_flag("--strict", options->compare.strict, "An input outside its domain is an error");
  verb->add_option("--pairs", options->pairs,
                   "(sequence, head) pairs judged with sensitivities: all, auto, or a number")
      ->check(pairs_option);
  verb->add_flag("--sample-only", options->compare.sample_only,
                 "Judge those pairs alone, and say which: for outputs that are too large");
  verb->add_option("-o,--output", options->output, "Record every result in this JSON Lines file")
      ->check(file_name);
  verb->add_flag("--json", options->json, "JSON Lines on standard output");
  verb->add_flag("--progress", options->progress,
                 "Progress on standard error even when it is no terminal");
  verb->callback([options, &action] { action = [options] { return compare(*options); }; });
}

}  // namespace groundstate::harness::cli
