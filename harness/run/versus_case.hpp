// Two implementations of one problem against each other: paths of ours, or outputs of a file.
//
// Each is judged against the oracle by the clauses that need no emulation, and the two are compared
// element by element in the units that both recipes have there (harness/judge/agreement.hpp). An
// honest pair keeps to the limits that follow; whether it does is the verdict, and what an allclose
// would have to allow for it is the recommended tolerance.
#pragma once

#include <array>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "harness/judge/agreement.hpp"
#include "harness/run/check_fixture.hpp"
#include "harness/run/judge_case.hpp"

namespace groundstate::harness {

inline constexpr const char* versus_kind = "versus";  // of its records

struct Implementation {
  std::string name;
  Tensors judged;                        // Operator::judged() of its outputs
  Candidate candidate;                   // all but the outputs
  std::optional<std::string> violation;  // of memory that was not its own
};

// Throws what run_variant throws.
Implementation run_implementation(const Operator& op, const Case& c, const PathVariant& variant,
                                  const Tensors& inputs);
Implementation submitted_implementation(const CheckedFixture& given, const Submission& submission,
                                        const Tensors& inputs);

struct VersusTensor {
  std::string tensor;
  Status status = Status::passed;
  std::array<std::string, 2> types;  // of the outputs at hand
  std::array<Promise, 2> promises;
  std::array<TensorVerdict, 2> verdicts;  // against the oracle
  MeasuredAgreement agreement;
  std::optional<std::string> first_difference;  // in bits; in value where the types differ
  std::string worst;                            // element with the largest difference
  // Why the recommended tolerance is what it is: the terms of rtol, "2^-8 + 24 x 2^-24 + ...", and
  // the element that atol is for, with what its unit is made of.
  std::string relative, decisive;
};

struct VersusReport {
  std::string case_text, id, operator_name;
  std::array<std::string, 2> names, recipes, forms;  // forms: empty where none is declared
  std::array<RecipeUnits, 2> units;
  Status status = Status::passed;
  std::string note;
  std::vector<VersusTensor> tensors;
  Index pairs = 0, sampled = 0;
  std::string reproducer;
};

// `pairs` as in RunOptions; `tick` may throw to stop.
VersusReport versus_case(const Operator& op, const Case& c, const Tensors& inputs,
                         const std::array<Implementation, 2>& sides, std::optional<Index> pairs,
                         const std::function<void()>& tick);

nlohmann::json to_record(const VersusReport& report);

}  // namespace groundstate::harness
