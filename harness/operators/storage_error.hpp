// How far a value may be from what is stored of it.
#pragma once

#include <cmath>

#include "reference/core/scalar.hpp"

namespace groundstate::harness {

// Half the distance of two stored values there, all of it where rounding is stochastic; what fp16
// flushes then. 0 for types that the judge takes for exact.
inline double storage_error(double x, ElementType type, bool stochastic) {
  const double steps = stochastic ? 1.0 : 0.5, s = std::abs(x);
  if (type == ElementType::bfloat16) return steps * s * 0x1p-7;
  if (type == ElementType::float16)
    return std::hypot(steps * s * 0x1p-10, stochastic ? 0x1p-14 : 0x1p-25);
  return 0;
}

}  // namespace groundstate::harness
