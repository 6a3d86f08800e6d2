// groundstate list: operators, their paths, keys and regimes; the cases of a .cases file.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "harness/cli/arguments.hpp"
#include "harness/cli/verbs.hpp"
#include "harness/operators/registry.hpp"

namespace groundstate::harness::cli {
namespace {

struct Options {
  std::vector<std::string> cases;
  bool json = false;
};

nlohmann::json describe(const Operator& op) {
  nlohmann::json record{{"operator", op.grammar().operator_name}, {"formula", op.formula()}};
  for (const Path& path : op.paths())
    record["paths"].push_back({{"name", path.name},
                               {"keys", path.keys},
                               {"recipes", path.recipes},
                               {"summary", path.summary}});
  for (const harness::Key& key : op.grammar().keys)
    record["keys"].push_back({{"name", key.name},
                              {"default", key.default_value},
                              {"accepted", key.accepted()},
                              {"help", key.help}});
  for (const harness::Key& key : op.path_keys())
    record["path_keys"].push_back({{"name", key.name},
                                   {"default", key.default_value},
                                   {"accepted", key.accepted()},
                                   {"help", key.help}});
  for (const KeyValueHelp& regime : op.regimes())
    record["regimes"].push_back(
        {{"key", regime.key}, {"value", regime.value}, {"shows", regime.shows}});
  return record;
}

void print_operator(const Operator& op) {
  fmt::print("{}\n  {}\n\n  paths\n", op.grammar().operator_name, op.formula());
  for (const Path& path : op.paths())
    fmt::print("    {:<14} {}{}\n", path.name, path.summary,
               path.keys.empty() ? "" : fmt::format("  [{}]", fmt::join(path.keys, ", ")));
  const auto print_keys = [](std::string_view title, std::span<const harness::Key> keys) {
    fmt::print("\n  {}\n", title);
    for (const harness::Key& key : keys) {
      const std::string accepted = key.accepted();
      fmt::print("    {:<14} default {:<8} {}{}\n", key.name,
                 key.default_value.empty() ? "-" : key.default_value, key.help,
                 accepted.size() < 60 ? fmt::format(" ({})", accepted) : std::string());
    }
  };
  print_keys("keys of a case line", op.grammar().keys);
  print_keys("path keys, as in --path 'chunked[chunk=128]'", op.path_keys());
  fmt::print("\n  regimes\n");
  for (const KeyValueHelp& regime : op.regimes())
    fmt::print("    {:<22} {}\n", regime.key + "=" + regime.value, regime.shows);
  fmt::print("\n");
}

int list(const Options& options) {
  if (!options.cases.empty()) {
    for (const CaseEntry& entry : expand_arguments(options.cases)) {
      if (options.json)
        fmt::print("{}\n", nlohmann::json{{"case", entry.value.canonical()},
                                          {"id", entry.value.id()},
                                          {"reason", entry.reason}}
                               .dump());
      else
        fmt::print("{}  {}{}\n", entry.value.id(), entry.value.canonical(),
                   entry.reason.empty() ? "" : "  # " + entry.reason);
    }
    return passed;
  }
  for (const auto& op : operators()) {
    if (options.json)
      fmt::print("{}\n", describe(*op).dump());
    else
      print_operator(*op);
  }
  return passed;
}

}  // namespace

void add_list(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* const verb = app.add_subcommand(
      "list", "List operators with paths, keys and regimes, or the cases of given lines and files");
  verb->add_option("case", options->cases, "Case lines and @files.cases to expand");
  verb->add_flag("--json", options->json, "JSON Lines");
  verb->callback([options, &action] { action = [options] { return list(*options); }; });
}

}  // namespace groundstate::harness::cli
