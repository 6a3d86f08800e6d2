// groundstate golden verify|update: are the inputs and the oracle of cases what they once were?
#include "harness/golden/golden.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <system_error>

#include "harness/case/error.hpp"
#include "harness/case/text.hpp"
#include "harness/cli/arguments.hpp"
#include "harness/cli/interrupt.hpp"
#include "harness/cli/progress.hpp"
#include "harness/cli/standard_output.hpp"
#include "harness/cli/verbs.hpp"
#include "harness/golden/clean_tree.hpp"
#include "harness/judge/json_number.hpp"
#include "harness/judge/status.hpp"
#include "harness/operators/registry.hpp"
#include "harness/report/json_lines.hpp"
#include "harness/run/run_case.hpp"

namespace groundstate::harness::cli {
namespace {

constexpr const char* default_file = "data/golden.h5";
constexpr const char* default_cases = "data/quick.cases";

std::string number_text(double x) { return fmt::format("{:a} ({:.17g})", x, x); }

std::string sampled_text(const GoldenDifference& own) {
  const auto& first = *own.first;
  return fmt::format(
      "{} of {} sampled elements differ, by at most {:.3g}{}; first{}{}: golden {}, now {}",
      own.different, own.sampled, own.largest,
      own.tensor.starts_with("oracle/")
          ? fmt::format(" ({:.3g} units; limit {:g})", own.largest_scaled, own.limit)
          : "",
      first.at.empty() ? "" : " at ", first.at, number_text(first.golden), number_text(first.now));
}

std::string sentence(const GoldenDifference& own) {
  if (!own.incomparable.empty()) return own.incomparable;
  if (own.only_units()) return "the same elements, in other units";
  if (own.first) return sampled_text(own);
  return fmt::format("no sampled element differs, but SHA-256 is {} in the golden and {} now",
                     shown(own.golden_sha256, 64), own.sha256);
}

nlohmann::json to_record(const GoldenDifference& own) {
  nlohmann::json record = {{"sentence", sentence(own)},  {"golden_sha256", own.golden_sha256},
                           {"sha256", own.sha256},       {"sampled", own.sampled},
                           {"different", own.different}, {"largest", json_number(own.largest)}};
  if (own.tensor.starts_with("oracle/")) {
    record["largest_scaled"] = json_number(own.largest_scaled);
    record["limit"] = own.limit;
  }
  if (own.first)
    record["first"] = {{"at", own.first->at},
                       {"golden", json_number(own.first->golden)},
                       {"now", json_number(own.first->now)}};
  return record;
}

nlohmann::json to_record(const std::string& file, const GoldenCase& golden,
                         const std::vector<GoldenDifference>& differences) {
  nlohmann::json record = {{"schema", 1},
                           {"file", file},
                           {"case", golden.text},
                           {"id", golden.id},
                           {"operator", golden.operator_name},
                           {"tensors", nlohmann::json::object()}};
  for (const GoldenDifference& own : differences) record["tensors"][own.tensor] = to_record(own);
  return record;
}

std::unique_ptr<JsonLines> standard_output_if(bool json) {
  return json ? std::make_unique<JsonLines>("-") : nullptr;
}

// ---- verify

struct VerifyOptions {
  std::vector<std::string> files;
  bool json = false, progress = false;
};

// The case of a golden, if it is still one.
Case case_of(const std::string& file, const GoldenCase& golden) {
  try {
    Case c = parse_case(golden.text, grammars());
    if (c.id() != golden.id || c.operator_name() != golden.operator_name)
      throw UsageError(fmt::format("the case is '{}' with the id {}, not what the group says",
                                   c.canonical(), c.id()));
    check_case(operator_of(c), c);
    return c;
  } catch (const UsageError& error) {
    throw UsageError(fmt::format("{}: /{}: {}", file, golden.id, error.what()));
  }
}

struct Verified {
  bool failed = false;
  std::vector<GoldenDifference> differences;  // of bits
};

Verified verify(const GoldenCase& golden, const Case& c, bool same_libm) {
  Verified result;
  for (GoldenDifference& own : differences(golden, compute_golden(c))) {
    if (own.only_units()) continue;
    result.failed = result.failed || same_libm || !own.within_bound();
    result.differences.push_back(std::move(own));
  }
  return result;
}

std::string render(const GoldenCase& golden, const Verified& verified, bool same_libm) {
  std::string text =
      fmt::format("{}  {}  [{}]\n", verified.failed ? "FAILED" : "PASSED", golden.text, golden.id);
  for (const GoldenDifference& own : verified.differences)
    text +=
        fmt::format("    {}: {}{}\n", own.tensor,
                    !same_libm && own.within_bound() ? "within the bound: " : "", sentence(own));
  return text;
}

int verify(const VerifyOptions& options) {
  std::vector<Golden> goldens;
  std::vector<std::vector<Case>> cases;
  Index total = 0;
  for (const std::string& file : options.files) {
    check_interrupt();
    goldens.push_back(read_golden(file));
    cases.emplace_back();
    for (const GoldenCase& golden : goldens.back().cases)
      cases.back().push_back(case_of(file, golden));
    total += static_cast<Index>(cases.back().size());
  }
  const std::unique_ptr<JsonLines> out = standard_output_if(options.json);
  Progress progress(total, options.progress);
  bool any_failed = false;
  for (std::size_t f = 0; f < goldens.size(); ++f) {
    const std::string& file = options.files[f];
    const Golden& golden = goldens[f];
    const bool same_libm = golden.libm == libm_name();
    Index equal = 0, within = 0, failed = 0;
    for (std::size_t i = 0; i < cases[f].size(); ++i) {
      check_interrupt();
      const GoldenCase& own = golden.cases[i];
      progress.start(own.text);
      const Verified verified = verify(own, cases[f][i], same_libm);
      progress.finish(verified.failed);
      progress.clear();
      ++(verified.failed ? failed : verified.differences.empty() ? equal : within);
      if (out) {
        nlohmann::json record = to_record(file, own, verified.differences);
        record["status"] = name_of(verified.failed ? Status::failed : Status::passed);
        record["bitwise"] = verified.differences.empty();
        record["libm"] = {{"golden", golden.libm}, {"here", libm_name()}};
        out->write(record);
      } else {
        fmt::print("{}", render(own, verified, same_libm));
        flush_standard_output();
      }
    }
    any_failed = any_failed || failed > 0;
    if (!out)
      fmt::print("{}: {} cases: {} the same bits, {} within the bound, {} failed{}\n", file,
                 cases[f].size(), equal, within, failed,
                 same_libm
                     ? ""
                     : fmt::format("; made with {}, here is {}", shown(golden.libm), libm_name()));
  }
  return any_failed ? ExitCode::failed : passed;
}

// ---- update

struct UpdateOptions {
  std::string file = default_file, cases = default_cases;
  bool dry_run = false, json = false, progress = false;
};

// What an update does to one case.
struct Change {
  std::string_view word;  // NEW, GONE, CHANGED
  GoldenCase golden;
  std::vector<GoldenDifference> differences = {};
};

std::string render(const Change& change) {
  std::string text = fmt::format("{:7}  {}  [{}]\n", change.word, shown(change.golden.text, 1000),
                                 change.golden.id);
  for (const GoldenDifference& own : change.differences)
    text += fmt::format("    {}: {}\n", own.tensor, sentence(own));
  return text;
}

const GoldenCase* case_of(const Golden& golden, const std::string& id) {
  const auto found = std::ranges::find(golden.cases, id, &GoldenCase::id);
  return found == golden.cases.end() ? nullptr : &*found;
}

std::vector<Change> changes(const Golden& old, const Golden& now) {
  std::vector<Change> result;
  for (const GoldenCase& own : now.cases) {
    const GoldenCase* const before = case_of(old, own.id);
    if (before == nullptr) {
      result.push_back({"NEW", own});
      continue;
    }
    std::vector<GoldenDifference> found = differences(*before, own);
    if (!found.empty()) result.push_back({"CHANGED", own, std::move(found)});
  }
  for (const GoldenCase& own : old.cases)
    if (case_of(now, own.id) == nullptr) result.push_back({"GONE", own});
  return result;
}

int update(const UpdateOptions& options) {
  if (!options.dry_run) require_clean_tree(options.file);
  const std::vector<CaseEntry> entries = expand_arguments({"@" + options.cases});
  if (entries.empty()) throw UsageError(fmt::format("{}: holds no case", options.cases));
  std::error_code ignored;
  const bool exists = std::filesystem::exists(options.file, ignored);
  const Golden old = exists ? read_golden(options.file) : Golden{};
  Golden now{libm_name(), {}};
  Progress progress(static_cast<Index>(entries.size()), options.progress);
  for (const CaseEntry& entry : entries) {
    check_interrupt();
    progress.start(entry.value.canonical());
    now.cases.push_back(compute_golden(entry.value));
    progress.finish(false);
  }
  progress.clear();

  const std::vector<Change> found = changes(old, now);
  const bool changed = !exists || !found.empty() || old.libm != now.libm;
  const bool written = changed && !options.dry_run;
  if (written) write_golden(options.file, now);
  if (const std::unique_ptr<JsonLines> out = standard_output_if(options.json)) {
    for (const Change& change : found) {
      nlohmann::json record = to_record(options.file, change.golden, change.differences);
      record["change"] = change.word;
      out->write(record);
    }
    out->write({{"schema", 1},
                {"file", options.file},
                {"cases", entries.size()},
                {"changes", found.size()},
                {"libm", {{"golden", old.libm}, {"here", now.libm}}},
                {"written", written}});
    return passed;
  }
  for (const Change& change : found) fmt::print("{}", render(change));
  if (exists && old.libm != now.libm)
    fmt::print("libm: was {}, is {}\n", shown(old.libm), now.libm);
  fmt::print("{}: {} cases, {} of them new, gone or changed; {}\n", options.file, entries.size(),
             found.size(),
             written   ? "written"
             : changed ? "not written (--dry-run)"
                       : "left as it is");
  return passed;
}

void add_verify(CLI::App& golden, Action& action) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* const verb = golden.add_subcommand(
      "verify", "Compute the cases of goldens again: every bit, or, with another libm, the bound");
  verb->add_option("file", options->files, fmt::format("Golden files; default: {}", default_file))
      ->check(file_name);
  verb->add_flag("--json", options->json, "JSON Lines on standard output");
  verb->add_flag("--progress", options->progress,
                 "Progress on standard error even when it is no terminal");
  verb->callback([options, &action] {
    if (options->files.empty()) options->files = {default_file};
    action = [options] { return verify(*options); };
  });
}

void add_update(CLI::App& golden, Action& action) {
  auto options = std::make_shared<UpdateOptions>();
  CLI::App* const verb = golden.add_subcommand(
      "update", "Show what has changed and write it, in a clean git tree only");
  verb->add_option("file", options->file, fmt::format("Golden file; default: {}", default_file))
      ->check(file_name);
  verb->add_option("--cases", options->cases,
                   fmt::format("The cases it is to hold; default: {}", default_cases))
      ->check(file_name);
  verb->add_flag("--dry-run", options->dry_run, "Only show, whatever the tree is like");
  verb->add_flag("--json", options->json, "JSON Lines on standard output");
  verb->add_flag("--progress", options->progress,
                 "Progress on standard error even when it is no terminal");
  verb->callback([options, &action] { action = [options] { return update(*options); }; });
}

}  // namespace

void add_golden(CLI::App& app, Action& action) {
  CLI::App* const verb =
      app.add_subcommand("golden", "Verify or update committed inputs and oracle of cases");
  add_verify(*verb, action);
  add_update(*verb, action);
  verb->require_subcommand(0, 1);  // CLI11 would not say which
  verb->callback([verb] {
    if (verb->get_subcommands().empty())
      throw UsageError("golden needs one more word (accepted: verify update)");
  });
}

}  // namespace groundstate::harness::cli
