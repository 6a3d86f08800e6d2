// Judges the outputs of any number of paths of one case, pair by pair.
//
// Oracle and sensitivities of a pair are computed once, all candidates are judged against them, and
// they are dropped: memory is the outputs, the scaled errors of the judged elements, and a few
// pairs. Pairs are measured in parallel and judged in their order, so a verdict has the same bits
// for any number of threads.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "harness/judge/verdict.hpp"
#include "harness/operators/judgeable.hpp"
#include "harness/run/recorded_output.hpp"
#include "harness/run/scale.hpp"

namespace groundstate::harness {

// Of one output, element by element in fp64: the oracle, the unit of an honest error, and what the
// recipe's roundoffs of operands, state and gates make of it (scaled_error.hpp). The unit is NaN
// where no pair lies, and infinite where a pair has no sensitivities.
struct MeasuredOutput {
  Tensor oracle, unit, operand, carry, gate;
};
std::vector<MeasuredOutput> unmeasured(const std::vector<TensorSpec>& judged_outputs);

// Outputs to be judged, from one of our paths or from somebody else's file.
struct Candidate {
  const Tensors* outputs = nullptr;  // Operator::judged() of them; absent tensors are not judged
  // Instead of them what was recorded, for each output of the operator: what is kept is judged by
  // the clauses pattern, A, C and D, whole pairs by B and E as well, moments by E. Pairs that
  // contribute to what is kept must be among those with sensitivities.
  const std::vector<std::optional<KnownOutput>>* known = nullptr;
  std::vector<ElementType> types;  // declared type of each output of the operator
  PathDeclaration declaration;
  PathVariant form;  // what it says, or is taken, to be
  Index chunk = 0;   // of its form, for "where"; 0: none
  Index carry_interval = 1, gate_interval = 1;
  // Emulations of the same path; of several the one that is farther off counts, element by element.
  std::vector<PathVariant> emulations;
  std::vector<MeasuredOutput>* measured = nullptr;  // where wanted: unmeasured() before
};

// The intervals of the fields that follow from recipe and chunk: a running gate cancels over a
// chunk unless the path keeps `exact_gates`, and a state is rounded once a chunk where the recipe
// says so.
void set_intervals(Candidate& candidate, bool exact_gates);

struct CaseJudgement {
  std::vector<PathVerdict> paths;  // one per candidate
  bool mistrusted = false;
  Index pairs = 0, sampled = 0;
};

// `between` is called after each batch of pairs with the number done; it may throw to stop.
CaseJudgement judge_case(const Judgeable& op, const Case& c, const Tensors& inputs,
                         const std::vector<Pair>& pairs, const std::vector<bool>& sampled,
                         const std::vector<Candidate>& candidates,
                         const std::function<void(Index)>& between = {});

WantedFields wanted_fields(const std::vector<Candidate>& candidates);

}  // namespace groundstate::harness
