// What one check of `groundstate doctor` has to say of one operator, or of the tree as a whole.
#pragma once

#include <string>
#include <vector>

namespace groundstate::harness {

struct Finding {
  std::string check;                      // "hard inputs"
  std::string operator_name;              // empty: of the tree as a whole
  std::string note = {};                  // what there is: "24 cases"
  std::vector<std::string> missing = {};  // or stale: one sentence each, in the order found

  bool ok() const { return missing.empty(); }
};

}  // namespace groundstate::harness
