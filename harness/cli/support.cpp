// groundstate support: operator x path x recipe x device, with its holes, as a Markdown table; the
// rounding profiles of other libraries are listed in its last column.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "harness/cli/verbs.hpp"
#include "harness/judge/units.hpp"
#include "harness/operators/registry.hpp"

namespace groundstate::harness::cli {
namespace {

int support(bool json) {
  std::vector<std::string> recipes;
  for (const RecipeUnits& recipe : recipe_table())
    if (!recipe.is_profile()) recipes.push_back(recipe.name);
  if (!json) {
    fmt::print("| operator | path | device | {} | profiles |\n|---|---|---|",
               fmt::join(recipes, " | "));
    for (std::size_t i = 0; i <= recipes.size(); ++i) fmt::print("---|");
    fmt::print("\n");
  }
  for (const auto& op : operators())
    for (const Path& path : op->paths()) {
      const std::string device = path.needs_device ? "gpu" : "cpu";
      if (json) {
        fmt::print("{}\n", nlohmann::json{{"operator", op->grammar().operator_name},
                                          {"path", path.name},
                                          {"device", device},
                                          {"recipes", path.recipes}}
                               .dump());
        continue;
      }
      fmt::print("| {} | {} | {} |", op->grammar().operator_name, path.name, device);
      for (const std::string& recipe : recipes)
        fmt::print(" {} |",
                   std::find(path.recipes.begin(), path.recipes.end(), recipe) != path.recipes.end()
                       ? "yes"
                       : "-");
      std::vector<std::string> profiles;
      for (const std::string& recipe : path.recipes)
        if (recipe_units(recipe).is_profile()) profiles.push_back(recipe);
      fmt::print(" {} |\n", profiles.empty() ? "-" : fmt::format("{}", fmt::join(profiles, " ")));
    }
  return passed;
}

}  // namespace

void add_support(CLI::App& app, Action& action) {
  auto json = std::make_shared<bool>(false);
  CLI::App* const verb =
      app.add_subcommand("support", "Matrix of operators, paths, recipes and devices");
  verb->add_flag("--json", *json, "JSON Lines");
  verb->callback([json, &action] { action = [json] { return support(*json); }; });
}

}  // namespace groundstate::harness::cli
