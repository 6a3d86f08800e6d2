#include "harness/judge/counting.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>

namespace groundstate::harness {
namespace {

// ln n! - ln(sqrt(2 pi n) (n/e)^n).
double stirling_error(double n) {
  if (n <= 15)
    return std::lgamma(n + 1) - (n + 0.5) * std::log(n) + n - 0.5 * std::log(2 * std::numbers::pi);
  const double square = n * n;
  return (1.0 / 12 -
          (1.0 / 360 - (1.0 / 1260 - (1.0 / 1680 - 1.0 / 1188 / square) / square) / square) /
              square) /
         n;
}

// x ln(x / mean) + mean - x, without cancellation where x is near the mean.
double deviance(double x, double mean) {
  if (std::abs(x - mean) >= 0.1 * (x + mean)) return x * std::log(x / mean) + mean - x;
  const double v = (x - mean) / (x + mean);
  double sum = (x - mean) * v, term = 2 * x * v;
  for (int j = 1; j < 1000; ++j) {
    term *= v * v;
    const double next = sum + term / (2 * j + 1);
    if (next == sum) break;
    sum = next;
  }
  return sum;
}

// P(Binomial(n, p) > k) < bound, for k >= np - 1: the terms then fall, and a geometric series
// bounds the rest from any term on.
bool tail_is_below(Index n, Index k, double p, double bound) {
  if (k >= n) return true;
  double term = binomial_probability(n, k + 1, p), sum = term;
  for (Index j = k + 1; j < n; ++j) {
    const double ratio = static_cast<double>(n - j) / static_cast<double>(j + 1) * (p / (1 - p));
    if (sum >= bound) return false;
    if (ratio < 1 && sum + term * ratio / (1 - ratio) < bound) return true;
    term *= ratio;
    sum += term;
    if (term < sum * 1e-17) break;
  }
  return sum < bound;
}

}  // namespace

double binomial_probability(Index n, Index k, double p) {
  if (k < 0 || k > n) return 0;
  const auto trials = static_cast<double>(n), hits = static_cast<double>(k), misses = trials - hits;
  if (p == 0 || k == 0) return k == 0 ? std::exp(trials * std::log1p(-p)) : 0;
  if (p == 1 || k == n) return k == n ? std::exp(trials * std::log(p)) : 0;
  const double exponent = stirling_error(trials) - stirling_error(hits) - stirling_error(misses) -
                          deviance(hits, trials * p) - deviance(misses, trials * (1 - p));
  return std::exp(exponent) * std::sqrt(trials / (2 * std::numbers::pi * hits * misses));
}

Index allowed_exceedances(Index elements, double quantile) {
  if (elements < 0 || !(quantile >= 0 && quantile <= 1))
    throw std::logic_error("counting rule: n >= 0 and 0 <= q <= 1 are needed");
  const double p = 1 - quantile, mean = static_cast<double>(elements) * p;
  if (p == 0 || elements == 0) return 0;
  if (p == 1) return elements;
  // Below the mean the tail is near one half or more; eight deviations above it is where to look
  // next.
  Index low = std::max<Index>(0, static_cast<Index>(std::floor(mean)) - 1), step = 1, high = low;
  step += static_cast<Index>(8 * std::sqrt(mean * quantile));
  while (!tail_is_below(elements, high, p, false_alarm)) {
    low = high + 1;
    high = std::min(elements, high + step);
    step *= 2;
  }
  while (low < high) {
    const Index middle = low + (high - low) / 2;
    if (tail_is_below(elements, middle, p, false_alarm))
      high = middle;
    else
      low = middle + 1;
  }
  return high;
}

double maximum_growth(Index elements) {
  if (elements < 10'000'000) return 1;
  return std::sqrt(std::log(static_cast<double>(elements)) / std::log(1e6));
}

double honest_ratio(double independent_errors, double probability) {
  const double c = std::pow(probability, -2 / independent_errors);
  return std::sqrt(c) + std::sqrt(c - 1);
}

}  // namespace groundstate::harness
