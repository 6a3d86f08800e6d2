// groundstate judge F.h5... : evidence, judged again with the oracle of this program.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "harness/cli/arguments.hpp"
#include "harness/cli/interrupt.hpp"
#include "harness/cli/progress.hpp"
#include "harness/cli/standard_output.hpp"
#include "harness/cli/verbs.hpp"
#include "harness/evidence/judge_evidence.hpp"
#include "harness/report/json_lines.hpp"

namespace groundstate::harness::cli {
namespace {

struct Options {
  std::vector<std::string> files;
  bool json = false, progress = false;
};

struct Count {
  Index judged = 0, failed = 0, stale = 0, contracts = 0;
  bool damaged = false;

  void add(const JudgedCase& own) {
    contracts += own.contracts;
    damaged = damaged || !own.problems.empty();
    for (const JudgedResult& result : own.results) {
      judged += result.judged;
      failed += result.judged && !result.problems.empty();
      stale += !result.stale.empty();
    }
  }
};

std::string origin_text(const Evidence& evidence) {
  std::string text = fmt::format("{}, {}", evidence.device(), evidence.origin.date);
  if (!evidence.origin.driver.empty()) text += fmt::format(", driver {}", evidence.origin.driver);
  if (!evidence.origin.toolkit.empty()) text += fmt::format(", {}", evidence.origin.toolkit);
  return text;
}

std::string render(const JudgedCase& own) {
  std::string text =
      fmt::format("{}  {}  [{}]\n", own.failed() ? "FAILED" : "PASSED", own.text, own.id);
  for (const JudgedResult& result : own.results) {
    for (const std::string& problem : result.problems)
      text += fmt::format("    FAILED  {}: {}\n", result.path, problem);
    if (!result.stale.empty())
      text += fmt::format("    STALE   {}: {}\n", result.path, result.stale);
  }
  for (const std::string& problem : own.problems) text += fmt::format("    FAILED  {}\n", problem);
  return text;
}

nlohmann::json to_record(const Evidence& evidence, const JudgedCase& own) {
  nlohmann::json record = {{"schema", 1},
                           {"file", evidence.file},
                           {"date", evidence.origin.date},
                           {"case", own.text},
                           {"id", own.id},
                           {"operator", own.operator_name},
                           {"status", own.failed() ? "FAILED" : "PASSED"},
                           {"problems", own.problems},
                           {"contracts", own.contracts},
                           {"results", nlohmann::json::array()}};
  for (const JudgedResult& result : own.results) {
    nlohmann::json entry = {
        {"path", result.path}, {"device", result.device}, {"problems", result.problems}};
    entry["status"] = result.judged ? nlohmann::json(name_of(result.status)) : nullptr;
    if (!result.stale.empty()) entry["stale"] = result.stale;
    record["results"].push_back(std::move(entry));
  }
  return record;
}

int judge(const Options& options) {
  // All of them before the first case is judged.
  std::vector<Evidence> files;
  std::vector<std::vector<Case>> cases;
  Index total = 0;
  for (const std::string& file : options.files) {
    check_interrupt();
    files.push_back(read_evidence(file));
    cases.emplace_back();
    for (const EvidenceCase& own : files.back().cases)
      cases.back().push_back(case_of(files.back(), own));
    total += static_cast<Index>(cases.back().size());
  }
  const std::unique_ptr<JsonLines> out = options.json ? std::make_unique<JsonLines>("-") : nullptr;
  Progress progress(total, options.progress);
  Index judged = 0;
  bool any_failed = false;
  for (std::size_t f = 0; f < files.size(); ++f) {
    const Evidence& evidence = files[f];
    Count count;
    count.damaged = !evidence.damage.empty();
    for (std::size_t i = 0; i < evidence.cases.size(); ++i) {
      check_interrupt();
      progress.start(evidence.cases[i].text);
      const JudgedCase own =
          judge_evidence(evidence, evidence.cases[i], cases[f][i], check_interrupt);
      progress.finish(own.failed());
      progress.clear();
      count.add(own);
      any_failed = any_failed || own.failed();
      if (out) {
        out->write(to_record(evidence, own));
      } else {
        fmt::print("{}", render(own));
        flush_standard_output();
      }
    }
    judged += count.judged;
    any_failed = any_failed || count.damaged;
    if (out) continue;
    for (const std::string& damage : evidence.damage)
      fmt::print("FAILED  {}: {}\n", evidence.file, damage);
    fmt::print(
        "{}: {}: {} cases, {} results judged, {} of them failed, {} STALE; {} bitwise contracts\n",
        evidence.file, origin_text(evidence), evidence.cases.size(), count.judged, count.failed,
        count.stale, count.contracts);
  }
  return any_failed ? failed : judged == 0 ? nothing_judged : passed;
}

}  // namespace

void add_judge(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* const verb =
      app.add_subcommand("judge", "Judge recorded evidence again, and say whether it is STALE");
  verb->add_option("file", options->files, "Files that `record` wrote")
      ->required()
      ->check(file_name);
  verb->add_flag("--json", options->json, "JSON Lines on standard output");
  verb->add_flag("--progress", options->progress,
                 "Progress on standard error even when it is no terminal");
  verb->callback([options, &action] { action = [options] { return judge(*options); }; });
}

}  // namespace groundstate::harness::cli
