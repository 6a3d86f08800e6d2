#include "harness/judge/power.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace groundstate::harness {

void PowerMeter::count(Histogram& histogram, double ratio) {
  const double bin = std::floor((std::log2(ratio) + octaves / 2) * bins_per_octave);
  // Comparisons that are true for -infinity (a ratio of 0).
  const double last = octaves * bins_per_octave - 1;
  ++histogram[static_cast<std::size_t>(bin > 0 ? std::min(bin, last) : 0)];
}

double PowerMeter::median(const Histogram& histogram) {
  Index rest = std::accumulate(histogram.begin(), histogram.end(), Index{0});
  if (rest == 0) return 0;
  rest = (rest + 1) / 2;
  std::size_t bin = 0;
  while (rest > histogram[bin]) rest -= histogram[bin++];
  if (bin == 0) return 0;  // below 2^-32, zeros included
  return std::exp2((static_cast<double>(bin) + 0.5) / bins_per_octave - octaves / 2);
}

void PowerMeter::add(const ScaleFields& fields) {
  for (Index i = 0; i < fields.input.size(); ++i) {
    const double input = fields.input.data()[i];
    if (!(input > 0) || !std::isfinite(input)) continue;
    count(carry_, fields.carry.data()[i] / input);
    count(gate_, fields.gate.data()[i] / input);
  }
}

Power PowerMeter::power() const { return {median(carry_), median(gate_)}; }

void OracleContent::add(const Matrix<double>& oracle, const Matrix<bool>* zero) {
  for (Index i = 0; i < oracle.size(); ++i) {
    if (zero != nullptr && zero->data()[i]) continue;
    const double value = oracle.data()[i];
    ++elements;
    informative += value != 0 && std::isfinite(value);
  }
}

bool is_mistrusted(std::span<const OracleContent> outputs) {
  bool any = false;
  for (const OracleContent& output : outputs) {
    if (output.elements == 0) continue;
    any = true;
    if (static_cast<double>(output.informative) >=
        least_informative_share * static_cast<double>(output.elements))
      return false;
  }
  return any;
}

}  // namespace groundstate::harness
