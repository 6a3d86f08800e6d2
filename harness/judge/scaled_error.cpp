#include "harness/judge/scaled_error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace groundstate::harness {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double half_subnormal_fp16 = 0x1p-25;

void check_shape(const Matrix<double>& field, const Matrix<double>& oracle, const char* name) {
  if (field.rows() != oracle.rows() || field.cols() != oracle.cols())
    throw std::logic_error(fmt::format("{} has shape {} x {}, the oracle {} x {}", name,
                                       field.rows(), field.cols(), oracle.rows(), oracle.cols()));
}

// sqrt(a^2 + b^2 + c^2 + d^2) without overflow or underflow of the squares.
double root_of_squares(double a, double b, double c, double d) {
  const double largest = std::max({a, b, c, d});
  if (!(largest > 0) || !std::isfinite(largest)) return a + b + c + d;
  a /= largest, b /= largest, c /= largest, d /= largest;
  return largest * std::sqrt(a * a + b * b + c * c + d * d);
}

}  // namespace

double storage_floor(const RecipeUnits& recipe, ElementType output) {
  const bool all_double = output == ElementType::float64 && recipe.operand < fp32_roundoff;
  const double flushed = all_double ? 0x1p-1022 : 0x1p-126;
  return output == ElementType::float16 ? flushed + half_subnormal_fp16 : flushed;
}

Matrix<double> internal_units(const RecipeUnits& recipe, const ScaleFields& fields) {
  Matrix<double> units(fields.input.rows(), fields.input.cols());
  for (Index i = 0; i < units.rows(); ++i)
    for (Index j = 0; j < units.cols(); ++j) {
      units(i, j) =
          root_of_squares(recipe.operand * fields.input(i, j), recipe.carry * fields.carry(i, j),
                          recipe.gate * fields.gate(i, j), 0);
      if (recipe.underflow_floor) units(i, j) += half_subnormal_fp16 * fields.open(i, j);
    }
  return units;
}

Matrix<double> error_units(const RecipeUnits& recipe, ElementType output,
                           const Matrix<double>& oracle, const ScaleFields& fields,
                           const Matrix<double>* form) {
  check_shape(fields.input, oracle, "s^I");
  check_shape(fields.carry, oracle, "s^C");
  check_shape(fields.gate, oracle, "s^G");
  if (recipe.underflow_floor) check_shape(fields.open, oracle, "s^open");
  if (form != nullptr) check_shape(*form, oracle, "the form term");
  const double out = unit_roundoff(output), floor = storage_floor(recipe, output);
  Matrix<double> units(oracle.rows(), oracle.cols());
  for (Index i = 0; i < oracle.rows(); ++i)
    for (Index j = 0; j < oracle.cols(); ++j) {
      double unit = root_of_squares(
          recipe.operand * fields.input(i, j), recipe.carry * fields.carry(i, j),
          recipe.gate * fields.gate(i, j), form != nullptr ? std::abs((*form)(i, j)) : 0.0);
      if (std::isfinite(oracle(i, j))) unit += out * std::abs(oracle(i, j));
      if (recipe.underflow_floor) unit += half_subnormal_fp16 * fields.open(i, j);
      units(i, j) = unit + floor;
    }
  return units;
}

double overflow_threshold(ElementType type) {
  // (2 - u) 2^emax: half a last place beyond the largest finite number.
  switch (type) {
    case ElementType::float32:
      return (2 - fp32_roundoff) * 0x1p127;
    case ElementType::bfloat16:
      return (2 - bf16_roundoff) * 0x1p127;
    case ElementType::float16:
      return (2 - fp16_roundoff) * 0x1p15;
    default:
      return infinity;
  }
}

double round_to_type(ElementType type, double x) {
  switch (type) {
    case ElementType::float32:
      return static_cast<float>(x);
    case ElementType::bfloat16:
      return round_to<Bfloat16Format>(x);
    case ElementType::float16:
      return round_to<Float16Format>(x);
    default:
      return x;
  }
}

double spacing(ElementType type, double x) {
  const bool half = type == ElementType::float16;
  const int digits = half ? 11 : 8, least = half ? -14 : -126;
  return std::ldexp(1.0, std::max(std::ilogb(x), least) - digits + 1);
}

double zero_error(double got) { return got == 0 ? 0 : infinity; }

double scaled_error(double got, double oracle, double unit, ElementType output) {
  if (std::isnan(oracle)) return std::isnan(got) ? 0 : infinity;
  if (got == oracle) return 0;  // equal infinities included
  if (std::isnan(got) || std::isinf(oracle)) return infinity;
  double error = std::abs(got - oracle);
  if (std::isinf(got)) {
    if (std::signbit(got) != std::signbit(oracle)) return infinity;
    error = std::max(0.0, overflow_threshold(output) - std::abs(oracle));
  }
  if (error == 0) return 0;
  // Not (unit > 0 and finite): a NaN of the unit must fail as well.
  if (!(unit > 0 && unit < infinity)) return infinity;
  return error / unit;
}

}  // namespace groundstate::harness
