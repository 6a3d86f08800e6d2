// groundstate support: operator x path x recipe x device (operators/support_table.hpp), in a source
// tree with the evidence that it has of paths on a device.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "harness/case/error.hpp"
#include "harness/cli/verbs.hpp"
#include "harness/doctor/source_tree.hpp"
#include "harness/evidence/coverage.hpp"
#include "harness/operators/registry.hpp"
#include "harness/operators/support_table.hpp"

namespace groundstate::harness::cli {
namespace {

// The evidence of the source tree in which this is run; nothing outside of one.
std::optional<EvidenceFolder> evidence_here() {
  try {
    EvidenceFolder evidence = read_evidence_folder(SourceTree().path(evidence_folder));
    if (!evidence.unreadable.empty()) throw UsageError(evidence.unreadable.front());
    return evidence;
  } catch (const NoSourceTree&) {
    return std::nullopt;
  }
}

int support(bool json) {
  const std::optional<EvidenceFolder> evidence = evidence_here();
  if (!json) fmt::print("{}\n", fmt::join(support_header(), "\n"));
  for (const auto& op : operators()) {
    EvidenceMark mark;
    if (evidence)
      mark = [&](const Path& path) {
        return coverage(evidence->files, op->grammar().operator_name, path).mark();
      };
    if (!json) {
      fmt::print("{}\n", fmt::join(support_rows(*op, mark), "\n"));
      continue;
    }
    for (const Path& path : op->paths()) {
      nlohmann::json record = {{"operator", op->grammar().operator_name},
                               {"path", path.name},
                               {"device", path.needs_device ? "gpu" : "cpu"},
                               {"recipes", path.recipes}};
      if (path.needs_device && mark) record["evidence"] = mark(path);
      fmt::print("{}\n", record.dump());
    }
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
