// Clause E: the errors of one (sequence, head) pair in one window of time against the errors of the
// same-path emulation there, and their growth along time.
//
//   window: at least 64 rows and 256 elements; a state is one window. a, b, f = RMS of the path's
//   and of the emulation's errors and of the floor in it
//     E.locality   a <= 2 ratio(m) sqrt(b^2 + f^2)                           for every window
//     E.growth     grow(a) / grow(b) <= 2 ratio(m_early) ratio(m_late)
//   grow(x): late / early of sqrt(x^2 + f^2), over the last and the first quarter of the windows of
//   all pairs that have at least four
//
// The limit is such that honest paths do not fail by chance. Model: path and emulation make
// independent normal errors of one scale, up to the factor 2 that clause B allows as well. A
// window's RMS then rests on m independent errors, and P(a/b > ratio(m, p)) <= p (counting.hpp:
// honest_ratio), with p = 1e-9 / (number of windows), half of 1e-9 for each factor of the growth;
// adding f to both only lowers a ratio above 1. The floor stands for an emulation that is exact, by
// luck or by nature.
//
// m is read from the emulation: the participation number of its rows, (sum_r R_r)^2 / sum_r R_r^2,
// R_r the sum of the squares of error and floor in row r. It counts rows, as the elements of a row
// may share the rounding of a gate, and it drops by itself where few rows dominate (absolute errors
// under growing gates) or a row is one error (a third of the rows). Rows of a state share
// errors among themselves: 8 rows count as one. So do those of a tensor of one column, the reverse
// sums of a gate's gradient, by what its operator says (limits.hpp: elements_per_error). Fewer
// independent errors widen the limit smoothly (at 1000 windows 2 ratio is 5 for m = 64, 130 for m =
// 8, 4e12 for m = 1), so that small cases are left to clauses A and B.
//
// Errors are scaled (dimensionless, floor 0.06) or, for pairs without fields, absolute in the unit
// of the output with the caller's floor. All constants here are tunable; they need no table.
#pragma once

#include <string>
#include <utility>
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
  static constexpr double allowed_factor = 2, scaled_floor = 0.06;

  // The windows of a pair's rows, as begin and end.
  static std::vector<std::pair<Index, Index>> windows(Index rows, Index columns,
                                                      bool rows_are_time);

  Locality(TensorAxes axes, double elements_per_error)
      : axes_(std::move(axes)), elements_per_error_(elements_per_error) {}
  void add(PairAt pair, const LocalityErrors& errors);
  Clause local() const;
  Clause growth() const;

 private:
  struct Window {
    PairAt pair;
    Index begin, end;               // rows
    double elements;                // without those that have no verdict
    double path, emulation, floor;  // RMS
    double independent;             // m
    double baseline() const;        // of emulation and floor
    double limit(double probability) const;
  };
  struct Quarter;
  static Window measure(const LocalityErrors& errors, Index begin, Index end);

  TensorAxes axes_;
  double elements_per_error_;
  std::vector<Window> windows_;
  std::vector<std::pair<std::size_t, std::size_t>>
      growing_;  // windows of a scaled pair: begin, end
};

}  // namespace groundstate::harness
