#include "harness/judge/window_moments.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "harness/judge/locality.hpp"

namespace groundstate::harness {
namespace {

WindowMoments moments(const Matrix<double>& window) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  if (!window.allFinite()) return {nan, nan};
  const double largest = window.cwiseAbs().maxCoeff();
  if (largest == 0) return {};
  long double sum = 0, squares = 0;
  for (Index i = 0; i < window.size(); ++i) {
    const auto x = static_cast<long double>(window.data()[i]) / largest;
    sum += x;
    squares += x * x;
  }
  const auto count = static_cast<long double>(window.size());
  return {static_cast<double>(largest * (sum / count)),
          static_cast<double>(largest * std::sqrt(squares / count))};
}

}  // namespace

std::vector<WindowMoments> window_moments(const Matrix<double>& output, bool rows_are_time) {
  std::vector<WindowMoments> result;
  for (const auto& [begin, end] : Locality::windows(output.rows(), output.cols(), rows_are_time))
    result.push_back(moments(output.middleRows(begin, end - begin)));
  return result;
}

double least_rms_error(const WindowMoments& path, const WindowMoments& oracle) {
  return std::max(std::abs(path.mean - oracle.mean), std::abs(path.rms - oracle.rms));
}

}  // namespace groundstate::harness
