// An operator whose paths are its mutants, beside the paths that they declare to be: what `run`
// runs and judges, it runs and judges of these.
#pragma once

#include "harness/mutants/mutant.hpp"

namespace groundstate::harness {

class MutatedOperator final : public Operator {
 public:
  // Those of `mutants` that can be run. Throws std::logic_error for a declared variant that the
  // operator has not.
  MutatedOperator(const Operator& op, std::vector<Mutant> mutants);

  const std::vector<Mutant>& mutants() const { return mutants_; }
  // As a variant of this operator, "padding_decay:single".
  PathVariant variant_of(const Mutant& mutant) const;
  // Nullptr for a right path.
  const Mutant* mutant(const PathVariant& variant) const;

  // The mutants whose right path is one that `run` takes by default, and those paths.
  std::vector<std::string> default_variants(const Case& c) const override;
  std::span<const Path> paths() const override { return paths_; }
  std::string run(const Case& c, const PathVariant& variant, const Tensors& inputs,
                  Tensors& outputs) const override;
  // Pairs of right paths are no matter of a mutant.
  std::vector<EqualVariants> equal_variants() const override { return {}; }

  // ---- as they are
  const Grammar& grammar() const override { return op_.grammar(); }
  std::string formula() const override { return op_.formula(); }
  std::vector<KeyValueHelp> regimes() const override { return op_.regimes(); }
  std::span<const Key> path_keys() const override { return op_.path_keys(); }
  std::vector<TensorSpec> inputs(const Case& c) const override { return op_.inputs(c); }
  std::vector<TensorSpec> outputs(const Case& c) const override { return op_.outputs(c); }
  std::vector<TensorSpec> judged_outputs(const Case& c) const override {
    return op_.judged_outputs(c);
  }
  void start(const Case& c, const Tensors& inputs, Tensors& outputs) const override {
    op_.start(c, inputs, outputs);
  }
  std::optional<std::string> violation(const Case& c, const Tensors& inputs,
                                       const Tensors& outputs) const override {
    return op_.violation(c, inputs, outputs);
  }
  Tensors judged(const Case& c, const Tensors& inputs, const Tensors& outputs) const override {
    return op_.judged(c, inputs, outputs);
  }
  Cost cost(const Case& c) const override { return op_.cost(c); }
  Case with_every_input(const Case& c) const override { return op_.with_every_input(c); }
  Case infer(const Case& c, const Tensors& inputs) const override { return op_.infer(c, inputs); }
  void validate(const Case& c, const Tensors& inputs) const override { op_.validate(c, inputs); }
  std::vector<Pair> pairs(const Case& c, const Tensors& inputs) const override {
    return op_.pairs(c, inputs);
  }
  PairOutputs oracle(const Case& c, const Tensors& inputs, const Pair& pair,
                     const Perturbation& how) const override {
    return op_.oracle(c, inputs, pair, how);
  }
  bool zero_by_definition(const Case& c, std::string_view tensor, const Pair& pair) const override {
    return op_.zero_by_definition(c, tensor, pair);
  }
  std::vector<Index> zero_rows(const Case& c, const Tensors& inputs, std::string_view tensor,
                               const Pair& pair) const override {
    return op_.zero_rows(c, inputs, tensor, pair);
  }
  Family family(std::string_view tensor) const override { return op_.family(tensor); }
  double elements_per_error(const Case& c, std::string_view tensor) const override {
    return op_.elements_per_error(c, tensor);
  }
  bool on_grid_by_nature(const Case& c) const override { return op_.on_grid_by_nature(c); }
  std::vector<CarriedState> carried_states() const override { return op_.carried_states(); }

  // ---- as of the declared path
  std::vector<Contract> contracts(const Case& c, const PathVariant& variant,
                                  const Tensors& inputs) const override {
    return op_.contracts(c, declared(variant), inputs);
  }
  double path_flops(const Case& c, const PathVariant& variant) const override {
    return op_.path_flops(c, declared(variant));
  }
  std::optional<std::string> unsupported(const Case& c, const PathVariant& variant) const override {
    return op_.unsupported(c, declared(variant));
  }
  PairOutputs emulate(const Case& c, const PathVariant& variant, const Tensors& inputs,
                      const Pair& pair) const override {
    return op_.emulate(c, declared(variant), inputs, pair);
  }
  PairOutputs form_terms(const Case& c, const PathVariant& form, const RecipeUnits& recipe,
                         const Tensors& inputs, const Pair& pair,
                         const InternalUnits& units) const override {
    return op_.form_terms(c, declared(form), recipe, inputs, pair, units);
  }
  bool exact_gates(const PathVariant& variant) const override {
    return op_.exact_gates(declared(variant));
  }
  FormMeaning form_meaning(const PathVariant& form) const override {
    return op_.form_meaning(declared(form));
  }
  bool same_alone(const PathVariant& variant) const override {
    return op_.same_alone(declared(variant));
  }
  Index resume_interval(const PathVariant& variant) const override {
    return op_.resume_interval(declared(variant));
  }

 private:
  PathVariant declared(const PathVariant& variant) const;

  const Operator& op_;
  std::vector<Mutant> mutants_;
  std::vector<Path> paths_;
};

}  // namespace groundstate::harness
