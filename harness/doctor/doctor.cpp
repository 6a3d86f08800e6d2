#include "harness/doctor/doctor.hpp"

#include <algorithm>
#include <iterator>

#include "harness/case/error.hpp"
#include "harness/doctor/checks.hpp"
#include "harness/evidence/coverage.hpp"
#include "harness/operators/registry.hpp"

namespace groundstate::harness {
namespace {

// A file that cannot be read is the check of goldens' to report.
std::vector<Case> quick_cases(const SourceTree& tree) {
  std::vector<Case> cases;
  try {
    for (CaseEntry& entry : read_case_file(tree.path("data/quick.cases"), grammars()))
      cases.push_back(std::move(entry.value));
  } catch (const UsageError&) {
  }
  return cases;
}

}  // namespace

std::vector<Finding> examine(const SourceTree& tree, std::span<const std::string> verbs,
                             std::chrono::year_month_day today) {
  std::vector<HardInputs> inputs;
  for (const auto& op : operators()) inputs.push_back(hard_inputs(tree, *op));
  std::vector<Finding> result;
  const auto of_each = [&](auto&& check) {
    for (std::size_t i = 0; i < inputs.size(); ++i)
      result.push_back(check(*operators()[i], inputs[i]));
  };
  const auto append = [&](std::vector<Finding> findings) {
    result.insert(result.end(), std::move_iterator(findings.begin()),
                  std::move_iterator(findings.end()));
  };
  of_each(check_paths);
  of_each(
      [&](const Operator& op, const HardInputs& own) { return check_hard_inputs(op, own, today); });
  of_each(check_bitwise_pairs);
  of_each([](const Operator& op, const HardInputs&) { return check_mutants(op); });
  of_each(check_certificate);
  append(check_goldens(tree));
  const EvidenceFolder evidence = read_evidence_folder(tree.path(evidence_folder));
  if (!evidence.unreadable.empty()) result.push_back({"evidence", "", "", evidence.unreadable});
  const std::vector<Case> quick = quick_cases(tree);
  of_each([&](const Operator& op, const HardInputs&) {
    std::vector<Path> paths;
    std::ranges::copy_if(op.paths(), std::back_inserter(paths), &Path::needs_device);
    return check_evidence(tree, op, paths, quick, evidence.files);
  });
  append(check_readme(tree, verbs, evidence.files));
  of_each([&](const Operator& op, const HardInputs&) {
    return check_tests(tree, op.grammar().operator_name);
  });
  return result;
}

}  // namespace groundstate::harness
