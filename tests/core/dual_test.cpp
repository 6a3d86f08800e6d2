// Dual numbers: the derivatives of what the reference computes with, values as without them.
#include "reference/core/dual.hpp"

#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <string_view>

#include "reference/core/gate.hpp"
#include "reference/core/matrix.hpp"
#include "reference/core/philox.hpp"
#include "reference/core/two_float.hpp"

namespace groundstate {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

void expect_dual(const DualNumber& x, double value, double derivative) {
  EXPECT_EQ(x.value(), value);
  EXPECT_EQ(derivative_of(x), derivative);
}

// Integers from -3 to 3: all products and sums are exact.
Matrix<double> integers(Index rows, Index columns, std::string_view name) {
  const RandomStream stream(3, name);
  Matrix<double> result(rows, columns);
  for (Index i = 0; i < result.size(); ++i)
    result.data()[i] = std::floor(7 * stream.uniform(static_cast<std::uint64_t>(i), 0)) - 3;
  return result;
}
Matrix<DualNumber> join(const Matrix<double>& x, const Matrix<double>& dx) {
  return x.binaryExpr(dx, &dual);
}
Matrix<double> values(const Matrix<DualNumber>& x) {
  return x.unaryExpr([](const DualNumber& e) { return e.value(); });
}
Matrix<double> derivatives(const Matrix<DualNumber>& x) { return x.unaryExpr(&derivative_of); }

TEST(Dual, AConstantHasNoDerivative) {
  expect_dual(DualNumber(3), 3, 0);
  expect_dual(DualNumber(), 0, 0);
  DualNumber array[4]{};
  for (const DualNumber& x : array) expect_dual(x, 0, 0);
  EXPECT_EQ(derivatives(Matrix<DualNumber>::Ones(2, 3)), (Matrix<double>::Zero(2, 3)));
}

TEST(Dual, FollowsTheRulesOfCalculus) {
  const DualNumber x = dual(3, 2), y = dual(-5, 7);
  expect_dual(x + y, -2, 9);
  expect_dual(x - y, 8, -5);
  expect_dual(-x, -3, -2);
  expect_dual(x * y, -15, 2 * -5 + 3 * 7);
  expect_dual(4 * x, 12, 8);
  expect_dual(fma(x, y, dual(100, 1000)), 85, 1000 + 2 * -5 + 3 * 7);
  expect_dual(fma(x, y, x * y), -30, 2 * 11);
  expect_dual(exp(dual(0, 7)), 1, 7);
  expect_dual(exp2(dual(3, 0)), 8, 0);
  // exp2(x) = exp(x ln 2), where each of the two roundings of the exponent is worth one.
  const double own = derivative_of(exp2(dual(1.5, 7))), ln2 = std::log(2.0);
  EXPECT_NEAR(own, derivative_of(exp(ln2 * dual(1.5, 7))), 4 * 0x1p-53 * own);
  DualNumber sum = x;
  sum += y;
  sum *= y;
  sum -= x;
  expect_dual(sum, 7, 9 * -5 + -2 * 7 - 2);
}

TEST(Dual, AFusedMultiplyAddRoundsOnceInBothParts) {
  const double above = 1 + 0x1p-30, below = 1 - 0x1p-30;  // their product is 1 - 2^-60
  expect_dual(fma(dual(above, 0), dual(below, 0), DualNumber(-1)), -0x1p-60, 0);
  expect_dual(fma(dual(0, above), dual(below, 0), dual(0, -1)), 0, -0x1p-60);
  expect_dual(fma(dual(below, 0), dual(0, above), dual(0, -1)), 0, -0x1p-60);
}

TEST(Dual, IsOrderedByValue) {
  EXPECT_LT(dual(1, 9), dual(2, 0));
  EXPECT_TRUE(dual(1, 9) == DualNumber(1));
  expect_dual(std::max(dual(1, 9), DualNumber(2)), 2, 0);
  expect_dual(std::max(dual(3, 9), DualNumber(2)), 3, 9);
}

TEST(Dual, AGateOfMinusInfinityIsFlat) {
  expect_dual(decay(LogDecay<DualNumber>{dual(-infinity, 5)}).factor, 0, 0);
  expect_dual(decay(Log2Decay<DualNumber>{dual(-infinity, 5)}).factor, 0, 0);
  EXPECT_EQ(log_decay_floor<DualNumber>(), log_decay_floor<double>());
}

TEST(Dual, ATwoFloatSumHasTheDerivativeOfItsSum) {
  TwoFloat<DualNumber> sum;
  sum += dual(-1e6, 3);
  const TwoFloat<DualNumber> before = sum;
  sum += dual(-0.1, 5);
  expect_dual(sum - before, -0.1, 5);
}

TEST(Dual, ContractionsAreDifferentiatedTermByTerm) {
  for (const auto& [rows, columns, inner] : {std::array{1, 1, 1}, {5, 9, 7}, {18, 35, 20}}) {
    const auto a = integers(rows, inner, "a"), da = integers(rows, inner, "da"),
               b = integers(inner, columns, "b"), db = integers(inner, columns, "db"),
               c = integers(rows, columns, "c"), dc = integers(rows, columns, "dc");
    Matrix<DualNumber> sum = join(c, dc);
    add_product<DualNumber>(sum, join(a, da), join(b, db));
    EXPECT_EQ(values(sum), c + a * b);
    EXPECT_EQ(derivatives(sum), dc + da * b + a * db);
    expect_dual(inner_product<DualNumber>(join(c, dc), join(c, dc)), c.squaredNorm(),
                2 * c.cwiseProduct(dc).sum());
  }
}

TEST(Dual, ValuesHaveTheBitsOfExact) {
  const auto random = [](Index rows, Index columns, std::string_view name) -> Matrix<double> {
    const RandomStream stream(3, name);
    return Matrix<double>::NullaryExpr(rows, columns, [&](Index i, Index j) {
      return stream.normal(static_cast<std::uint64_t>(i * columns + j));
    });
  };
  const auto a = random(18, 20, "a"), b = random(20, 35, "b");
  Matrix<double> expected = random(18, 35, "c");
  Matrix<DualNumber> sum = join(expected, b.topRows(18));
  add_product<double>(expected, a, b);
  add_product<DualNumber>(sum, join(a, a), join(b, b));
  EXPECT_EQ(values(sum), expected);
  for (const double x : a.reshaped()) EXPECT_EQ(exp(dual(x, 1)).value(), std::exp(x));
}

}  // namespace
}  // namespace groundstate
