// Clause E: the errors of one (sequence, head) pair in one window of time against the errors of the
// same-path emulation there, and their growth along time.
//
//   window w: at least 64 rows and 256 elements; a state is one window. a_w, b_w = RMS of the
//   path's and of the emulation's errors, floor_w = RMS of the floor
//     E.locality   a_w <= max(floor_w, 2 ratio(m_w) b_w)              for every window
//     E.growth     (A_late / A_early) / (B_late / B_early) <= 2 ratio(m_early) ratio(m_late)
//
// A and B: RMS over the last and the first quarter of the windows of all pairs that have at least
// four, nothing below `growth_floor` counting as growth.
//
// The limit is such that honest paths do not fail by chance. Model: path and emulation make
// independent normal errors of one scale up to the factor 2 that clause B allows as well. A
// window's RMS then rests on m independent errors, and P(a/b > ratio(m, p)) <= p (counting.hpp:
// honest_ratio), with p = 1e-9 / (number of windows), half of that for each factor of the growth.
// m is read from the emulation: the participation number of its rows, (sum_r R_r)^2 / sum_r R_r^2
// with R_r the sum of squares of row r. It counts rows, as the elements of a row may share the
// rounding of a gate, and it drops by itself where few rows dominate (absolute errors under growing
// gates) or a row is one error (a third of the rows). Rows of a state, and of a tensor of one
// column (the reverse sums of a gate's gradient), share errors among themselves: 8 rows count as
// one. Fewer independent errors widen the limit smoothly (m = 64: 5; m = 8: 60; m = 1: 1e12), so
// that small cases are left to the clauses A and B.
//
// Errors are scaled (dimensionless, floor 0.3) or, for pairs without fields, absolute in the unit
// of the output with the caller's floor. All constants here are tunable; they need no table.
#pragma once

#include <string>
#include <vector>

#include "harness/judge/clauses.hpp"
#include "harness/judge/where.hpp"
#include "reference/core/matrix.hpp"

namespace groundstate::harness {

struct LocalityErrors {
  Matrix<double> path, emulation,
      floor;  // absolute values; elements without a verdict are 0 in all
  bool scaled = true;
};

class Locality {
 public:
  static constexpr Index least_rows = 64, least_elements = 256, growth_windows = 4, shared_rows = 8;
  static constexpr double allowed_factor = 2, scaled_floor = 0.3, growth_floor = 0.05;

  explicit Locality(TensorAxes axes) : axes_(std::move(axes)) {}
  void add(Pair pair, const LocalityErrors& errors);
  Clause local() const;
  Clause growth() const;

 private:
  struct Window {
    Pair pair;
    Index begin, end;               // rows
    double elements;                // without those that have no verdict
    double path, emulation, floor;  // RMS
    double independent;             // m
    double limit(double probability) const;
  };
  struct Quarter;
  static Window measure(const LocalityErrors& errors, Index begin, Index end);

  TensorAxes axes_;
  std::vector<Window> windows_;
  std::vector<std::pair<std::size_t, std::size_t>>
      growing_;  // windows of a scaled pair: begin, end
};

}  // namespace groundstate::harness
