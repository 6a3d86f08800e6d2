#include "reference/core/gate.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <type_traits>

namespace groundstate {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

TEST(Gate, LogDecaysAddWhereDecaysMultiply) {
  const LogDecay<double> a{-0.25}, b{-1.5};
  EXPECT_EQ((a + b).natural, -1.75);
  EXPECT_EQ((a - b).natural, 1.25);
  EXPECT_NEAR((decay(a) * decay(b)).factor, decay(a + b).factor, 1e-16);
}

TEST(Gate, BothBasesMeanTheSameDecay) {
  for (double g = -700; g <= 0; g += 0.37) {
    const double natural = decay(LogDecay<double>{g}).factor;
    const double base2 = decay(to_base2(LogDecay<double>{g})).factor;
    // The product with log2(e) is rounded: an absolute error of g * 2^-53 in the exponent.
    EXPECT_NEAR(base2, natural, natural * (1 - g) * 0x1p-52) << g;
    EXPECT_NEAR(to_natural(to_base2(LogDecay<double>{g})).natural, g, -g * 0x1p-51);
  }
}

TEST(Gate, ConvertsPowersOfTwoExactly) {
  EXPECT_EQ(decay(Log2Decay<float>{-3}).factor, 0.125f);
  EXPECT_EQ(to_base2(LogDecay<double>{0}).base2, 0);
  EXPECT_EQ(to_natural(Log2Decay<double>{1}).natural, std::log(2.0));
}

TEST(Gate, TheEndsForgetOrKeepEverything) {
  EXPECT_EQ(decay(LogDecay<double>{-infinity}).factor, 0);
  EXPECT_EQ(decay(Log2Decay<float>{-std::numeric_limits<float>::infinity()}).factor, 0);
  EXPECT_EQ(to_base2(LogDecay<double>{-infinity}).base2, -infinity);
  EXPECT_EQ(decay(LogDecay<double>{0}).factor, 1);
}

TEST(Gate, SigmoidMapsLogitsToProbabilities) {
  EXPECT_EQ(sigmoid(Logit<double>{0}).value, 0.5);
  EXPECT_EQ(sigmoid(Logit<double>{infinity}).value, 1);
  EXPECT_EQ(sigmoid(Logit<double>{-infinity}).value, 0);
  EXPECT_EQ(sigmoid(Logit<double>{-1000}).value, 0);
  for (double x = -30; x <= 30; x += 0.25)
    EXPECT_NEAR(sigmoid(Logit<double>{x}).value + sigmoid(Logit<double>{-x}).value, 1, 0x1p-52)
        << x;
}

TEST(Gate, KindsDoNotConvertIntoEachOther) {
  static_assert(!std::is_convertible_v<LogDecay<float>, Log2Decay<float>>);
  static_assert(!std::is_convertible_v<LogDecay<float>, Decay<float>>);
  static_assert(!std::is_convertible_v<Logit<float>, Probability<float>>);
  static_assert(!std::is_convertible_v<float, LogDecay<float>>);
  static_assert(!std::is_convertible_v<LogDecay<float>, float>);
}

}  // namespace
}  // namespace groundstate
