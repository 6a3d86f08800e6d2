#include <fmt/format.h>

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

struct Counts {
  Index tests = 0, failures = 0, skipped = 0;
  void operator+=(const Counts& more) {
    tests += more.tests;
    failures += more.failures;
    skipped += more.skipped;
  }
  void into(object& target) const {
    target["tests"] = fmt::format("{}", tests);
    target["failures"] = fmt::format("{}", failures);
    target["skipped"] = fmt::format("{}", skipped);
  }
};

object test(const std::string& classname, const std::string& name, double seconds) {
  return {{"classname", classname}, {"name", name}, {"seconds", fmt::format("{:.6f}", seconds)}};
}

object failure(std::string_view type, const std::string& message, const std::string& text) {
  return {{"type", std::string(type)}, {"message", message}, {"text", text}};
}

object test_of(const ReportedResult& own, Counts& counts) {
  const Result& result = own.result;
  // Seconds of a hostile record may be anything.
  object entry = test(own.operator_name, fmt::format("{} {}", result.path, result.recipe),
                      result.seconds >= 0 && result.seconds < 1e9 ? result.seconds : 0);
  const std::string finding = own.finding();
  ++counts.tests;
  if (is_failure(result.status)) {
    ++counts.failures;
    entry["failure"] = data(failure(name_of(result.status), own.worst_clause(),
                                    fmt::format("{}\n{}", finding, result.reproducer)));
  } else if (!is_judged(result.status)) {
    ++counts.skipped;
    entry["skip"] =
        data(object{{"message", fmt::format("{}: {}", name_of(result.status), finding)}});
  } else {
    entry["output"] =
        data(object{{"text", fmt::format("{}: {}{}", name_of(result.status), own.worst_clause(),
                                         finding.empty() ? "" : "; " + finding)}});
  }
  return entry;
}

object test_of(const ReportedComparison& own, Counts& counts) {
  const VersusReport& report = own.report;
  object entry = test(own.operator_name + ".versus", own.paths(), 0);
  ++counts.tests;
  std::string text = report.note;
  for (const VersusTensor& tensor : report.tensors) {
    add_remark(text,
               fmt::format("{}: {}, {}", tensor.tensor, name_of(tensor.status), apart(tensor)));
    for (std::size_t s = 0; s < 2; ++s)
      if (!tensor.verdicts[s].finding.empty())
        add_remark(text, fmt::format("{}: {}", report.names[s], tensor.verdicts[s].finding));
  }
  if (is_failure(report.status)) {
    ++counts.failures;
    entry["failure"] = data(failure(name_of(report.status), own.paths(),
                                    fmt::format("{}\n{}", text, report.reproducer)));
  } else if (!is_judged(report.status)) {
    ++counts.skipped;
    entry["skip"] = data(object{{"message", fmt::format("{}: {}", name_of(report.status), text)}});
  } else {
    entry["output"] = data(object{{"text", text}});
  }
  return entry;
}

// All mutants are one suite; one that survives is a failure.
object mutants_of(const std::vector<const ReportedMutant*>& mutants, Counts& counts) {
  list cases;
  for (const ReportedMutant* const own : mutants) {
    object entry = test(own->operator_name + ".mutant", own->name, 0);
    ++counts.tests;
    if (own->status == "SURVIVED") {
      ++counts.failures;
      entry["failure"] =
          data(failure(own->status, own->defect,
                       fmt::format("run on {} cases as {}", own->cases, own->declares)));
    } else if (own->status == "UNSHOWN") {
      ++counts.skipped;
      entry["skip"] = data(object{{"message", fmt::format("{}: {}", own->status, own->needs)}});
    } else {
      entry["output"] = data(
          object{{"text", fmt::format("{}: {} on {}; {} of {} cases; {}", own->status, own->check,
                                      own->case_text, own->seen_on, own->cases, own->message)}});
    }
    cases.push_back(entry);
  }
  object suite = {{"name", "mutants"}, {"cases", data(cases)}};
  counts.into(suite);
  return suite;
}

// All timings are one suite.
object timings_of(const std::vector<ComparedTiming>& timings, Counts& counts) {
  list cases;
  for (const ComparedTiming& own : timings) {
    const BenchRow& row = own.timing->row;
    object entry = test(row.operator_name + ".bench",
                        fmt::format("{} {} {}", row.case_text, path_and_library(row), row.device),
                        row.timing ? row.timing->seconds.median : 0);
    ++counts.tests;
    if (is_failure(row.status)) {
      ++counts.failures;
      entry["failure"] = data(failure(name_of(row.status), row.note, row.reproducer));
    } else if (!row.timing) {
      ++counts.skipped;
      entry["skip"] =
          data(object{{"message", fmt::format("{}: {}", name_of(row.status), row.note)}});
    } else {
      entry["output"] = data(object{{"text", fmt::format("{} {}", spread(row), share(row))}});
    }
    cases.push_back(entry);
  }
  object suite = {{"name", "timings"}, {"cases", data(cases)}};
  counts.into(suite);
  return suite;
}

}  // namespace

std::string junit(const Overview& overview) {
  Counts all;
  list suites;
  for (const ReportedCase& own : overview.cases) {
    Counts counts;
    list cases;
    for (const ReportedResult* const result : own.results)
      cases.push_back(test_of(*result, counts));
    for (const ReportedContract* const contract : own.contracts) {
      object entry = test(own.operator_name + ".contract", contract->equality.name, 0);
      ++counts.tests;
      if (contract->equality.violation) {
        ++counts.failures;
        entry["failure"] =
            data(failure("contract", contract->equality.reason, *contract->equality.violation));
      }
      cases.push_back(entry);
    }
    for (const ReportedProblem* const problem : own.problems) {
      object entry = test(own.operator_name + ".raised_limit", problem->text, 0);
      ++counts.tests;
      ++counts.failures;
      entry["failure"] = data(failure("raised limit", problem->text, problem->source));
      cases.push_back(entry);
    }
    for (const ReportedComparison* const comparison : own.comparisons)
      cases.push_back(test_of(*comparison, counts));
    all += counts;
    object suite = {{"name", own.text}, {"cases", data(cases)}};
    counts.into(suite);
    suites.push_back(suite);
  }
  if (!overview.mutants.empty()) {
    Counts counts;
    suites.push_back(mutants_of(overview.mutants, counts));
    all += counts;
  }
  if (!overview.timings.empty()) {
    Counts counts;
    suites.push_back(timings_of(overview.timings, counts));
    all += counts;
  }
  object root = {{"suites", data(suites)}};
  all.into(root);
  return kainjow::mustache::mustache(templates::junit).render(root);
}

}  // namespace groundstate::harness
