// Judges evidence again, with the oracle and the sensitivities of this program.
//
// What is kept of a result (run/output_sample.hpp) is judged by pattern and A, where it is whole
// pairs by B and E as well, and the moments of the rest by E (judge/window_moments.hpp). FAILED is
// what was recorded as FAILED or MISTRUSTED, a bitwise contract that was broken, and what does not
// fit together:
//
//   the sample fails one of these clauses, and the verdict that was recorded is PASSED or MARGINAL
//   (C and D are of a tensor as a whole)
//   the verdict contradicts its own clauses
//   a contract was held, and the digests of its two outputs differ
//   elements, moments or texts are not those that were written, or not of this case
//
// A result is STALE where the sources of its path are not those of this program (source.hpp); it is
// judged all the same, unless the path, its variant or its recipe is gone or no longer takes the
// case. STALE alone is no failure: `doctor` asks for evidence that is not.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "harness/case/case_line.hpp"
#include "harness/evidence/evidence.hpp"

namespace groundstate::harness {

struct JudgedResult {
  std::string path, device;
  bool judged = true;
  Status status = Status::passed;     // where it was judged
  std::string stale;                  // why it is, if it is
  std::vector<std::string> problems;  // why it FAILED: "o: the sample contradicts ..."
};

struct JudgedCase {
  std::string text, id, operator_name;
  std::vector<JudgedResult> results;
  Index contracts = 0;
  std::vector<std::string> problems;  // of contracts and of the case as a whole

  bool failed() const;
};

// The case that this is evidence of. Throws UsageError, naming file and case, where the line is no
// case of this program or not the one of its id.
Case case_of(const Evidence& evidence, const EvidenceCase& own);

// `tick` is called between batches of pairs, and may throw to stop.
JudgedCase judge_evidence(const Evidence& evidence, const EvidenceCase& own, const Case& c,
                          const std::function<void()>& tick = {});

}  // namespace groundstate::harness
