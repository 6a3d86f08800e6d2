// What is kept of outputs whose elements are not: mean and RMS in each window of clause E.
//
//   |mean(y) - mean(r)| <= RMS(y - r)        |RMS(y) - RMS(r)| <= RMS(y - r)
//
// (Cauchy-Schwarz, triangle inequality), so that moments far from the oracle's show an error that
// is at least as large, and honest ones are never mistaken for it. Both are sums in long double,
// without overflow of the squares; NaN where an element is not finite.
#pragma once

#include <vector>

#include "reference/core/matrix.hpp"

namespace groundstate::harness {

struct WindowMoments {
  double mean = 0, rms = 0;
};

// One for each of Locality::windows().
std::vector<WindowMoments> window_moments(const Matrix<double>& output, bool rows_are_time);

// The least RMS error that these moments of a path and of the oracle allow.
double least_rms_error(const WindowMoments& path, const WindowMoments& oracle);

}  // namespace groundstate::harness
