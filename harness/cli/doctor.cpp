// groundstate doctor: what is incomplete or stale in the source tree in which it is run, one line a
// check and operator. Exit code 1 where something is, 2 outside a source tree.
#include "harness/doctor/doctor.hpp"

#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "harness/cli/verbs.hpp"

namespace groundstate::harness::cli {
namespace {

std::chrono::year_month_day today() {
  return std::chrono::floor<std::chrono::days>(std::chrono::system_clock::now());
}

nlohmann::json to_record(const Finding& finding) {
  nlohmann::json record = {{"schema", 1},          {"check", finding.check},
                           {"operator", nullptr},  {"status", finding.ok() ? "ok" : "missing"},
                           {"note", finding.note}, {"missing", finding.missing}};
  if (!finding.operator_name.empty()) record["operator"] = finding.operator_name;
  return record;
}

int doctor(const CLI::App& app, bool json) {
  std::vector<std::string> verbs;
  for (const CLI::App* const verb : app.get_subcommands({})) verbs.push_back(verb->get_name());
  std::size_t faulty = 0;
  const std::vector<Finding> findings = examine(SourceTree(), verbs, today());
  for (const Finding& finding : findings) {
    if (!finding.ok()) ++faulty;
    if (json)
      fmt::print("{}\n", to_record(finding).dump());
    else
      fmt::print("{:7}  {:14} {:22} {}\n", finding.ok() ? "ok" : "MISSING", finding.check,
                 finding.operator_name.empty() ? "-" : finding.operator_name,
                 finding.ok() ? finding.note : fmt::format("{}", fmt::join(finding.missing, "; ")));
  }
  if (!json) fmt::print("{} checks, {} with something missing or stale\n", findings.size(), faulty);
  return faulty > 0 ? failed : passed;
}

}  // namespace

void add_doctor(CLI::App& app, Action& action) {
  auto json = std::make_shared<bool>(false);
  CLI::App* const verb =
      app.add_subcommand("doctor", "Check the source tree for what is incomplete or stale");
  verb->add_flag("--json", *json, "JSON Lines");
  verb->callback([json, &app, &action] { action = [json, &app] { return doctor(app, *json); }; });
}

}  // namespace groundstate::harness::cli
