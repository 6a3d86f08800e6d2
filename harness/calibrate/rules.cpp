#include "harness/calibrate/rules.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "harness/judge/scaled_error.hpp"

namespace groundstate::harness {
namespace {

struct Closeness {
  double absolute, relative;
};

// torch.testing.assert_close, by the type of the tensors.
Closeness defaults(ElementType type) {
  switch (type) {
    case ElementType::float64:
      return {1e-7, 1e-7};
    case ElementType::bfloat16:
      return {1e-5, 1.6e-2};
    case ElementType::float16:
      return {1e-5, 1e-3};
    default:
      return {1e-5, 1.3e-6};
  }
}

bool is_close(double error, double reference, Closeness limit) {
  return error <= limit.absolute + limit.relative * std::abs(reference);
}

// std::max drops a NaN that comes second.
double larger(double a, double b) { return std::isnan(b) || b > a ? b : a; }

}  // namespace

void Comparison::add(const Matrix<double>& got, const Matrix<double>& reference,
                     const Matrix<double>* baseline) {
  const Closeness own = defaults(type_);
  has_baseline_ = baseline != nullptr;
  elements_ += reference.size();
  for (Index i = 0; i < reference.size(); ++i) {
    const double y = got.data()[i], r = reference.data()[i], error = std::abs(y - r);
    fits_ = fits_ && std::isfinite(round_to_type(type_, r));
    beyond_percent_ += !is_close(error, r, {1e-2, 1e-2});
    beyond_default_ += !is_close(error, r, own);
    error_squares_ += error * error;
    reference_squares_ += r * r;
    got_squares_ += y * y;
    product_ += y * r;
    largest_error_ = larger(largest_error_, error);
    if (baseline == nullptr) continue;
    const auto rounded = [this](double x) { return round_to_type(type_, x); };
    const double kept = rounded(r);
    largest_baseline_ = larger(largest_baseline_, std::abs(baseline->data()[i] - r));
    largest_rounding_ =
        larger(largest_rounding_, std::abs(rounded(rounded(kept + 0.3) - 0.3) - kept));
  }
}

bool Rule::allclose(const Comparison& c) { return c.beyond_percent_ == 0; }
bool Rule::assert_close(const Comparison& c) { return c.beyond_default_ == 0; }
bool Rule::rms_ratio(const Comparison& c) {
  const auto n = static_cast<double>(c.elements_);
  return c.largest_error_ <= 1e-6 ||
         std::sqrt(c.error_squares_ / n) / (std::sqrt(c.reference_squares_ / n) + 1e-8) < 5e-3;
}
bool Rule::nmse(const Comparison& c) {
  return c.error_squares_ == 0 || c.error_squares_ / c.reference_squares_ <= 5e-4;
}
bool Rule::cosine(const Comparison& c) {
  const double both = c.got_squares_ + c.reference_squares_;
  return both == 0 || 1 - 2 * c.product_ / both < 1e-3;
}
bool Rule::twice_the_baseline(const Comparison& c) {
  return c.largest_error_ <= 2 * c.largest_baseline_ + 2 * c.largest_rounding_;
}

std::optional<bool> Rule::verdict(const Comparison& comparison) const {
  if (!comparison.applicable() || (needs_baseline && !comparison.has_baseline_))
    return std::nullopt;
  return passes(comparison);
}

}  // namespace groundstate::harness
