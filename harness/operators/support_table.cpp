#include "harness/operators/support_table.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "harness/judge/units.hpp"

namespace groundstate::harness {
namespace {

std::vector<std::string> columns() {
  std::vector<std::string> recipes;
  for (const RecipeUnits& recipe : recipe_table())
    if (!recipe.is_profile()) recipes.push_back(recipe.name);
  return recipes;
}

}  // namespace

std::vector<std::string> support_header() {
  const std::vector<std::string> recipes = columns();
  std::string rule = "|---|---|---|";
  for (std::size_t i = 0; i <= recipes.size(); ++i) rule += "---|";
  return {fmt::format("| operator | path | device | {} | profiles |", fmt::join(recipes, " | ")),
          rule};
}

std::vector<std::string> support_rows(const Operator& op, const EvidenceMark& evidence) {
  std::vector<std::string> rows;
  for (const Path& path : op.paths()) {
    std::string device = path.needs_device ? "gpu" : "cpu";
    if (path.needs_device && evidence) device += ", " + evidence(path);
    std::string row =
        fmt::format("| {} | {} | {} |", op.grammar().operator_name, path.name, device);
    for (const std::string& recipe : columns())
      row += std::ranges::find(path.recipes, recipe) != path.recipes.end() ? " yes |" : " - |";
    std::vector<std::string> profiles;
    for (const std::string& recipe : path.recipes)
      if (recipe_units(recipe).is_profile()) profiles.push_back(recipe);
    row += profiles.empty() ? " - |" : fmt::format(" {} |", fmt::join(profiles, " "));
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace groundstate::harness
