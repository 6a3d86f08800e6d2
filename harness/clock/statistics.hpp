// The median of repeated measurements, and the quartiles that say how far they scatter.
//
//   quantile p of n values in ascending order: x[h], h = p (n - 1), linear between neighbours
//   (what numpy.quantile computes by default)
#pragma once

#include <vector>

namespace groundstate::harness {

struct Quartiles {
  double first = 0, median = 0, third = 0;
};

// Throws std::invalid_argument where there is no value, or one that is no number.
Quartiles quartiles(std::vector<double> values);

}  // namespace groundstate::harness
