#include "harness/run/judge_stages.hpp"

#include <fmt/format.h>

#include "harness/case/error.hpp"
#include "harness/run/outputs.hpp"
#include "harness/run/places.hpp"
#include "reference/core/parallel.hpp"

namespace groundstate::harness {

std::optional<PathVariant> staged_variant_of(const Operator& op) {
  for (const Path& path : op.paths())
    if (const PathVariant variant{path.name, {}, ""}; op.stages(variant) != nullptr) return variant;
  return std::nullopt;
}

PathVariant staged_variant(const Operator& op, std::string_view chunk) {
  const std::optional<PathVariant> variant = staged_variant_of(op);
  if (!variant) throw UsageError(fmt::format("{} has no stages", op.grammar().operator_name));
  return checked_variant(op, fmt::format("{}[chunk={}]", variant->path, chunk));
}

GivenStages own_stages(const Operator& op, const Case& c, const PathVariant& variant,
                       const Tensors& inputs) {
  const auto stages = op.stages(variant);
  GivenStages given{variant, {}, {}};
  for (const TensorSpec& spec : stored(stages->judged_outputs(c), variant))
    given.tensors.push_back(spec.allocate());
  const std::vector<Pair> pairs = stages->pairs(c, inputs);
  parallel_for(static_cast<Index>(pairs.size()), [&](Index i) {
    const Pair& pair = pairs[static_cast<std::size_t>(i)];
    const PairOutputs own = stages->emulate(c, variant, inputs, pair);
    for (std::size_t stage = 0; stage < own.size(); ++stage)
      update_output(own[stage], pair, given.tensors[stage], [](double, double x) { return x; });
  });
  return given;
}

StageReport judge_stages(const Operator& op, const Case& c, const Tensors& inputs,
                         const std::vector<bool>& sampled, Candidate candidate,
                         const GivenStages& given) {
  const auto stages = op.stages(given.form);
  const Tensors judged = stages->judged(c, inputs, given.tensors);
  candidate.outputs = &judged;
  candidate.types.clear();
  // Narrower than a kernel keeps it is what the tensor says of itself; wider is not rounded.
  for (const TensorSpec& spec : stages->judged_outputs(c)) {
    const Tensor* const own = find(judged, spec.name);
    const bool says = own != nullptr && (size_of(own->type()) < size_of(spec.type) ||
                                         candidate.declaration.recipe.name == "exact");
    candidate.types.push_back(says ? own->type() : spec.type);
  }
  StageReport report;
  report.chunk = given.form.integer("chunk", op.path_keys());
  report.missing = given.missing;
  report.verdict =
      judge_case(*stages, c, inputs, stages->pairs(c, inputs), sampled, {candidate}).paths.front();
  return report;
}

}  // namespace groundstate::harness
