// A double in a JSON record. JSON has no NaN and no infinity: they become the strings "nan", "inf",
// "-inf", so that a record of a failure stays readable and a NaN cannot turn into null unseen.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>

namespace groundstate::harness {

inline nlohmann::json json_number(double x) {
  if (std::isfinite(x)) return x;
  return std::isnan(x) ? "nan" : x > 0 ? "inf" : "-inf";
}

}  // namespace groundstate::harness
