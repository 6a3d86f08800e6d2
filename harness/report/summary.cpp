#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <kainjow/mustache.hpp>

#include "harness/report/documents.hpp"
#include "harness/report/templates.hpp"
#include "harness/report/versus.hpp"
#include "harness/run/note.hpp"

namespace groundstate::harness {
namespace {

using kainjow::mustache::data;
using kainjow::mustache::list;
using kainjow::mustache::object;

// Text that Markdown shows as it is, in a cell of a table or outside of one: what means something
// to Markdown or HTML becomes an entity. Underscores within a word and colons mean nothing, unless
// an address follows.
std::string escaped(const std::string& text) {
  const auto is_alphanumeric = [&](std::size_t i) {
    return i < text.size() && std::isalnum(static_cast<unsigned char>(text[i]));
  };
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool special = c == '_' ? !(i > 0 && is_alphanumeric(i - 1) && is_alphanumeric(i + 1))
                         : c == ':'
                             ? text.compare(i + 1, 1, "/") == 0
                             : std::string_view("\\`*[]<>|&~@#").find(c) != std::string_view::npos;
    if (c == '\n' || c == '\t')
      result += ' ';
    else if (special)
      result += fmt::format("&#{};", static_cast<int>(c));
    else
      result += c;
  }
  return result;
}

// As HTML code: a code span of Markdown has no way to hold every text in a table.
std::string code(const std::string& text) { return "<code>" + escaped(text) + "</code>"; }

// "PASSED `a` `b`" for the paths of a case, worst first.
std::string paths_of(const ReportedCase& own) {
  std::vector<const ReportedResult*> results = own.results;
  std::ranges::stable_sort(results, std::greater{},
                           [](const auto* each) { return severity(each->result.status); });
  std::string text;
  const Status* last = nullptr;
  for (const ReportedResult* const each : results) {
    if (last == nullptr || *last != each->result.status)
      add_remark(text, fmt::format("{}:", name_of(each->result.status)));
    last = &each->result.status;
    text += " " + code(each->result.path);
  }
  for (const ReportedComparison* const each : own.comparisons)
    add_remark(text, fmt::format("{}: {}", name_of(each->report.status), code(each->paths())));
  if (!own.contracts.empty())
    add_remark(text, fmt::format("{}, {} broken",
                                 plural(static_cast<Index>(own.contracts.size()),
                                        "bitwise contract", "bitwise contracts"),
                                 own.broken()));
  return text;
}

}  // namespace

std::string summary(const Records& records, const Overview& overview) {
  list tiles, failures, broken, problems, raised, speed, cases, evidence, environments, comparisons,
      mutants;
  const auto tile = [&](const char* name, Index count) {
    tiles.push_back(object{{"name", name}, {"count", fmt::format("{}", count)}});
  };
  for (const StatusCount& own : overview.statuses)
    tiles.push_back(object{{"name", std::string(name_of(own.status))},
                           {"count", fmt::format("{}", own.count)}});
  if (overview.contracts > 0) tile("bitwise contracts", overview.contracts);
  if (!records.comparisons.empty())
    tile("comparisons", static_cast<Index>(records.comparisons.size()));
  if (!overview.mutants.empty()) {
    tile("mutants killed", overview.mutants_that("KILLED"));
    tile("survived", overview.mutants_that("SURVIVED"));
    tile("unshown", overview.mutants_that("UNSHOWN"));
  }
  for (const ReportedResult& own : records.results)
    if (is_judged(own.result.status) && own.result.status != Status::passed)
      failures.push_back(object{{"status", std::string(name_of(own.result.status))},
                                {"case_code", code(own.case_text)},
                                {"path_code", code(own.result.path)},
                                {"clause", own.worst_clause()},
                                {"finding", own.finding()}});
  for (const ReportedContract& own : records.contracts)
    if (own.equality.violation)
      broken.push_back(object{{"name", own.equality.name},
                              {"case_code", code(own.case_text)},
                              {"violation", *own.equality.violation}});
  for (const ReportedProblem& own : records.problems)
    problems.push_back(object{{"text", own.text}});
  for (const RaisedClause& own : overview.raised)
    raised.push_back(object{{"tensor", own.tensor->tensor},
                            {"name", own.clause->name},
                            {"value", short_number(own.clause->value)},
                            {"limit", short_number(own.clause->limit)},
                            {"detail", own.clause->detail},
                            {"case_code", code(own.result->case_text)},
                            {"path_code", code(own.result->result.path)}});
  for (const ComparedTiming& own : overview.timings) {
    const BenchRow& row = own.timing->row;
    speed.push_back(object{{"status", std::string(name_of(row.status))},
                           {"case_code", code(row.case_text)},
                           {"path_code", code(path_and_library(row))},
                           {"device", row.device},
                           {"spread", spread(row)},
                           {"share", share(row)},
                           {"ratio", own.ratio ? fmt::format("{:.2f}", *own.ratio) : ""},
                           {"libraries", fmt::format("{}", fmt::join(own.libraries, "; "))},
                           {"note", row.note}});
  }
  for (const ReportedComparison& own : records.comparisons) {
    const auto row = [&](Status status, const std::string& tensor, const std::string& far,
                         const std::string& tolerance, const std::string& why) {
      comparisons.push_back(object{{"status", std::string(name_of(status))},
                                   {"case_code", code(own.case_text)},
                                   {"paths_code", code(own.paths())},
                                   {"tensor", tensor},
                                   {"apart", far},
                                   {"recommended", tolerance},
                                   {"reason", why}});
    };
    for (const VersusTensor& tensor : own.report.tensors)
      row(tensor.status, tensor.tensor, apart(tensor), recommended(tensor), reason(tensor));
    if (own.report.tensors.empty()) row(own.report.status, "", own.report.note, "", "");
  }
  for (const ReportedMutant* const own : overview.mutants)
    mutants.push_back(object{
        {"status", own->status},
        {"operator", own->operator_name},
        {"name", own->name},
        {"defect", own->defect},
        {"seen", own->status == "UNSHOWN"
                     ? own->needs
                     : fmt::format("{}{}{} of {} cases", own->check, own->check.empty() ? "" : ", ",
                                   own->seen_on, own->cases)},
        {"case_code", own->case_text.empty() ? "" : code(own->case_text)}});
  for (const ReportedCase& own : overview.cases) {
    const ReportedResult* const nearest = own.nearest();
    cases.push_back(object{{"status", std::string(name_of(own.status()))},
                           {"case_code", code(own.text)},
                           {"path_codes", paths_of(own)},
                           {"clause", nearest != nullptr ? nearest->worst_clause() : ""}});
  }
  for (const ReportedEvidence& own : records.evidence)
    evidence.push_back(object{{"device", own.device},
                              {"date", own.date},
                              {"results", fmt::format("{}", own.results)},
                              {"stale", fmt::format("{}", fmt::join(own.reasons, "; "))},
                              {"file_code", code(own.file)}});
  for (const std::string& text : records.environments)
    environments.push_back(object{{"text", text}});
  kainjow::mustache::mustache document(templates::summary);
  document.set_custom_escape(escaped);
  return document.render(object{{"headline", overview.headline},
                                {"tiles", data(tiles)},
                                {"has_failures", data(!failures.empty())},
                                {"failures", data(failures)},
                                {"has_broken", data(!broken.empty())},
                                {"broken", data(broken)},
                                {"problems", data(problems)},
                                {"has_raised", data(!raised.empty())},
                                {"raised_limits", data(raised)},
                                {"has_speed", data(!speed.empty())},
                                {"speed", data(speed)},
                                {"has_comparisons", data(!comparisons.empty())},
                                {"comparisons", data(comparisons)},
                                {"has_mutants", data(!mutants.empty())},
                                {"survivors", data(overview.mutants_that("SURVIVED") > 0)},
                                {"mutants", data(mutants)},
                                {"cases", data(cases)},
                                {"has_evidence", data(!evidence.empty())},
                                {"evidence", data(evidence)},
                                {"environments", data(environments)}});
}

}  // namespace groundstate::harness
