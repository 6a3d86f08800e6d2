#include "harness/judge/sensitivity.hpp"

#include <cmath>
#include <stdexcept>

namespace groundstate::harness {
namespace {

using Squares = Matrix<long double>;

// Rows [begin, end) of the mean squares, in place.
void shrink_window(Squares& squares, Index begin, Index end, int runs) {
  const Index columns = squares.cols();
  Vector<long double> row_sum = Vector<long double>::Zero(end - begin);
  Vector<long double> column_sum = Vector<long double>::Zero(columns);
  long double sum = 0;
  for (Index i = begin; i < end; ++i)
    for (Index j = 0; j < columns; ++j) {
      row_sum[i - begin] += squares(i, j);
      column_sum[j] += squares(i, j);
      sum += squares(i, j);
    }
  if (!(sum > 0)) return;
  for (Index i = begin; i < end; ++i)
    for (Index j = 0; j < columns; ++j) {
      // The means' counts cancel: (sum_r / columns) (sum_c / rows) / (sum / (rows columns)).
      const long double predicted = row_sum[i - begin] * column_sum[j] / sum;
      squares(i, j) =
          (runs * squares(i, j) + shrinkage_weight * predicted) / (runs + shrinkage_weight);
    }
}

}  // namespace

Sensitivity::Sensitivity(const Matrix<double>& oracle)
    : oracle_(oracle), squares_(Squares::Zero(oracle.rows(), oracle.cols())) {}

void Sensitivity::add(const Matrix<double>& perturbed) {
  if (perturbed.rows() != oracle_.rows() || perturbed.cols() != oracle_.cols())
    throw std::logic_error("a perturbed run has another shape than the oracle");
  for (Index i = 0; i < oracle_.rows(); ++i)
    for (Index j = 0; j < oracle_.cols(); ++j) {
      const long double step =
          (static_cast<long double>(perturbed(i, j)) - oracle_(i, j)) / perturbation;
      if (std::isfinite(oracle_(i, j)) && std::isfinite(perturbed(i, j)))
        squares_(i, j) += step * step;
    }
  ++runs_;
}

Matrix<double> Sensitivity::field() const {
  if (runs_ < 2) throw std::logic_error("a sensitivity needs at least two perturbed runs");
  Squares squares = squares_ / static_cast<long double>(runs_);
  const Index rows = squares.rows();
  if (squares.cols() > 1)
    for (Index begin = 0, end; begin < rows; begin = end) {
      end =
          rows - begin < shrinkage_window + shrinkage_window / 2 ? rows : begin + shrinkage_window;
      shrink_window(squares, begin, end, runs_);
    }
  return squares.unaryExpr([](long double x) { return static_cast<double>(std::sqrt(x)); });
}

}  // namespace groundstate::harness
