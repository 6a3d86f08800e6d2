#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "harness/case/error.hpp"
#include "harness/case/text.hpp"
#include "harness/doctor/checks.hpp"
#include "harness/golden/golden.hpp"
#include "harness/operators/registry.hpp"

namespace groundstate::harness {
namespace {

constexpr const char *cases_file = "data/quick.cases", *golden_file = "data/golden.h5";
constexpr const char* check = "goldens";

using Texts = std::map<std::string, std::string>;  // of the cases of one operator, by id

void compare(const Texts& cases, const Texts& goldens, Finding& finding) {
  for (const auto& [id, text] : cases)
    if (!goldens.contains(id))
      finding.missing.push_back(fmt::format("{} lacks '{}'", golden_file, text));
  for (const auto& [id, text] : goldens)
    if (!cases.contains(id))
      finding.missing.push_back(fmt::format("{} has '{}', which is not in {}", golden_file,
                                            shown(text, 200), cases_file));
  finding.note = cases.empty() ? fmt::format("none: no case in {}", cases_file)
                               : fmt::format("{} cases", cases.size());
}

}  // namespace

std::vector<Finding> check_goldens(const SourceTree& tree) {
  std::map<std::string, Texts> cases, goldens;
  Finding whole{check, ""};
  try {
    for (const CaseEntry& entry : read_case_file(tree.path(cases_file), grammars()))
      cases[entry.value.operator_name()].emplace(entry.value.id(), entry.value.canonical());
    for (const GoldenCase& golden : read_golden(tree.path(golden_file).string()).cases)
      goldens[golden.operator_name].emplace(golden.id, golden.text);
  } catch (const UsageError& error) {
    whole.missing.push_back(error.what());
    return {whole};
  }
  std::vector<Finding> result;
  for (const Grammar& grammar : grammars()) {
    const std::string& name = grammar.operator_name;
    compare(cases[name], goldens[name], result.emplace_back(Finding{check, name}));
    goldens.erase(name);
  }
  for (const auto& [name, texts] : goldens)
    whole.missing.push_back(fmt::format("{} has {} cases of '{}', which is no operator",
                                        golden_file, texts.size(), shown(name)));
  if (!whole.ok()) result.push_back(whole);
  return result;
}

}  // namespace groundstate::harness
