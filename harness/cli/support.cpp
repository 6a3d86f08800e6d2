// groundstate support: operator x path x recipe x device (operators/support_table.hpp).
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "harness/cli/verbs.hpp"
#include "harness/operators/registry.hpp"
#include "harness/operators/support_table.hpp"

namespace groundstate::harness::cli {
namespace {

int support(bool json) {
  if (!json) fmt::print("{}\n", fmt::join(support_header(), "\n"));
  for (const auto& op : operators()) {
    if (!json) {
      fmt::print("{}\n", fmt::join(support_rows(*op), "\n"));
      continue;
    }
    for (const Path& path : op->paths())
      fmt::print("{}\n", nlohmann::json{{"operator", op->grammar().operator_name},
                                        {"path", path.name},
                                        {"device", path.needs_device ? "gpu" : "cpu"},
                                        {"recipes", path.recipes}}
                             .dump());
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
