// An operator whose paths are its mutants, beside the paths that they declare to be: what `run`
// runs and judges, it runs and judges of these.
#pragma once

#include "harness/mutants/mutant.hpp"
#include "harness/operators/forwarding_operator.hpp"

namespace groundstate::harness {

class MutatedOperator final : public ForwardingOperator {
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
  // Each mutant and its right path: where they agree, the case cannot show the mutant. Pairs of
  // right paths are no matter of a mutant.
  std::vector<EqualVariants> equal_variants() const override;
  EqualVariants with_its_right_path(const Mutant& mutant) const;

 protected:
  // The path that a mutant declares to be.
  PathVariant as(const PathVariant& variant) const override;

 private:
  std::vector<Mutant> mutants_;
  std::vector<Path> paths_;
};

}  // namespace groundstate::harness
