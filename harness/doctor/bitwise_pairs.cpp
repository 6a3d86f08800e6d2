#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "harness/case/error.hpp"
#include "harness/doctor/checks.hpp"
#include "harness/run/outputs.hpp"

namespace groundstate::harness {
namespace {

// In one of the recipes that the path has by default; a contract is run in each of them.
bool runs_by_default(const Operator& op, const Case& c, const std::string& text) {
  PathVariant variant = parse_path_variant(text, op.path_keys());
  if (op.path(variant.path) == nullptr) variant = checked_variant(op, text);  // says so
  return std::ranges::any_of(op.default_variants(c), [&](const std::string& own_text) {
    const PathVariant own = checked_variant(op, own_text);
    variant.recipe = own.recipe;
    return own.path == variant.path && !op.unsupported(c, variant);
  });
}

// As `run` does: both paths are among those of the case, which need not be in these variants.
bool meet(const Operator& op, const Case& c, const EqualVariants& pair) {
  return runs_by_default(op, c, pair.left) && runs_by_default(op, c, pair.right);
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
