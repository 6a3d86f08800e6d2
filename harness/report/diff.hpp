// What changed from one set of records to another, result by result.
//
// Results are the same where case and path are, contracts where case and name are; of several the
// last one counts.
//
//   fixed   failed before, does not now; or was MARGINAL and is PASSED
//   broken  did not fail before, does now; or was PASSED and is MARGINAL
//   moved   of one status, and the worst value / limit is more than 2 times what it was, or less
//           than half; ratios below 0.01 count as 0.01
//   new     not there before, or not judged (UNSUPPORTED, UNAVAILABLE)
//   gone    the reverse
#pragma once

#include <string>
#include <vector>

#include "harness/report/records.hpp"

namespace groundstate::harness {

enum class ChangeKind : std::uint8_t { broken, fixed, moved, added, gone };
std::string_view name_of(ChangeKind kind);

struct ReportChange {
  ChangeKind kind;
  std::string case_text, what;  // what: the path, the contract, the raised limit
  std::string before, after;    // "PASSED", "FAILED A.max 12 / 3 (o)"; empty where it is not there
  std::string finding;          // of what is now
  std::string reproducer;
};

struct ReportDifference {
  std::vector<ReportChange> changes;  // broken ones first, each kind in the order of the input
  Index same = 0;

  Index count(ChangeKind kind) const;
  bool any_broken() const { return count(ChangeKind::broken) > 0; }
};

ReportDifference difference(const Records& before, const Records& after);

}  // namespace groundstate::harness
