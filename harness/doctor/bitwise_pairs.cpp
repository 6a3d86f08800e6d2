#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "harness/case/error.hpp"
#include "harness/doctor/checks.hpp"
#include "harness/run/outputs.hpp"

namespace groundstate::harness {
namespace {

bool runs_by_default(const Operator& op, const Case& c, const PathVariant& variant) {
  return !op.unsupported(c, variant) &&
         std::ranges::any_of(op.default_variants(c), [&](const std::string& text) {
           return checked_variant(op, text).path == variant.path;
         });
}

// As `run` does: both paths are among those of the case, which need not be in these variants.
bool meet(const Operator& op, const Case& c, const EqualVariants& pair) {
  return runs_by_default(op, c, checked_variant(op, pair.left)) &&
         runs_by_default(op, c, checked_variant(op, pair.right));
}

void check_pair(const Operator& op, const HardInputs& inputs, const EqualVariants& pair,
                Finding& finding) {
  const std::string text = fmt::format("{} = {}", pair.left, pair.right);
  try {
    if (std::ranges::none_of(inputs.entries,
                             [&](const CaseEntry& entry) { return meet(op, entry.value, pair); }))
      finding.missing.push_back(fmt::format("{}: no hard input runs both", text));
  } catch (const UsageError& error) {
    finding.missing.push_back(fmt::format("{}: {}", text, error.what()));
  }
}

}  // namespace

Finding check_bitwise_pairs(const Operator& op, const HardInputs& inputs) {
  Finding result{"bitwise pairs", op.grammar().operator_name};
  const std::vector<EqualVariants> pairs = op.equal_variants();
  const bool has_variants =
      std::ranges::any_of(op.paths(), [](const Path& path) { return !path.keys.empty(); });
  if (pairs.empty() && has_variants)
    result.missing.push_back("its paths have variants, and no two are declared equal");
  for (const EqualVariants& pair : pairs) check_pair(op, inputs, pair, result);
  result.note = pairs.empty() ? "none declared; no path has variants"
                              : fmt::format("{} declared", pairs.size());
  return result;
}

}  // namespace groundstate::harness
