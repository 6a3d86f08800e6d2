#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "harness/doctor/checks.hpp"

namespace groundstate::harness {
namespace {

// The cheapest hard input that has a pair, with that pair.
struct Smallest {
  const CaseEntry* entry = nullptr;
  Tensors inputs;
  Pair pair;
};

std::optional<Smallest> smallest(const Operator& op, const HardInputs& inputs) {
  std::vector<const CaseEntry*> entries;
  for (const CaseEntry& entry : inputs.entries) entries.push_back(&entry);
  std::ranges::stable_sort(entries, {}, [&](const CaseEntry* entry) {
    const Cost cost = op.cost(entry->value);
    return cost.flops + cost.bytes;
  });
  for (const CaseEntry* const entry : entries) {
    Tensors own = generate(op.inputs(entry->value));
    for (const Pair& pair : op.pairs(entry->value, own))
      if (pair.length > 0) return Smallest{entry, std::move(own), pair};
  }
  return std::nullopt;
}

}  // namespace

Finding check_certificate(const Operator& op, const HardInputs& inputs) {
  Finding result{"certificate", op.grammar().operator_name};
  const bool gradients = op.grammar().operator_name.ends_with(".backward");
  result.note = gradients ? "long double, forward-mode derivatives" : "long double";
  const std::optional<Smallest> own = smallest(op, inputs);
  if (!own) return result;  // without inputs others have something to say
  const Case& c = own->entry->value;
  const PairOutputs oracle = op.oracle(c, own->inputs, own->pair),
                    extended = op.extended_oracle(c, own->inputs, own->pair);
  bool same_shapes = extended.size() == oracle.size();
  for (std::size_t i = 0; same_shapes && i < oracle.size(); ++i)
    same_shapes = extended[i].rows() == oracle[i].rows() && extended[i].cols() == oracle[i].cols();
  if (extended.empty())
    result.missing.emplace_back("nothing bounds the error of its oracle (extended_oracle)");
  else if (!same_shapes)
    result.missing.push_back(fmt::format(
        "its extended oracle has other outputs than the oracle on '{}'", c.canonical()));
  if (gradients && !op.adjoint_identity(c, own->inputs, own->pair))
    result.missing.emplace_back(
        "its gradients are not set against forward-mode derivatives (adjoint_identity)");
  return result;
}

}  // namespace groundstate::harness
