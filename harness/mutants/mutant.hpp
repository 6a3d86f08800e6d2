// A known-wrong implementation of an operator, by which the checks are themselves tested: one that
// no check sees is a defect of the checks or of their inputs.
//
// A mutant is a path of the reference with one defect. It declares to be that path, and is run and
// judged as one: clauses, memory, bitwise contracts. Its defect is an edit of what the path is
// given (inputs, options, another variant than the declared one) or of what it wrote, or one step
// of the path in a wrong form, whichever is shortest.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "harness/operators/operator.hpp"

namespace groundstate::harness {

// What a mutant is a copy of.
class RightPath {
 public:
  RightPath(const Operator& op, PathVariant variant) : op_(op), variant_(std::move(variant)) {}

  // `outputs` hold what they hold before a run (Operator::start).
  void operator()(const Case& c, const Tensors& inputs, Tensors& outputs) const {
    op_.run(c, variant_, inputs, outputs);
  }
  // The outputs of another run, by themselves.
  Tensors fresh(const Case& c, const Tensors& inputs, const Tensors& like) const;
  // Another variant of the operator.
  void as(std::string_view variant, const Case& c, const Tensors& inputs, Tensors& outputs) const;

 private:
  const Operator& op_;
  PathVariant variant_;
};

using Defect = std::function<void(const RightPath& right, const Case& c, const Tensors& inputs,
                                  Tensors& outputs)>;

struct Mutant {
  std::string name;
  std::string declares;     // the variant that it claims to be: "chunked:single"
  std::string defect;       // in one sentence
  std::string contradicts;  // the file of the tree that says what is right
  Defect run;               // absent where no input of an everyday size shows the defect
  std::string needs = {};   // then: the input or the check that would
};

// Of one operator, in the order in which they are listed; names are unique.
const std::vector<Mutant>& mutants_of(std::string_view operator_name);

std::vector<Mutant> decayed_sum_mutants();
std::vector<Mutant> decayed_sum_backward_mutants();
std::vector<Mutant> mamba3_step_mutants();
std::vector<Mutant> selective_state_update_mutants();
std::vector<Mutant> simple_gla_mutants();
std::vector<Mutant> simple_gla_backward_mutants();

}  // namespace groundstate::harness
