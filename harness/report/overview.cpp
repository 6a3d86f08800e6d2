#include "harness/report/overview.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>

namespace groundstate::harness {

std::string plural(Index count, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}

int severity(Status status) {
  return is_failure(status) ? 3 : status == Status::marginal ? 2 : is_judged(status) ? 0 : 1;
}

Index ReportedCase::broken() const {
  return std::ranges::count_if(contracts, [](const auto* own) { return own->equality.broken(); });
}

Status ReportedCase::status() const {
  if (broken() > 0 || !problems.empty()) return Status::failed;
  std::vector<Status> all;
  for (const ReportedResult* const own : results) all.push_back(own->result.status);
  for (const ReportedComparison* const own : comparisons) all.push_back(own->report.status);
  if (all.empty()) return Status::passed;
  std::vector<Status> judged;
  std::ranges::copy_if(all, std::back_inserter(judged), is_judged);
  return judged.empty() ? all.front() : *std::ranges::max_element(judged, {}, severity);
}

const ReportedResult* ReportedCase::nearest() const {
  const ReportedResult* nearest = nullptr;
  const auto rank = [](const ReportedResult* own) {
    return std::pair(severity(own->result.status), own->ratio());
  };
  for (const ReportedResult* const own : results)
    if (is_judged(own->result.status) && (nearest == nullptr || rank(own) > rank(nearest)))
      nearest = own;
  return nearest;
}

Overview::Overview(const Records& records) : timings(compared(records.timings)) {
  std::map<std::string, std::size_t> places;
  const auto case_of = [&](const RecordOrigin& own) -> ReportedCase& {
    const auto [place, is_new] = places.try_emplace(own.case_text, cases.size());
    if (is_new) cases.push_back({own.case_text, own.id, own.operator_name, {}, {}, {}, {}, {}});
    return cases[place->second];
  };
  std::map<Status, Index> counts;
  Index judged = 0, failures = 0;
  for (const ReportedResult& own : records.results) {
    case_of(own).results.push_back(&own);
    ++counts[own.result.status];
    judged += is_judged(own.result.status);
    failures += is_failure(own.result.status);
    for (const TensorVerdict& tensor : own.result.verdict.tensors)
      for (const Clause& clause : tensor.clauses)
        if (clause.raised != 1) raised.push_back({&own, &tensor, &clause});
  }
  for (const ReportedContract& own : records.contracts) {
    case_of(own).contracts.push_back(&own);
    ++contracts;
    broken += own.equality.broken();
  }
  for (const ReportedContract& own : records.observations)
    case_of(own).observations.push_back(&own);
  for (const ReportedProblem& own : records.problems) case_of(own).problems.push_back(&own);
  Index failed_comparisons = 0;
  for (const ReportedComparison& own : records.comparisons) {
    case_of(own).comparisons.push_back(&own);
    failed_comparisons += is_failure(own.report.status);
  }
  for (const ReportedMutant& own : records.mutants) mutants.push_back(&own);
  std::ranges::stable_partition(
      mutants, [](const ReportedMutant* own) { return own->status == "SURVIVED"; });
  for (const Status status : {Status::failed, Status::mistrusted, Status::marginal, Status::passed,
                              Status::unsupported, Status::unavailable})
    if (counts[status] > 0) statuses.push_back({status, counts[status]});
  for (const ReportedEvidence& own : records.evidence) stale += own.stale;
  headline = failures > 0  ? fmt::format("{} of {} failed", failures,
                                         plural(judged, "judged result", "judged results"))
             : judged == 0 ? "nothing was judged"
                           : fmt::format("no failure among {}",
                                         plural(judged, "judged result", "judged results"));
  if (records.results.empty() && !timings.empty())
    headline = plural(static_cast<Index>(timings.size()), "timing", "timings");
  if (records.results.empty() && timings.empty() && !records.calibrations.empty())
    headline =
        plural(static_cast<Index>(records.calibrations.size()), "calibration", "calibrations");
  bool empty = records.results.empty() && timings.empty() && records.calibrations.empty();
  const auto add = [&](const std::string& part) {
    headline = empty ? part : headline + ", " + part;
    empty = false;
  };
  if (!records.comparisons.empty())
    add(fmt::format(
        "{} of {} failed", failed_comparisons,
        plural(static_cast<Index>(records.comparisons.size()), "comparison", "comparisons")));
  if (!mutants.empty())
    add(fmt::format(
        "{} of {} killed", mutants_that("KILLED"),
        plural(mutants_that("KILLED") + mutants_that("SURVIVED"), "mutant", "mutants")));
  if (const auto failed = std::ranges::count_if(
          timings, [](const auto& own) { return is_failure(own.timing->row.status); });
      failed > 0)
    headline += fmt::format(", {} failed", plural(failed, "timing", "timings"));
  if (broken > 0)
    headline += fmt::format(", {} broken", plural(broken, "bitwise contract", "bitwise contracts"));
  if (stale > 0) headline += fmt::format(", {} STALE", plural(stale, "result", "results"));
  if (!records.problems.empty())
    headline += fmt::format(
        ", {} expired or not needed",
        plural(static_cast<Index>(records.problems.size()), "raised limit", "raised limits"));
}

Index Overview::mutants_that(std::string_view status) const {
  return std::ranges::count(mutants, status, &ReportedMutant::status);
}

}  // namespace groundstate::harness
