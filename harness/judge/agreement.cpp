#include "harness/judge/agreement.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "harness/judge/counting.hpp"
#include "harness/judge/units.hpp"

namespace groundstate::harness {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

double distance(double a, double b) {
  if (a == b || (std::isnan(a) && std::isnan(b))) return 0;
  const double apart = std::abs(a - b);
  return std::isnan(apart) ? infinity : apart;
}

// torch.testing.assert_close takes the wider of two types (its documentation, "rtol" and "atol").
UsualTolerance assert_close(ElementType left, ElementType right) {
  const auto rtol = [](ElementType type) {
    switch (type) {
      case ElementType::float64:
        return 1e-7;
      case ElementType::float32:
        return 1.3e-6;
      case ElementType::float16:
        return 1e-3;
      default:
        return 1.6e-2;
    }
  };
  const bool doubles = left == ElementType::float64 && right == ElementType::float64;
  return {"torch.testing.assert_close", std::max(rtol(left), rtol(right)), doubles ? 1e-7 : 1e-5};
}

// What storing adds to the roundoff of the arithmetic, and what of it scales with that.
double stored(const Promise& own) {
  const double roundoff = unit_roundoff(own.type);
  return roundoff > own.arithmetic ? roundoff : 0;
}
double computed(const Promise& own) { return std::min(unit_roundoff(own.type), own.arithmetic); }

double bound(const Promise& own, double unit, double size, double Triple::*point) {
  const double inner = std::max(0.0, unit - unit_roundoff(own.type) * size) + computed(own) * size;
  return stored(own) * size + own.limits.*point * inner;
}

}  // namespace

AgreementJudge::AgreementJudge(const Promise& left, const Promise& right, Index elements)
    : left_(left), right_(right) {
  for (Promise* const own : {&left_, &right_}) {
    own->limits.maximum *= maximum_growth(elements);
    found_.rtol += stored(*own) + own->limits.maximum * computed(*own);
  }
  found_.usual = {{"torch.allclose", 1e-5, 1e-8},
                  assert_close(left_.type, right_.type),
                  {"rtol = atol = 1e-2", 1e-2, 1e-2}};
}

void AgreementJudge::add(const ComparedElement& x) {
  const Index number = found_.elements++;
  found_.same_bits += x.same_bits;
  const double apart = distance(x.left, x.right);
  found_.largest = std::max(found_.largest, apart);
  if (!std::isfinite(x.left_unit) || !std::isfinite(x.right_unit)) return;
  ++found_.measured;
  const double size = std::isfinite(x.oracle) ? std::abs(x.oracle) : 0;
  const auto bounds = [&](double Triple::*point) {
    return bound(left_, x.left_unit, size, point) + bound(right_, x.right_unit, size, point);
  };
  const double allowed = bounds(&Triple::maximum);
  const auto share = [&](double of) { return apart == 0 ? 0 : apart / of; };
  const double difference = share(std::hypot(x.left_unit, x.right_unit));
  differences_.push(difference);
  shares_.push(share(allowed));
  rare_shares_.push(share(bounds(&Triple::p999)));
  if (difference > worst_) {
    worst_ = difference;
    found_.worst = number;
  }
  for (UsualTolerance& own : found_.usual) {
    const double tolerance = own.atol + own.rtol * std::abs(x.right);
    own.exceeded += apart > 0 && !(apart <= tolerance);
  }
  const double right_bound = bound(right_, x.right_unit, size, &Triple::maximum);
  const double needed = allowed - found_.rtol * std::max(0.0, size - right_bound);
  if (needed > found_.atol) {
    found_.atol = needed;
    found_.decisive = number;
  }
  if (size > 0) needs_.push_back({allowed, size});
  if (!std::isfinite(x.oracle)) return;
  const double left = distance(x.left, x.oracle), right = distance(x.right, x.oracle);
  found_.left.nearer += left < right;
  found_.right.nearer += right < left;
  left_squares_ += static_cast<long double>(left) * left;
  right_squares_ += static_cast<long double>(right) * right;
  oracle_squares_ += static_cast<long double>(x.oracle) * x.oracle;
}

MeasuredAgreement AgreementJudge::finish() const {
  MeasuredAgreement result = found_;
  const Index n = result.measured;
  result.difference = differences_.triple();
  const Index allowed = allowed_exceedances(n, 0.998);
  result.clauses[0] = n == 0 ? not_applicable("agree.99.8%", "no elements")
                      : allowed >= n
                          ? not_applicable("agree.99.8%", fmt::format("{} elements are too few", n))
                          : make_clause("agree.99.8%", rare_shares_.ascending(n - 1 - allowed), 1,
                                        fmt::format("{} of {} elements may exceed", allowed, n));
  result.clauses[1] = n == 0 ? not_applicable("agree.max", "no elements")
                             : make_clause("agree.max", shares_.triple().maximum, 1);
  const auto norm = [&](long double squares) {
    return static_cast<double>(
        std::sqrt(oracle_squares_ > 0 ? squares / oracle_squares_ : squares));
  };
  result.left.relative_norm = norm(left_squares_);
  result.right.relative_norm = norm(right_squares_);
  const auto widths = [&](double rtol, double atol) {
    ErrorList list;
    for (const Need& own : needs_) list.push((atol + rtol * own.size) / own.bound);
    return list;
  };
  result.slack = widths(result.rtol, result.atol).triple().median;
  for (UsualTolerance& own : result.usual) {
    const ErrorList list = widths(own.rtol, own.atol);
    own.narrowest = list.elements() > 0 ? list.ascending(0) : 0;
    own.median = list.triple().median;
  }
  return result;
}

}  // namespace groundstate::harness
