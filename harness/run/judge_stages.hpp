// Stage bisection: the named intermediates of a path (Operator::stages) against the double ones, by
// the judge of the outputs and in the same units.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "harness/operators/operator.hpp"
#include "harness/run/judge_case.hpp"
#include "harness/run/stage_report.hpp"

namespace groundstate::harness {

// The first path of an operator that has stages, if any.
std::optional<PathVariant> staged_variant_of(const Operator& op);
// With chunks of that length. Throws UsageError where no path has any, and for a length that is not
// accepted.
PathVariant staged_variant(const Operator& op, std::string_view chunk);

// Some of the stages of a variant, by name.
struct GivenStages {
  PathVariant form;  // whose stages they are; its recipe is what they are emulated in
  Tensors tensors;
  std::vector<std::string> missing;  // those that are not there
};

// Those that a variant of ours computes, in the types of its outputs: fp64 of an exact one.
GivenStages own_stages(const Operator& op, const Case& c, const PathVariant& variant,
                       const Tensors& inputs);

// `candidate` says what its outputs are to be judged by; `sampled` as in judge_case(), of
// Operator::pairs().
StageReport judge_stages(const Operator& op, const Case& c, const Tensors& inputs,
                         const std::vector<bool>& sampled, Candidate candidate,
                         const GivenStages& given);

}  // namespace groundstate::harness
