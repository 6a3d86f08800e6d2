// What came of the named intermediates of one path: which agree with the double ones, and which is
// the first, in the order in which they follow from each other, that does not.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "harness/judge/verdict.hpp"

namespace groundstate::harness {

struct StageReport {
  Index chunk = 0;                   // their length; 0 where there are none
  PathVerdict verdict;               // of those that were given, in their order
  std::vector<std::string> missing;  // not given, and not compared
  std::string note;                  // why there are none

  const TensorVerdict* first_diverging() const;  // null where all agree
  // "first diverging stage (chunks of 64): scores: first at ...; not given: chunk_states"
  std::string sentence() const;
};

// {chunk, status, sentence, first_diverging, missing, stages: {name: as of an output}}
nlohmann::json to_record(const StageReport& report);

}  // namespace groundstate::harness
