#include "harness/mutants/mutated_operator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "harness/case/path_variant.hpp"

namespace groundstate::harness {

MutatedOperator::MutatedOperator(const Operator& op, std::vector<Mutant> mutants)
    : ForwardingOperator(op),
      mutants_(std::move(mutants)),
      paths_(op.paths().begin(), op.paths().end()) {
  std::erase_if(mutants_, [](const Mutant& mutant) { return !mutant.run; });
  for (const Mutant& mutant : mutants_) {
    const Path* const right = op.path(parse_path_variant(mutant.declares, op.path_keys()).path);
    if (right == nullptr)
      throw std::logic_error(fmt::format("{} declares to be {}, which {} has not", mutant.name,
                                         mutant.declares, op.grammar().operator_name));
    paths_.push_back(*right);
    paths_.back().name = mutant.name;
    paths_.back().summary = mutant.defect;
  }
}

PathVariant MutatedOperator::variant_of(const Mutant& mutant) const {
  PathVariant variant = parse_path_variant(mutant.declares, path_keys());
  variant.path = mutant.name;
  return variant;
}

const Mutant* MutatedOperator::mutant(const PathVariant& variant) const {
  const auto found = std::ranges::find(mutants_, variant.path, &Mutant::name);
  return found == mutants_.end() ? nullptr : &*found;
}

EqualVariants MutatedOperator::with_its_right_path(const Mutant& mutant) const {
  const std::string wrong = variant_of(mutant).text(path_keys()),
                    right = parse_path_variant(mutant.declares, path_keys()).text(path_keys());
  return {fmt::format("{} = {}", wrong, right), wrong, right, "the case does not show the mutant"};
}

std::vector<EqualVariants> MutatedOperator::equal_variants() const {
  std::vector<EqualVariants> pairs;
  for (const Mutant& mutant : mutants_) pairs.push_back(with_its_right_path(mutant));
  return pairs;
}

PathVariant MutatedOperator::as(const PathVariant& variant) const {
  PathVariant result = variant;
  if (const Mutant* const wrong = mutant(variant))
    result.path = parse_path_variant(wrong->declares, path_keys()).path;
  return result;
}

std::vector<std::string> MutatedOperator::default_variants(const Case& c) const {
  const std::vector<std::string> known = own().default_variants(c);
  std::vector<std::string> right, wrong;
  for (const Mutant& mutant : mutants_) {
    if (std::ranges::find(known, mutant.declares) == known.end()) continue;
    wrong.push_back(variant_of(mutant).text(path_keys()));
    if (std::ranges::find(right, mutant.declares) == right.end()) right.push_back(mutant.declares);
  }
  right.insert(right.end(), wrong.begin(), wrong.end());
  return right;
}

std::string MutatedOperator::run(const Case& c, const PathVariant& variant, const Tensors& inputs,
                                 Tensors& outputs) const {
  const Mutant* const wrong = mutant(variant);
  if (wrong == nullptr) return own().run(c, variant, inputs, outputs);
  wrong->run(RightPath(own(), as(variant)), c, inputs, outputs);
  return "";
}

}  // namespace groundstate::harness
