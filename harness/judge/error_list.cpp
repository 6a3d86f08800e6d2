#include "harness/judge/error_list.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>

namespace groundstate::harness {

void ErrorList::push(double error) {
  values_.push_back(error >= 0 ? static_cast<float>(error)
                               : std::numeric_limits<float>::infinity());
  ++elements_;
}

double ErrorList::ascending(Index smaller) const {
  if (smaller < 0 || smaller >= elements_)
    throw std::out_of_range("rank beyond the list of errors");
  const auto take_bin = [&smaller](const std::vector<Index>& histogram) {
    std::uint32_t bin = 0;
    while (smaller >= histogram[bin]) smaller -= histogram[bin++];
    return bin;
  };
  constexpr std::size_t bins = 1 << 16;
  std::vector<Index> histogram(bins, 0);
  // The sign bit is set for places that take no part, and only for them: -0 never gets here.
  for (const float value : values_)
    if (!std::signbit(value)) ++histogram[std::bit_cast<std::uint32_t>(value) >> 16];
  const std::uint32_t high = take_bin(histogram);
  histogram.assign(bins, 0);
  for (const float value : values_) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    if (bits >> 16 == high) ++histogram[bits & 0xffff];
  }
  return std::bit_cast<float>(high << 16 | take_bin(histogram));
}

Triple ErrorList::triple() const {
  if (elements_ == 0) return {};
  const Index n = elements_;
  return {ascending((n + 1) / 2 - 1), ascending(n - 1 - n / 1000), ascending(n - 1)};
}

}  // namespace groundstate::harness
