#include "harness/clock/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>

namespace groundstate::harness {

Quartiles quartiles(std::vector<double> values) {
  if (values.empty() || std::ranges::any_of(values, [](double x) { return std::isnan(x); }))
    throw std::invalid_argument("quartiles need numbers");
  std::ranges::sort(values);
  const auto quantile = [&](double p) {
    const double h = p * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(h);
    const double above = values[std::min(below + 1, values.size() - 1)];
    return std::lerp(values[below], above, h - static_cast<double>(below));
  };
  return {quantile(0.25), quantile(0.5), quantile(0.75)};
}

}  // namespace groundstate::harness
