// One result = one (case, path): status, verdict, reproducer; and its line of the JSON record.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "harness/case/case_file.hpp"
#include "harness/judge/verdict.hpp"
#include "harness/run/equality.hpp"
#include "harness/run/recorded_output.hpp"
#include "harness/run/stage_report.hpp"

namespace groundstate::harness {

// What is known of the oracle's own error, on one output (certificate.hpp).
struct OracleCertificate {
  std::string tensor;
  Triple exact;        // |oracle - long double|, in the units of the recipe `exact`
  double largest = 0;  // the same in units of the recipe that the path was judged by
  bool good = true;
};

// Of gradients: the oracle against forward-mode derivatives, over the pairs that were looked at.
struct GradientCertificate {
  Index pairs = 0;
  double worst = 0;  // |<J dx, dy> - <dx, J^T dy>| / its bound
};

struct Result {
  std::string path;    // canonical text of the variant, or the name given in a file
  std::string recipe;  // the one it was judged by
  std::string form;    // declared form, empty if none
  std::string device = "cpu";
  Status status = Status::passed;
  double seconds = 0;
  bool memory_violated = false;  // wrote outside its outputs; no raised limit covers that
  bool unfinished = false;       // crashed or timed out, and says so in its note
  PathVerdict verdict;
  std::optional<StageReport> stages;           // where they were asked for, or given
  std::vector<OracleCertificate> certificate;  // where it was asked for
  std::optional<GradientCertificate> gradients;
  std::vector<RecordedOutput> recorded;  // where it was asked for (run_case.hpp)
  std::string note;  // "num_steps 4 -> 2", why it is unsupported, "not rounded", ...
  std::string reproducer;

  // A result is as bad as the worst of its stages.
  void set_stages(StageReport report);
};

// What came of one case.
struct CaseReport {
  std::string case_text, id, operator_name, reason;  // reason: of the .cases line, if any
  std::string request;  // digest of all that was asked of the case; empty where it was not run
  std::vector<Result> results;
  std::vector<EqualityResult> equalities;
  std::vector<std::string> raised_limit_problems;  // expired, or not needed
  bool mistrusted = false;
  Index pairs = 0, sampled = 0;

  bool failed() const;  // anything that makes the exit code 1
  Index judged() const;
};

// One line per result, per bitwise contract or observation of bits, and per raised limit that has
// expired or that nothing needs; `records` of each is their number, so that a reader knows a whole
// case. A reader ignores keys that it does not know; schema is another number when a known key
// changes its meaning.
inline constexpr int record_schema = 1;
std::vector<nlohmann::json> to_records(const CaseReport& report);

// Where the program was built and runs: compiler, flags, processor threads.
nlohmann::json environment();

// Lifts the failures that a raised limit covers; notes limits that have expired or that nothing
// needed.
void apply_raised_limits(CaseReport& report, const std::vector<RaisedLimit>& raised);

}  // namespace groundstate::harness
