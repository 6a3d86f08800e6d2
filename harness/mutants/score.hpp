// What the checks make of an operator's mutants, case by case.
//
//   KILLED    on some case a clause of the verdict, the memory around the outputs or a bitwise
//             contract fails, and nothing of that case fails for the path that the mutant declares
//   SURVIVED  on none, though its outputs are others than those of that path
//   UNSHOWN   its outputs are those of that path, bit for bit, on all cases; or it is not run, as
//             no input of an everyday size shows it, and it says which would
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "harness/mutants/mutated_operator.hpp"
#include "harness/run/result.hpp"

namespace groundstate::harness {

struct Kill {
  std::string case_text, id;
  std::string check;   // "A.max", "memory", "contract: rerun"
  std::string tensor;  // of a clause
  double value = 0, limit = 0;
  std::string message;  // what the verdict or the contract says
};

struct MutantScore {
  Mutant mutant;
  std::string operator_name;
  Index cases = 0, seen_on = 0;          // run on, killed on
  Index same_on = 0;                     // with the outputs of the right path
  std::optional<Kill> first;             // in the order of the cases
  std::map<std::string, Index> seen_by;  // cases on which a check fails, by the check

  bool unshown() const { return !mutant.run || (!first && same_on == cases); }
  bool survived() const { return !unshown() && !first; }
  const char* status() const;
  std::string needs() const;  // of one that is unshown: what would show it
};

class MutantScores {
 public:
  MutantScores(const Operator& op, const std::vector<Mutant>& mutants);

  const Operator& mutated() const { return mutated_; }
  // What came of one case of mutated().
  void add(const CaseReport& report);

  const std::vector<MutantScore>& scores() const { return scores_; }
  // Declared paths that failed themselves, in words: nothing on these cases was counted.
  const std::vector<std::string>& broken() const { return broken_; }

 private:
  MutatedOperator mutated_;
  std::vector<MutantScore> scores_;
  std::vector<std::string> broken_;
};

nlohmann::json to_record(const MutantScore& score);

}  // namespace groundstate::harness
