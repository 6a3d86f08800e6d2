// groundstate report F.jsonl... -o DIR, report diff A.jsonl B.jsonl: results for people who look.
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "harness/case/error.hpp"
#include "harness/cli/arguments.hpp"
#include "harness/cli/verbs.hpp"
#include "harness/report/diff.hpp"
#include "harness/report/documents.hpp"
#include "harness/report/json_lines.hpp"
#include "harness/report/write_files.hpp"

namespace groundstate::harness::cli {
namespace {

// ---- report

struct Options {
  std::vector<std::string> files;
  std::string folder;
  PageOptions page;
};

// Where the page of the judge is, seen from a folder; empty where this is not the tree.
std::string judge_page_from(const std::filesystem::path& folder) {
  const std::filesystem::path page = "harness/judge/README.md";
  std::error_code error;
  if (!std::filesystem::exists(page, error)) return "";
  const std::filesystem::path relative = std::filesystem::relative(page, folder, error);
  return error ? "" : relative.generic_string();
}

int report(Options options) {
  const Records records = read_records(options.files);
  const Overview overview(records);
  options.page.judge_page = judge_page_from(options.folder);
  const Page html = page(records, overview, options.page);
  write_files(options.folder, {{"index.html", html.html},
                               {"summary.md", summary(records, overview)},
                               {"results.csv", csv(records)},
                               {"junit.xml", junit(overview)}});
  if (!html.missing_pictures.empty())
    fmt::print(stderr, "warning: histograms and errors along time are missing: {}\n",
               html.missing_pictures);
  fmt::print("{}\n{}/index.html  summary.md  results.csv  junit.xml\n", overview.headline,
             options.folder);
  return passed;
}

// ---- diff

struct DiffOptions {
  std::string before, after;
  bool json = false;
};

nlohmann::json to_record(const ReportChange& change) {
  return {{"schema", 1},
          {"change", name_of(change.kind)},
          {"case", change.case_text},
          {"what", change.what},
          {"before", change.before},
          {"after", change.after},
          {"finding", change.finding},
          {"reproducer", change.reproducer}};
}

std::string render(const ReportChange& change) {
  const auto or_none = [](const std::string& text) { return text.empty() ? "-" : text; };
  std::string text =
      fmt::format("{:7} {}  {}\n        {} -> {}\n", name_of(change.kind), change.case_text,
                  change.what, or_none(change.before), or_none(change.after));
  if (change.kind != ChangeKind::broken) return text;
  if (!change.finding.empty()) text += fmt::format("        {}\n", change.finding);
  return text + fmt::format("        {}\n", change.reproducer);
}

int diff(const DiffOptions& options) {
  const ReportDifference found =
      difference(read_records({options.before}), read_records({options.after}));
  if (options.json) {
    JsonLines out("-");
    for (const ReportChange& change : found.changes) out.write(to_record(change));
  } else {
    for (const ReportChange& change : found.changes) fmt::print("{}", render(change));
    fmt::print("{} broken, {} fixed, {} moved by more than 2x, {} new, {} gone, {} as before\n",
               found.count(ChangeKind::broken), found.count(ChangeKind::fixed),
               found.count(ChangeKind::moved), found.count(ChangeKind::added),
               found.count(ChangeKind::gone), found.same);
  }
  return found.any_broken() ? failed : passed;
}

void add_diff(CLI::App& verb, Action& action) {
  auto options = std::make_shared<DiffOptions>();
  CLI::App* const own = verb.add_subcommand(
      "diff", "What is fixed, broken, nearer to its limit, new or gone; exit code 1 if broken");
  own->add_option("before", options->before, "JSON Lines of before")->required()->check(file_name);
  own->add_option("after", options->after, "JSON Lines of now")->required()->check(file_name);
  own->add_flag("--json", options->json, "JSON Lines on standard output");
  own->callback([options, &action] { action = [options] { return diff(*options); }; });
}

}  // namespace

void add_report(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* const verb = app.add_subcommand(
      "report", "Make HTML with pictures, Markdown, CSV and JUnit from recorded results");
  verb->add_option("file", options->files,
                   "JSON Lines that run, compare, versus, mutate, bench and calibrate have written "
                   "by -o, and "
                   "evidence (*.h5)")
      ->check(file_name);
  verb->add_option("-o,--output", options->folder,
                   "Folder for index.html, summary.md, results.csv and junit.xml")
      ->check(file_name);
  verb->add_option("--show", options->page.chosen,
                   "Draw results whose case or path contains this text as well")
      ->take_all();
  add_diff(*verb, action);
  verb->require_subcommand(0, 1);
  verb->callback([verb, options, &action] {
    if (!verb->get_subcommands().empty()) return;
    if (options->files.empty()) throw UsageError("report needs JSON Lines files, or the word diff");
    if (options->folder.empty()) throw UsageError("report needs -o and the name of a folder");
    action = [options] { return report(*options); };
  });
}

}  // namespace groundstate::harness::cli
