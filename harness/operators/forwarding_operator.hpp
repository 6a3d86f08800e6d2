// An operator that is another one in all that a class derived from it does not override.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "harness/operators/operator.hpp"

namespace groundstate::harness {

class ForwardingOperator : public Operator {
 public:
  // `own` outlives it.
  explicit ForwardingOperator(const Operator& own) : own_(own) {}

  const Grammar& grammar() const override { return own_.grammar(); }
  std::string formula() const override { return own_.formula(); }
  std::vector<KeyValueHelp> regimes() const override { return own_.regimes(); }
  std::span<const Key> path_keys() const override { return own_.path_keys(); }
  std::span<const Path> paths() const override { return own_.paths(); }
  std::vector<EqualVariants> equal_variants() const override { return own_.equal_variants(); }
  std::vector<std::string> default_variants(const Case& c) const override {
    return own_.default_variants(c);
  }
  std::vector<TensorSpec> inputs(const Case& c) const override { return own_.inputs(c); }
  std::vector<TensorSpec> outputs(const Case& c) const override { return own_.outputs(c); }
  std::vector<Contract> contracts(const Case& c, const PathVariant& v,
                                  const Tensors& inputs) const override {
    return own_.contracts(c, as(v), inputs);
  }
  void start(const Case& c, const Tensors& inputs, Tensors& outputs) const override {
    own_.start(c, inputs, outputs);
  }
  std::optional<std::string> violation(const Case& c, const Tensors& inputs,
                                       const Tensors& outputs) const override {
    return own_.violation(c, inputs, outputs);
  }
  std::vector<TensorSpec> judged_outputs(const Case& c) const override {
    return own_.judged_outputs(c);
  }
  Tensors judged(const Case& c, const Tensors& inputs, const Tensors& outputs) const override {
    return own_.judged(c, inputs, outputs);
  }
  double elements_per_error(const Case& c, std::string_view tensor) const override {
    return own_.elements_per_error(c, tensor);
  }
  bool same_alone(const PathVariant& v) const override { return own_.same_alone(as(v)); }
  Cost cost(const Case& c) const override { return own_.cost(c); }
  double path_flops(const Case& c, const PathVariant& v) const override {
    return own_.path_flops(c, as(v));
  }
  Case with_every_input(const Case& c) const override { return own_.with_every_input(c); }
  Case infer(const Case& c, const Tensors& inputs) const override { return own_.infer(c, inputs); }
  void validate(const Case& c, const Tensors& inputs) const override { own_.validate(c, inputs); }
  std::optional<std::string> unsupported(const Case& c, const PathVariant& v) const override {
    return own_.unsupported(c, as(v));
  }
  std::string run(const Case& c, const PathVariant& v, const Tensors& inputs,
                  Tensors& outputs) const override {
    return own_.run(c, as(v), inputs, outputs);
  }
  std::unique_ptr<DeviceRun> prepare(const Case& c, const PathVariant& v, const Tensors& inputs,
                                     const Tensors& outputs) const override {
    return own_.prepare(c, as(v), inputs, outputs);
  }
  std::vector<Pair> pairs(const Case& c, const Tensors& inputs) const override {
    return own_.pairs(c, inputs);
  }
  PairOutputs oracle(const Case& c, const Tensors& inputs, const Pair& pair,
                     const Perturbation& perturbation) const override {
    return own_.oracle(c, inputs, pair, perturbation);
  }
  PairOutputs emulate(const Case& c, const PathVariant& v, const Tensors& inputs,
                      const Pair& pair) const override {
    return own_.emulate(c, as(v), inputs, pair);
  }
  std::unique_ptr<Judgeable> stages(const PathVariant& v) const override {
    return own_.stages(as(v));
  }
  bool zero_by_definition(const Case& c, std::string_view tensor, const Pair& pair) const override {
    return own_.zero_by_definition(c, tensor, pair);
  }
  std::vector<Index> zero_rows(const Case& c, const Tensors& inputs, std::string_view tensor,
                               const Pair& pair) const override {
    return own_.zero_rows(c, inputs, tensor, pair);
  }
  Family family(std::string_view tensor) const override { return own_.family(tensor); }
  PairOutputs form_terms(const Case& c, const PathVariant& form, const RecipeUnits& recipe,
                         const Tensors& inputs, const Pair& pair,
                         const InternalUnits& units) const override {
    return own_.form_terms(c, as(form), recipe, inputs, pair, units);
  }
  bool exact_gates(const PathVariant& v) const override { return own_.exact_gates(as(v)); }
  FormMeaning form_meaning(const PathVariant& form) const override {
    return own_.form_meaning(as(form));
  }
  bool on_grid_by_nature(const Case& c) const override { return own_.on_grid_by_nature(c); }
  std::vector<std::string> linear_inputs(const Case& c) const override {
    return own_.linear_inputs(c);
  }
  std::vector<std::string> nonlinear_outputs() const override { return own_.nonlinear_outputs(); }
  std::vector<std::string> gate_inputs() const override { return own_.gate_inputs(); }
  bool independent_sequences(const Case& c) const override { return own_.independent_sequences(c); }
  std::vector<std::string> adjoint_outputs() const override { return own_.adjoint_outputs(); }
  Tensors size_inputs(const Case& c, const Tensors& inputs) const override {
    return own_.size_inputs(c, inputs);
  }
  Tensors term_sizes(const Case& c, const PathVariant& v, const Tensors& inputs,
                     const Tensors& sums) const override {
    return own_.term_sizes(c, as(v), inputs, sums);
  }
  std::vector<Euler> euler_identities() const override { return own_.euler_identities(); }
  std::vector<Residual> residuals(const Case& c, const Tensors& inputs, const Tensors& outputs,
                                  const Tensors& sizes) const override {
    return own_.residuals(c, inputs, outputs, sizes);
  }
  std::vector<ClosedForm> closed_forms(const Case& c, const Tensors& inputs) const override {
    return own_.closed_forms(c, inputs);
  }
  PairOutputs extended_oracle(const Case& c, const Tensors& inputs,
                              const Pair& pair) const override {
    return own_.extended_oracle(c, inputs, pair);
  }
  std::optional<AdjointIdentity> adjoint_identity(const Case& c, const Tensors& inputs,
                                                  const Pair& pair) const override {
    return own_.adjoint_identity(c, inputs, pair);
  }
  std::vector<CarriedState> carried_states() const override { return own_.carried_states(); }
  Index resume_interval(const PathVariant& v) const override { return own_.resume_interval(as(v)); }

 protected:
  const Operator& own() const { return own_; }
  // The other operator's variant that stands for one of this.
  virtual PathVariant as(const PathVariant& variant) const { return variant; }

 private:
  const Operator& own_;
};

}  // namespace groundstate::harness
