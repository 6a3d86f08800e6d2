#include "harness/doctor/doctor.hpp"

#include <iterator>

#include "harness/doctor/checks.hpp"
#include "harness/operators/registry.hpp"

namespace groundstate::harness {

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
  append(check_goldens(tree));
  of_each([&](const Operator& op, const HardInputs&) {
    return check_evidence(tree, op.grammar().operator_name, op.paths());
  });
  append(check_readme(tree, verbs));
  of_each([&](const Operator& op, const HardInputs&) {
    return check_tests(tree, op.grammar().operator_name);
  });
  return result;
}

}  // namespace groundstate::harness
