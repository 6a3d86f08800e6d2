// The records of a report, but for what depends on the moment.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "harness/run/result.hpp"

namespace groundstate::harness {

inline std::string records_without_times(const CaseReport& report) {
  std::string text;
  for (nlohmann::json record : to_records(report)) {
    record.erase("seconds");
    record.erase("environment");
    text += record.dump() + "\n";
  }
  return text;
}

}  // namespace groundstate::harness
