// What all formats of a report say: how many results have which status, which belong to one case,
// which limits are raised, how fast what is. Everything is in the order of the input.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "harness/report/records.hpp"
#include "harness/report/speed.hpp"

namespace groundstate::harness {

struct StatusCount {
  Status status;
  Index count;
};

struct RaisedClause {
  const ReportedResult* result;
  const TensorVerdict* tensor;
  const Clause* clause;
};

// All that the records say of one case.
struct ReportedCase {
  std::string text, id, operator_name;
  std::vector<const ReportedResult*> results;
  std::vector<const ReportedContract*> contracts, observations;
  std::vector<const ReportedProblem*> problems;
  std::vector<const ReportedComparison*> comparisons;

  Index broken() const;
  Status status() const;                  // the worst of all
  const ReportedResult* nearest() const;  // of the judged ones to its limit; may be null
};

// Points into the records, which must outlive it.
struct Overview {
  explicit Overview(const Records& records);

  std::string headline;               // "3 of 352 results failed, 1 bitwise contract broken"
  std::vector<StatusCount> statuses;  // without those that nothing has
  Index contracts = 0, broken = 0;
  Index stale = 0;  // results of evidence that are
  std::vector<ReportedCase> cases;
  std::vector<RaisedClause> raised;
  std::vector<ComparedTiming> timings;
  std::vector<const ReportedMutant*> mutants;  // survivors first

  Index mutants_that(std::string_view status) const;
};

std::string plural(Index count, std::string_view one, std::string_view many);
// FAILED and MISTRUSTED, MARGINAL, not judged, PASSED: 3 2 1 0.
int severity(Status status);

}  // namespace groundstate::harness
