// An operator that goes wrong where a test says so; in all else it is the one that it stands for.
#pragma once

#include <functional>

#include "harness/operators/forwarding_operator.hpp"

namespace groundstate::harness {

class FaultyOperator : public ForwardingOperator {
 public:
  using Fault = std::function<void(const PathVariant&)>;
  using ForwardingOperator::ForwardingOperator;

  Fault in_run, in_judge;                                       // before the work on a path
  std::function<void()> in_pairs;                               // before anything is judged
  std::function<void(const PathVariant&, Tensors&)> after_run;  // with what the path has written

  std::string run(const Case& c, const PathVariant& v, const Tensors& inputs,
                  Tensors& outputs) const override {
    if (in_run) in_run(v);
    std::string note = own().run(c, v, inputs, outputs);
    if (after_run) after_run(v, outputs);
    return note;
  }
  std::vector<Pair> pairs(const Case& c, const Tensors& inputs) const override {
    if (in_pairs) in_pairs();
    return own().pairs(c, inputs);
  }
  PairOutputs form_terms(const Case& c, const PathVariant& form, const RecipeUnits& recipe,
                         const Tensors& inputs, const Pair& pair,
                         const InternalUnits& units) const override {
    if (in_judge) in_judge(form);
    return own().form_terms(c, form, recipe, inputs, pair, units);
  }
};

}  // namespace groundstate::harness
