#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "harness/case/error.hpp"
#include "harness/doctor/checks.hpp"
#include "harness/doctor/takes_effect.hpp"
#include "harness/run/outputs.hpp"

namespace groundstate::harness {
namespace {

// A sweep has the same fault once for every case.
void add(Finding& finding, std::string text) {
  if (std::ranges::find(finding.missing, text) == finding.missing.end())
    finding.missing.push_back(std::move(text));
}

// By key, in the order of the operator.
using Regimes = std::vector<std::pair<std::string, std::vector<std::string>>>;

void append(Regimes& regimes, const KeyValueHelp& regime) {
  if (regimes.empty() || regimes.back().first != regime.key) regimes.push_back({regime.key, {}});
  regimes.back().second.push_back(regime.value);
}

void check_regimes(const Operator& op, const HardInputs& inputs, Finding& finding) {
  const std::vector<Key>& keys = op.grammar().keys;
  Regimes absent, idle;
  for (const KeyValueHelp& regime : op.regimes()) {
    if (std::ranges::find(keys, regime.key, &Key::name) == keys.end()) {
      add(finding, fmt::format("{} is a regime of a key that no case has", regime.key));
      continue;
    }
    bool written = false, shown = false;
    for (const CaseEntry& entry : inputs.entries) {
      if (entry.value.get(regime.key) != regime.value) continue;
      written = true;
      shown = takes_effect(op, entry.value, regime.key);
      if (shown) break;
    }
    if (!shown) append(written ? idle : absent, regime);
  }
  for (const auto& [key, values] : absent)
    add(finding, fmt::format("no case has {}={}", key, fmt::join(values, ",")));
  for (const auto& [key, values] : idle)
    add(finding, fmt::format("no case with {}={} has inputs that another {} would not give", key,
                             fmt::join(values, ","), key));
}

void check_raised_limits(const Operator& op, const CaseEntry& entry,
                         std::chrono::year_month_day today, Finding& finding) {
  for (const RaisedLimit& limit : entry.raised) {
    const std::string what =
        fmt::format("{}: the raised limit of {}/{}", limit.source, limit.path, limit.clause);
    if (limit.expired_on(today)) add(finding, fmt::format("{} has expired", what));
    try {
      checked_variant(op, limit.path);
    } catch (const UsageError& error) {
      add(finding, fmt::format("{} is of no path: {}", what, error.what()));
    }
  }
}

}  // namespace

Finding check_hard_inputs(const Operator& op, const HardInputs& inputs,
                          std::chrono::year_month_day today) {
  Finding result{"hard inputs", op.grammar().operator_name};
  if (!inputs.error.empty()) {
    result.missing.push_back(inputs.error);
    return result;
  }
  result.note = fmt::format("{} cases in {}", inputs.entries.size(), inputs.file);
  for (const std::string& sentence : inputs.impossible) add(result, sentence);
  for (const CaseEntry& entry : inputs.entries) check_raised_limits(op, entry, today, result);
  check_regimes(op, inputs, result);
  return result;
}

}  // namespace groundstate::harness
