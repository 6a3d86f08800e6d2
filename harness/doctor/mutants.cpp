#include <fmt/format.h>

#include "harness/case/error.hpp"
#include "harness/doctor/checks.hpp"
#include "harness/mutants/mutant.hpp"
#include "harness/run/outputs.hpp"

namespace groundstate::harness {

Finding check_mutants(const Operator& op) {
  Finding result{"mutants", op.grammar().operator_name};
  const std::vector<Mutant>& mutants = mutants_of(op.grammar().operator_name);
  if (mutants.empty())
    result.missing.push_back("there are none: nobody knows what its checks would miss");
  for (const Mutant& mutant : mutants) {
    if (!mutant.run && mutant.needs.empty())
      result.missing.push_back(
          fmt::format("{} is not run, and does not say what would show it", mutant.name));
    try {
      checked_variant(op, mutant.declares);
    } catch (const UsageError& error) {
      result.missing.push_back(fmt::format("{}: {}", mutant.name, error.what()));
    }
  }
  result.note = fmt::format("{} of them", mutants.size());
  return result;
}

}  // namespace groundstate::harness
