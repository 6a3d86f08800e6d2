#include "harness/run/outputs.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "harness/case/error.hpp"
#include "harness/case/nearest.hpp"
#include "harness/case/text.hpp"

namespace groundstate::harness {

bool recipe_exists(const Operator& op, const PathVariant& v) {
  const Path* const path = op.path(v.path);
  if (path == nullptr) return false;
  const std::string recipe = recipe_of(v);
  return std::find(path->recipes.begin(), path->recipes.end(), recipe) != path->recipes.end();
}

PathVariant checked_variant(const Operator& op, std::string_view text) {
  PathVariant v = parse_path_variant(text, op.path_keys());
  const Path* const path = op.path(v.path);
  if (path == nullptr) {
    std::vector<std::string> names;
    for (const Path& known : op.paths()) names.push_back(known.name);
    throw UsageError(fmt::format("{} has no path {}{} (accepted: {})", op.grammar().operator_name,
                                 shown(v.path), did_you_mean(v.path, names),
                                 fmt::join(names, " ")));
  }
  for (const auto& [key, value] : v.keys)
    if (!path->takes(key))
      throw UsageError(
          fmt::format("path {} takes no key {} (accepted: {})", path->name, key,
                      path->keys.empty() ? "none" : fmt::format("{}", fmt::join(path->keys, " "))));
  if (v.recipe == "exact") v.recipe.clear();
  if (!recipe_exists(op, v))
    throw UsageError(fmt::format("path {} has no recipe {}{} (accepted: {})", path->name,
                                 shown(v.recipe), did_you_mean(v.recipe, path->recipes),
                                 fmt::join(path->recipes, " ")));
  return v;
}

PathVariant checked_variant(const Operator& op, std::string_view form, std::string_view recipe) {
  return checked_variant(
      op, recipe == "exact" ? std::string(form) : fmt::format("{}:{}", form, recipe));
}

}  // namespace groundstate::harness
