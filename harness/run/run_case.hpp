// Runs paths of one case against the oracle and checks its bitwise contracts.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "harness/case/case_file.hpp"
#include "harness/operators/operator.hpp"
#include "harness/run/judge_case.hpp"
#include "harness/run/result.hpp"

namespace groundstate::harness {

// What is being done to a case.
struct Step {
  std::optional<std::size_t> path;  // index into CaseReport::results; absent: for all of them
  std::string doing;                // "while running", "while checking the contract ..."
};

struct GivenStages;

struct RunOptions {
  std::vector<std::string> paths;  // variants as text; empty: the operator's default ones
  std::optional<Index> pairs;      // judged with sensitivities; absent: by cost (sample.hpp)
  bool equalities = true;
  // Every path that is not exact is held against its own emulation too, as one on a device is.
  bool emulated = false;
  bool determinism = false;  // observe what no contract promises as well
  std::string program;       // for that: a program of ours (EqualityOptions)
  bool checks = false;       // properties instead of the oracle (properties.hpp)
  bool certificate = false;  // of the oracle (certificate.hpp)
  bool stages = false;       // of the paths that provide theirs (judge_stages.hpp)
  // Elements of an output and pair to be recorded (output_sample.hpp); absent: nothing is.
  std::optional<Index> recorded_elements;
  double max_flops = 1e12;                    // of one path; above it the path is UNSUPPORTED
  double max_bytes = 4.0 * (Index{1} << 30);  // of the inputs and the outputs of all paths
  // Called between steps; may throw Interrupted.
  std::function<void()> tick;
  // Called before each step.
  std::function<void(const Step&)> at;
  // Called with the outputs of each path that ran, before they are dropped.
  std::function<void(const Result&, const Tensors& inputs, const Tensors& outputs)> save;
  // Called with the stages of each path that has any, where `stages` asks for them.
  std::function<void(const Result&, const GivenStages&)> save_stages;
};

// Everything that can be wrong with a case before it is run: contradicting keys, overflowing
// shapes, more memory than the machine has. Throws UsageError.
void check_case(const Operator& op, const Case& c);

// A case before it is run: its results have all but what comes of running, and paths that cannot
// take the case are UNSUPPORTED already.
struct CasePlan {
  CaseReport report;
  std::vector<PathVariant> variants;  // one per result
  std::vector<bool> wanted;           // which of them are to be run

  std::vector<std::size_t> wanted_paths() const;
};
CasePlan plan_case(const Operator& op, const CaseEntry& entry, const RunOptions& options);

// The report of the plan with the results of the wanted paths and their contracts. No limit is
// raised yet.
CaseReport run_plan(const Operator& op, const Case& c, const CasePlan& plan,
                    const RunOptions& options);

// Outputs of a variant of ours as the judge takes them; the element types are those of `outputs`.
// `emulated`: RunOptions.
Candidate candidate_of(const Operator& op, const PathVariant& variant,
                       std::vector<ElementType> types, bool emulated = false);

// Both of them, and the raised limits of the entry.
CaseReport run_case(const Operator& op, const CaseEntry& entry, const RunOptions& options);

}  // namespace groundstate::harness
