// Judges outputs that somebody made, taken from a fixture file that was found good
// (check_fixture.hpp).
//
// The recipe is the one declared, else it follows from the case's dtype, and then the stricter
// recipes that the outputs also meet are reported. The form is the path (with its chunk length)
// whose rounding points and order the kernel has; where it is not declared, the recurrence and the
// chunked form are both emulated, the farther from the oracle counts, and a violation of clauses B
// and E alone is MARGINAL.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "harness/run/check_fixture.hpp"
#include "harness/run/judge_case.hpp"
#include "harness/run/result.hpp"

namespace groundstate::harness {

// How two sets of outputs agree, tensor by tensor.
struct Agreement {
  std::string path, tensor;
  double relative_norm = 0, largest = 0;  // ||a - b|| / ||b||, max |a - b|
  Index elements = 0, different = 0;      // differing in value
  std::optional<std::string> first_difference;
};

struct Comparison {
  CaseReport report;
  std::vector<std::string> missing;  // "o of path user"
  std::vector<std::string> remarks;  // stricter recipes that are met too
  std::vector<Agreement> agreements;
};

// A submission as the judge takes it, without its outputs and emulations.
Candidate submitted_candidate(const CheckedFixture& given, const Submission& submission);

Comparison compare_case(const CheckedFixture& fixture, const CompareOptions& options);

}  // namespace groundstate::harness
