// groundstate show CASE: the tensors of a case, its paths, its cost.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "harness/cli/arguments.hpp"
#include "harness/cli/verbs.hpp"
#include "harness/operators/registry.hpp"
#include "harness/run/judge_stages.hpp"

namespace groundstate::harness::cli {
namespace {

struct Options {
  std::vector<std::string> cases;
  bool json = false;
};

nlohmann::json describe(const TensorSpec& spec) {
  nlohmann::json record{
      {"name", spec.name}, {"type", name_of(spec.type)}, {"required", spec.required}};
  if (!spec.domain.empty()) record["domain"] = spec.domain;
  for (std::size_t i = 0; i < spec.axes.size(); ++i) {
    const AxisExtent& axis = spec.axes[spec.storage_order.empty() ? i : spec.storage_order[i]];
    record["storage"].push_back({{"axis", axis.name}, {"extent", axis.extent}});
  }
  return record;
}

void print_tensor(const TensorSpec& spec) {
  std::string shape;
  for (std::size_t i = 0; i < spec.axes.size(); ++i) {
    const AxisExtent& axis = spec.axes[spec.storage_order.empty() ? i : spec.storage_order[i]];
    shape += fmt::format("{}{} {}", i == 0 ? "" : ", ", axis.name, axis.extent);
  }
  fmt::print("    {:<16} {:<6} [{}]{}\n", spec.name, name_of(spec.type), shape,
             spec.domain.empty() ? "" : "  " + spec.domain);
}

int show(const Options& options) {
  const CaseEntry entry = single_case(options.cases);
  const Case& c = entry.value;
  const Operator& op = operator_of(c);
  const Cost cost = op.cost(c);
  nlohmann::json record{{"case", c.canonical()},
                        {"id", c.id()},
                        {"formula", op.formula()},
                        {"flop", cost.flops},
                        {"bytes", cost.bytes}};
  for (const harness::Key& key : c.grammar().keys) record["keys"][key.name] = c.get(key.name);
  for (const TensorSpec& spec : op.inputs(c)) record["inputs"].push_back(describe(spec));
  for (const TensorSpec& spec : op.outputs(c)) record["outputs"].push_back(describe(spec));
  const std::optional<PathVariant> staged = staged_variant_of(op);
  const std::vector<TensorSpec> stages =
      staged ? op.stages(*staged)->judged_outputs(c) : std::vector<TensorSpec>();
  for (const TensorSpec& spec : stages) record["stages"].push_back(describe(spec));
  if (options.json) {
    fmt::print("{}\n", record.dump());
    return passed;
  }
  fmt::print("{}  [{}]\n  {}\n\n  inputs (storage order)\n", c.canonical(), c.id(), op.formula());
  for (const TensorSpec& spec : op.inputs(c)) print_tensor(spec);
  fmt::print("  outputs\n");
  for (const TensorSpec& spec : op.outputs(c)) print_tensor(spec);
  if (staged)
    fmt::print("  stages of a chunked form, in chunks of {}\n",
               staged->integer("chunk", op.path_keys()));
  for (const TensorSpec& spec : stages) print_tensor(spec);
  fmt::print("\n  one run of the recurrence: {:.3g} flop; inputs and outputs: {:.3g} MiB\n  keys:",
             cost.flops, cost.bytes / 0x1p20);
  for (const harness::Key& key : c.grammar().keys)
    if (!c.get(key.name).empty()) fmt::print(" {}={}", key.name, c.get(key.name));
  fmt::print("\n  default paths:");
  for (const std::string& text : op.default_variants(c)) fmt::print(" {}", text);
  fmt::print("\n");
  return passed;
}

}  // namespace

void add_show(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* const verb =
      app.add_subcommand("show", "Show one case: tensors, shapes, types, domains, cost, formula");
  verb->add_option("case", options->cases, "A case line")->required();
  verb->add_flag("--json", options->json, "JSON");
  verb->callback([options, &action] { action = [options] { return show(*options); }; });
}

}  // namespace groundstate::harness::cli
