// The list of hard inputs of one operator.
//
// That of `gla.backward` is data/gla_backward.cases or, where there is no such file, what
// data/gla.cases has of it: a short list may hold both directions.
#pragma once

#include <string>
#include <vector>

#include "harness/case/case_file.hpp"
#include "harness/doctor/source_tree.hpp"
#include "harness/operators/operator.hpp"

namespace groundstate::harness {

struct HardInputs {
  std::string file;                          // "data/gla.cases"; empty when there is none
  std::string error = {};                    // why it cannot be read, or why there is none
  std::vector<CaseEntry> entries;            // of this operator, with shapes that are possible
  std::vector<std::string> impossible = {};  // the others: file, line and reason
};

HardInputs hard_inputs(const SourceTree& tree, const Operator& op);

}  // namespace groundstate::harness
