// What a case can show at all, whatever the path: its power, and whether it proves anything.
//
//   carry = median of s^C / s^I     can this input tell a bf16 state from an fp32 one? yes from
//   about 3 gate  = median of s^G / s^I     how much of the error the gates decide
//
// over elements with s^I > 0 (dimensionless). The medians come from a histogram of 16 bins per
// octave, exact to 4.5 %. MISTRUSTED is a verdict on a case: after removing elements that are zero
// by definition, no output tensor has at least 10 % elements whose oracle is finite and not zero.
// Source: the study of the scale, section 5.
#pragma once

#include <array>
#include <span>

#include "harness/judge/scaled_error.hpp"

namespace groundstate::harness {

struct Power {
  double carry = 0, gate = 0;
};

class PowerMeter {
 public:
  void add(const ScaleFields& fields);
  Power power() const;

 private:
  static constexpr int octaves = 64,
                       bins_per_octave = 16;  // 2^-32 .. 2^32, ends included in the last
  using Histogram = std::array<Index, octaves * bins_per_octave>;
  static void count(Histogram& histogram, double ratio);
  static double median(const Histogram& histogram);
  Histogram carry_{}, gate_{};
};

// The elements of one output tensor that are not zero by definition.
struct OracleContent {
  Index elements = 0, informative = 0;  // informative: finite and not zero
  void add(const Matrix<double>& oracle, const Matrix<bool>* zero);
};
inline constexpr double least_informative_share = 0.1;

// A case without elements (T = 0, all zero by definition) promises nothing but zeros: it is
// trusted.
bool is_mistrusted(std::span<const OracleContent> outputs);

}  // namespace groundstate::harness
