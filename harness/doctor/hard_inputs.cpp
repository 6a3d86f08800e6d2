#include "harness/doctor/hard_inputs.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "harness/case/error.hpp"
#include "harness/operators/registry.hpp"

namespace groundstate::harness {

HardInputs hard_inputs(const SourceTree& tree, const Operator& op) {
  const std::string& name = op.grammar().operator_name;
  std::string own = name;
  std::ranges::replace(own, '.', '_');
  own = fmt::format("data/{}.cases", own);
  const std::string shared = fmt::format("data/{}.cases", name.substr(0, name.find('.')));
  HardInputs result;
  if (!tree.has(own) && !tree.has(shared)) {
    result.error = own == shared ? fmt::format("{} is missing", own)
                                 : fmt::format("there is neither {} nor {}", own, shared);
    return result;
  }
  result.file = tree.has(own) ? own : shared;
  try {
    result.entries = read_case_file(tree.path(result.file), grammars());
  } catch (const UsageError& error) {
    result.error = error.what();
  }
  std::erase_if(result.entries,
                [&](const CaseEntry& entry) { return entry.value.operator_name() != name; });
  std::erase_if(result.entries, [&](const CaseEntry& entry) {
    try {
      op.cost(entry.value);  // looks at every shape
      return false;
    } catch (const UsageError& error) {
      result.impossible.push_back(fmt::format("{}: {}", entry.source, error.what()));
      return true;
    }
  });
  if (result.error.empty() && result.impossible.empty() && result.entries.empty())
    result.error = fmt::format("{} has no case of {}", result.file, name);
  return result;
}

}  // namespace groundstate::harness
