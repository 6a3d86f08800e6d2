// One sensitivity field of the oracle: how far each output element moves per unit of a relative
// random perturbation (of the inputs, the carried state or the gates; the caller perturbs and
// runs).
//
//   s_i^2 = mean over runs of ((r_i(perturbed) - r_i) / eps)^2,   eps = 2^-26, R = 8 runs
//   shrunk: s^2 <- (R s^2 + 8 p) / (R + 8),  p(row, col) = rowmean(s^2) colmean(s^2) / mean(s^2)
//
// over windows of 64 rows (rows: time, or key of a state; a remainder shorter than half a window
// joins the window before it). s has the unit of r. The RMS of 8 samples has chi-square noise,
// whose small values would make the tail of the scaled error; the prediction p is a product, so
// that a channel 100 times smaller keeps its own scale. A tensor of one column (a scalar gate's
// gradient) is not shrunk.
//
// Fails closed: where r is not finite the field is 0 (the pattern alone decides there); a perturbed
// run that is not finite where r is adds nothing, so that it forgives nothing. Sums are taken in
// ascending order in long double, whose exponent holds the fourth power of any double (gradients
// behind fast gates reach 1e-300). Same runs in the same order: same bits. Source: the study of the
// scale, section 1.
#pragma once

#include "reference/core/matrix.hpp"

namespace groundstate::harness {

inline constexpr double perturbation = 0x1p-26;  // eps
inline constexpr int perturbed_runs = 8;         // R
inline constexpr Index shrinkage_window = 64;    // rows
inline constexpr int shrinkage_weight = 8;       // samples that the prediction counts for

class Sensitivity {
 public:
  explicit Sensitivity(const Matrix<double>& oracle);
  void add(const Matrix<double>& perturbed);  // throws std::logic_error when the shapes differ
  int runs() const { return runs_; }
  // The shrunk s. Throws std::logic_error for less than two runs: one is no estimate of a spread.
  Matrix<double> field() const;

 private:
  Matrix<double> oracle_;
  Matrix<long double> squares_;  // sum over runs, of ((perturbed - r) / eps)^2
  int runs_ = 0;
};

}  // namespace groundstate::harness
