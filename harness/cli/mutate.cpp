// groundstate mutate: known-wrong implementations through the checks of `run`. Exit code 1 where
// one survives, or where a right path fails beside them; of the cases that are there for all
// mutants, also where they do not show one.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "harness/case/error.hpp"
#include "harness/case/nearest.hpp"
#include "harness/case/text.hpp"
#include "harness/cli/arguments.hpp"
#include "harness/cli/interrupt.hpp"
#include "harness/cli/progress.hpp"
#include "harness/cli/standard_output.hpp"
#include "harness/cli/verbs.hpp"
#include "harness/mutants/score.hpp"
#include "harness/operators/registry.hpp"
#include "harness/report/json_lines.hpp"
#include "harness/run/isolated_case.hpp"

namespace groundstate::harness::cli {
namespace {

struct Options {
  std::vector<std::string> cases;  // none: those that are there for all mutants
  std::vector<std::string> operators, mutants;
  std::string output;
  bool json = false, list = false, progress = false;
};

std::vector<Mutant> chosen(const std::string& operator_name, const Options& options) {
  std::vector<Mutant> result;
  const bool wanted =
      options.operators.empty() ||
      std::ranges::find(options.operators, operator_name) != options.operators.end();
  for (const Mutant& mutant : mutants_of(operator_name))
    if (wanted && (options.mutants.empty() ||
                   std::ranges::find(options.mutants, mutant.name) != options.mutants.end()))
      result.push_back(mutant);
  return result;
}

// Throws UsageError for a name that nothing has.
std::vector<MutantScores> chosen(const Options& options) {
  std::vector<std::string> operator_names, mutant_names;
  for (const auto& op : operators()) {
    operator_names.push_back(op->grammar().operator_name);
    for (const Mutant& mutant : mutants_of(op->grammar().operator_name))
      mutant_names.push_back(mutant.name);
  }
  const auto check = [](const std::vector<std::string>& given,
                        const std::vector<std::string>& known, const char* what,
                        const std::string& accepted) {
    for (const std::string& name : given)
      if (std::ranges::find(known, name) == known.end())
        throw UsageError(fmt::format("there is no {} {}{} (accepted: {})", what, shown(name),
                                     did_you_mean(name, known), accepted));
  };
  check(options.operators, operator_names, "operator",
        fmt::format("{}", fmt::join(operator_names, " ")));
  check(options.mutants, mutant_names, "mutant", "those of mutate --list");
  std::vector<MutantScores> result;
  for (const auto& op : operators())
    if (const std::vector<Mutant> own = chosen(op->grammar().operator_name, options); !own.empty())
      result.emplace_back(*op, own);
  if (result.empty())
    throw UsageError("no operator of --operator, or of the cases, has a mutant of --mutant");
  return result;
}

int list(const std::vector<MutantScores>& all, bool json) {
  for (const MutantScores& scores : all)
    for (const MutantScore& score : scores.scores()) {
      const Mutant& mutant = score.mutant;
      if (json) {
        nlohmann::json record{{"operator", score.operator_name},
                              {"mutant", mutant.name},
                              {"declares", mutant.declares},
                              {"defect", mutant.defect},
                              {"contradicts", mutant.contradicts}};
        if (!mutant.needs.empty()) record["needs"] = mutant.needs;
        fmt::print("{}\n", record.dump());
        continue;
      }
      fmt::print("{:22} {:30} {:24} {}\n", score.operator_name, mutant.name, mutant.declares,
                 mutant.defect);
    }
  return passed;
}

std::string first_check(const Kill& kill) {
  return kill.tensor.empty() ? kill.check : fmt::format("{} of {}", kill.check, kill.tensor);
}

void print(const MutantScore& score) {
  fmt::print("{:8}  {:30} ", score.status(), score.mutant.name);
  if (score.unshown()) {
    fmt::print("{}: {}\n", score.mutant.defect, score.needs());
    return;
  }
  if (!score.first) {
    fmt::print("{}; run on {} cases as {}\n", score.mutant.defect, score.cases,
               score.mutant.declares);
    return;
  }
  std::vector<std::string> seen;
  for (const auto& [check, cases] : score.seen_by)
    seen.push_back(cases == 1 ? check : fmt::format("{} x{}", check, cases));
  fmt::print("by {} on '{}'; {} of {} cases: {}\n", first_check(*score.first),
             score.first->case_text, score.seen_on, score.cases, fmt::join(seen, ", "));
}

int mutate(Options options) {
  if (options.list) return list(chosen(options), options.json);
  const bool for_all = options.cases.empty();
  if (for_all) options.cases = {"@data/quick.cases", "@data/mutants.cases"};
  std::vector<CaseEntry> entries = expand_arguments(options.cases);
  if (options.operators.empty() && !for_all)
    for (const CaseEntry& entry : entries) options.operators.push_back(entry.value.operator_name());
  std::vector<MutantScores> all = chosen(options);
  const auto scores_of = [&](const CaseEntry& entry) {
    return std::ranges::find_if(all, [&](const MutantScores& scores) {
      return scores.mutated().grammar().operator_name == entry.value.operator_name();
    });
  };
  std::erase_if(entries, [&](const CaseEntry& entry) { return scores_of(entry) == all.end(); });
  std::unique_ptr<JsonLines> lines;
  if (!options.output.empty()) lines = std::make_unique<JsonLines>(options.output);

  RunOptions how;
  how.tick = check_interrupt;
  how.emulated = true;
  CaseIsolation isolation;
  isolation.hear = [](const std::string& said) { fmt::print(stderr, "{}", said); };
  Progress progress(static_cast<Index>(entries.size()), options.progress);
  for (const CaseEntry& entry : entries) {
    check_interrupt();
    progress.start(entry.value.canonical());
    MutantScores& scores = *scores_of(entry);
    scores.add(run_case_isolated(scores.mutated(), entry, how, isolation));
    progress.finish(false);
  }
  progress.clear();

  Index killed = 0, survived = 0, unshown = 0, never = 0;
  std::vector<std::string> broken;
  for (const MutantScores& scores : all) {
    if (!options.json) fmt::print("{}\n", scores.mutated().grammar().operator_name);
    for (const MutantScore& score : scores.scores()) {
      const nlohmann::json record = to_record(score);
      if (lines) lines->write(record);
      if (options.json)
        fmt::print("{}\n", record.dump());
      else
        print(score);
      ++(!score.mutant.run ? never : score.unshown() ? unshown : score.first ? killed : survived);
    }
    broken.insert(broken.end(), scores.broken().begin(), scores.broken().end());
  }
  if (!options.json) {
    for (const std::string& path : broken) fmt::print("a right path FAILED: {}\n", path);
    fmt::print("{} mutants on {} cases: {} killed, {} survived{}; {} that no such case can show\n",
               killed + survived + unshown, entries.size(), killed, survived,
               unshown > 0 ? fmt::format(", {} not shown by these cases", unshown) : "", never);
  }
  flush_standard_output();
  const bool bad = survived > 0 || !broken.empty() || (for_all && unshown > 0);
  return bad ? failed : killed == 0 ? nothing_judged : passed;
}

}  // namespace

void add_mutate(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* const verb = app.add_subcommand(
      "mutate", "Score the checks: run known-wrong implementations, and say what sees them");
  verb->add_option("case", options->cases,
                   "Case lines and @files.cases; default: @data/quick.cases @data/mutants.cases");
  verb->add_option("--operator", options->operators, "Mutants of these operators only")->take_all();
  verb->add_option("--mutant", options->mutants, "Mutants of these names only")->take_all();
  verb->add_option("-o,--output", options->output, "Record every mutant in this JSON Lines file")
      ->check(file_name);
  verb->add_flag("--list", options->list, "The mutants and their defects; nothing is run");
  verb->add_flag("--json", options->json, "JSON Lines on standard output");
  verb->add_flag("--progress", options->progress,
                 "Progress on standard error even when it is no terminal");
  verb->callback([options, &action] { action = [options] { return mutate(*options); }; });
}

}  // namespace groundstate::harness::cli
