// What `run -o` and `compare -o` (harness/run/result.hpp), `versus -o`
// (harness/run/versus_case.hpp), `bench -o` (harness/clock/bench_row.hpp), `mutate -o`
// (harness/mutants/score.hpp) and `calibrate -o` (harness/calibrate/record.hpp) have written, read
// back; and evidence (*.h5), which has the lines of results case by case.
//
// A line is one object: a result, a bitwise contract, an observation of bits that nobody promises,
// a raised limit that is a problem, a comparison of two implementations, a timing, a mutant, or a
// part of a calibration. Blank lines are
// skipped. The note of a result from evidence says so, with device and date, and why it is STALE
// where it is. Throws UsageError for a file that cannot be read or holds no record, for evidence
// that is not as it was written, and for a line that is no such object, naming file, line and what
// is wrong with it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "harness/calibrate/record.hpp"
#include "harness/clock/bench_row.hpp"
#include "harness/run/result.hpp"
#include "harness/run/versus_case.hpp"

namespace groundstate::harness {

// The case of a record, and the line it comes from.
struct RecordOrigin {
  std::string source;  // file:line
  std::string case_text, id, operator_name;
};

struct ReportedResult : RecordOrigin {
  Result result;
  std::string reason;  // of the .cases line
  std::string stages;  // which diverges first, in a sentence; empty where none were asked for
  bool stage_diverges = false;
  // Where the worst elements lie, in their order, by tensor; and which tensors bring a picture.
  std::vector<std::vector<std::string>> worst_at;
  std::vector<bool> pictured;

  // Of the clause nearest to its limit; 0 without any.
  double ratio() const;
  // "E.locality 3.1 / 2 (o)"
  std::string worst_clause() const;
  std::string finding() const;  // of all tensors, or the note
};

struct ReportedContract : RecordOrigin {
  EqualityResult equality;
};

struct ReportedProblem : RecordOrigin {
  std::string text;
};

// Of the verdicts against the oracle only status and finding.
struct ReportedComparison : RecordOrigin {
  VersusReport report;

  std::string paths() const;  // "chunked:single against recurrent:single"
};

struct ReportedTiming : RecordOrigin {
  BenchRow row;
};
// A known-wrong implementation, and what saw it.
struct ReportedMutant {
  std::string source;  // file:line
  std::string operator_name, name, declares, defect, needs;
  std::string status;                     // KILLED, SURVIVED, UNSHOWN
  std::string check, case_text, message;  // of the first kill
  Index cases = 0, seen_on = 0;
  std::vector<std::string> seen_by;  // "A.max x3"
};
// A file of evidence.
struct ReportedEvidence {
  std::string file, device, date, driver, toolkit;
  Index results = 0, stale = 0;
  std::vector<std::string> reasons;  // why some are STALE: "gpu.fused: ... has changed", each once
};

struct Records {
  std::vector<std::string> files;
  std::vector<ReportedEvidence> evidence;
  std::vector<ReportedResult> results;
  std::vector<ReportedContract> contracts;
  std::vector<ReportedContract> observations;  // of bits that nobody promises
  std::vector<ReportedProblem> problems;
  std::vector<ReportedComparison> comparisons;
  std::vector<ReportedTiming> timings;
  std::vector<ReportedMutant> mutants;
  std::vector<CalibrationRecord> calibrations;
  std::vector<std::string> environments;  // each once, as text
};

Records read_records(const std::vector<std::string>& files);

// FAILED or MISTRUSTED.
bool is_failure(Status status);
bool is_judged(Status status);

// A number for a person; "NaN" and "infinite" where it is none.
std::string short_number(double x);
// Control characters, which neither HTML nor XML can hold, as U+FFFD.
std::string printable(std::string_view text);

}  // namespace groundstate::harness
