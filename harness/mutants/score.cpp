#include "harness/mutants/score.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "harness/case/path_variant.hpp"

namespace groundstate::harness {
namespace {

using nlohmann::json;

// Every check of a case that fails for a variant, in the order in which `run` prints them.
std::vector<Kill> failures(const CaseReport& report, const std::string& path) {
  std::vector<Kill> found;
  const auto add = [&](std::string check, std::string message) -> Kill& {
    return found.emplace_back(
        Kill{report.case_text, report.id, std::move(check), "", 0, 0, std::move(message)});
  };
  for (const Result& result : report.results) {
    if (result.path != path) continue;
    if (result.memory_violated) add("memory", result.note);
    if (result.unfinished) add("end", result.note);
    if (result.status != Status::failed) continue;
    for (const TensorVerdict& tensor : result.verdict.tensors) {
      if (tensor.status != Status::failed) continue;
      for (const Clause& clause : tensor.clauses) {
        if (clause.passed || !clause.applicable) continue;
        Kill& kill = add(clause.name, tensor.finding);
        kill.tensor = tensor.tensor;
        kill.value = clause.value;
        kill.limit = clause.limit;
      }
    }
  }
  const std::string prefix = path + ": ";
  for (const EqualityResult& equality : report.equalities)
    if (equality.violation && equality.name.starts_with(prefix))
      add("contract: " + equality.name.substr(prefix.size()), *equality.violation);
  return found;
}

bool was_judged(const CaseReport& report, const std::string& path) {
  return std::ranges::any_of(report.results, [&](const Result& result) {
    return result.path == path && result.status != Status::unsupported &&
           result.status != Status::unavailable && result.status != Status::mistrusted;
  });
}

// NaN and infinity have no number in JSON.
json number(double x) { return std::isfinite(x) ? json(x) : json(fmt::format("{}", x)); }

}  // namespace

const char* MutantScore::status() const {
  return unshown() ? "UNSHOWN" : first ? "KILLED" : "SURVIVED";
}

std::string MutantScore::needs() const {
  if (!mutant.run) return mutant.needs;
  if (cases == 0) return fmt::format("another case: none of these runs {}", mutant.declares);
  return fmt::format("another case: on {} its outputs are those of {}",
                     cases == 1 ? "this one" : fmt::format("these {}", cases), mutant.declares);
}

MutantScores::MutantScores(const Operator& op, const std::vector<Mutant>& mutants)
    : mutated_(op, mutants) {
  for (const Mutant& mutant : mutants)
    scores_.push_back({mutant, op.grammar().operator_name, 0, 0, 0, {}, {}});
}

void MutantScores::add(const CaseReport& report) {
  std::set<std::string> broken;
  for (const Result& result : report.results) {
    if (mutated_.mutant(parse_path_variant(result.path, mutated_.path_keys())) != nullptr) continue;
    const std::vector<Kill> failed = failures(report, result.path);
    if (failed.empty()) continue;
    broken.insert(result.path);
    broken_.push_back(fmt::format("{} of '{}': {}: {}", result.path, report.case_text,
                                  failed.front().check, failed.front().message));
  }
  for (MutantScore& score : scores_) {
    if (!score.mutant.run || broken.contains(score.mutant.declares)) continue;
    const std::string path = mutated_.variant_of(score.mutant).text(mutated_.path_keys());
    if (!was_judged(report, path)) continue;
    ++score.cases;
    const std::string pair = mutated_.with_its_right_path(score.mutant).name;
    score.same_on += std::ranges::any_of(report.equalities, [&](const EqualityResult& each) {
      return each.name == pair && !each.violation;
    });
    const std::vector<Kill> kills = failures(report, path);
    if (kills.empty()) continue;
    ++score.seen_on;
    if (!score.first) score.first = kills.front();
    std::set<std::string> checks;
    for (const Kill& kill : kills) checks.insert(kill.check);
    for (const std::string& check : checks) ++score.seen_by[check];
  }
}

json to_record(const MutantScore& score) {
  json record{{"schema", record_schema},         {"mutant", score.mutant.name},
              {"operator", score.operator_name}, {"declares", score.mutant.declares},
              {"defect", score.mutant.defect},   {"contradicts", score.mutant.contradicts},
              {"status", score.status()},        {"cases", score.cases},
              {"seen_on", score.seen_on},        {"seen_by", json::object()},
              {"environment", environment()}};
  for (const auto& [check, cases] : score.seen_by) record["seen_by"][check] = cases;
  if (score.unshown()) record["needs"] = score.needs();
  if (!score.first) return record;
  const Kill& kill = *score.first;
  record["killed_by"] = {
      {"case", kill.case_text}, {"id", kill.id}, {"check", kill.check}, {"message", kill.message}};
  if (!kill.tensor.empty())
    record["killed_by"].update(
        {{"tensor", kill.tensor}, {"value", number(kill.value)}, {"limit", number(kill.limit)}});
  return record;
}

}  // namespace groundstate::harness
