#include "harness/judge/clauses.hpp"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <utility>

#include "harness/judge/counting.hpp"
#include "harness/judge/scaled_error.hpp"

namespace groundstate::harness {

double Clause::ratio() const {
  if (!applicable) return 0;
  if (limit > 0)
    return std::isnan(value / limit) ? std::numeric_limits<double>::infinity() : value / limit;
  return value <= limit ? 0 : std::numeric_limits<double>::infinity();
}

Clause make_clause(std::string name, double value, double limit, std::string detail) {
  return {std::move(name), value, limit, true, value <= limit, std::move(detail), 1};
}

Clause not_applicable(std::string name, std::string reason) {
  return {std::move(name), 0, 0, false, true, std::move(reason), 1};
}

std::vector<Clause> counted_clauses(const std::string& prefix, const ErrorList& errors,
                                    Triple limits) {
  const Index n = errors.elements();
  const auto counted = [&](const char* point, double quantile, double limit) {
    const std::string name = prefix + point;
    if (n == 0) return not_applicable(name, "no elements");
    const Index allowed = allowed_exceedances(n, quantile);
    if (allowed >= n) return not_applicable(name, fmt::format("{} elements are too few", n));
    return make_clause(name, errors.ascending(n - 1 - allowed), limit,
                       fmt::format("{} of {} elements may exceed", allowed, n));
  };
  return {counted(".median", 0.5, limits.median), counted(".99.9%", 0.999, limits.p999),
          counted(".max", 1, limits.maximum * maximum_growth(n))};
}

void GridTest::add(double got, double oracle) {
  if (got == 0 || !std::isfinite(got) || !std::isfinite(oracle)) return;
  const double exact = static_cast<float>(oracle);
  const auto count = [&](Grid& grid, auto round) {
    if (round(exact) == exact) return;
    ++grid.eligible;
    grid.on_grid += round(got) == got;
  };
  count(bf16_, [](double x) { return round_to<Bfloat16Format>(x); });
  count(fp16_, [](double x) { return round_to<Float16Format>(x); });
  count(tf32_, [](double x) { return round_to<Tf32Format>(x); });
}

Clause GridTest::clause() const {
  const auto share = [](const Grid& grid) {
    return grid.eligible < least_elements
               ? 0.0
               : static_cast<double>(grid.on_grid) / static_cast<double>(grid.eligible);
  };
  // The coarsest grid that holds. Within the normal range of fp16 its grid is that of tf32.
  struct {
    const char* name;
    double share;
  } const grids[] = {
      {"bf16", share(bf16_)}, {"fp16 or tf32", share(fp16_)}, {"tf32", share(tf32_)}};
  if (tf32_.eligible < least_elements && bf16_.eligible < least_elements &&
      fp16_.eligible < least_elements)
    return not_applicable("C.grid",
                          fmt::format("less than {} elements off the grids", least_elements));
  const auto* worst = &grids[2];
  for (const auto& grid : grids)
    if (grid.share > share_limit) {
      worst = &grid;
      break;
    }
  return make_clause("C.grid", worst->share, share_limit,
                     fmt::format("share of elements on the {} grid", worst->name));
}

void BiasTest::add(double got, double oracle, double unit) {
  const double rounded = round_to_type(type_, oracle);
  if (oracle == 0 || !std::isfinite(rounded)) return;
  const double error = std::copysign(1.0, oracle) * (got - rounded) / unit;
  const double ulp = spacing(type_, oracle) / unit, size = std::abs(oracle) / unit;
  ++elements_;
  sum_ += error;
  uu_ += ulp * ulp;
  ur_ += ulp * size;
  rr_ += size * size;
  ue_ += ulp * error;
  re_ += size * error;
  ee_ += error * error;
}

Clause BiasTest::bias() const {
  if (elements_ < least_elements)
    return not_applicable("D.bias", fmt::format("less than {} elements", least_elements));
  const double mean = sum_ / static_cast<double>(elements_);
  return make_clause("D.bias", std::abs(mean), mean_limit,
                     fmt::format("mean signed error {:+.3f} units", mean));
}

Clause BiasTest::truncation() const {
  const double determinant = uu_ * rr_ - ur_ * ur_;
  const double b = (rr_ * ue_ - ur_ * re_) / determinant, c = (uu_ * re_ - ur_ * ue_) / determinant;
  const double variance = std::max(0.0, ee_ - b * ue_ - c * re_) /
                          static_cast<double>(elements_ - 2) * rr_ / determinant;
  const double limit = truncation_limit + std::sqrt(-2 * std::log(false_alarm) * variance);
  if (elements_ <= 2 || !(determinant > 0) || !(limit <= useful_limit))
    return not_applicable("D.truncation", "too few elements to tell it from rounding");
  return make_clause("D.truncation", std::abs(b), limit,
                     fmt::format("mean signed error {:+.3f} ulp", b));
}

}  // namespace groundstate::harness
