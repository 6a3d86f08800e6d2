// Sine, cosine and tanh in fp32 against long double, and their exact values.
#include "reference/core/trigonometric.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/core/philox.hpp"

namespace groundstate {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

// A double that is off by a few ulp rounds to the wrong float where it lies next to a midpoint:
// once in some 2^27 arguments.
void expect_correctly_rounded(float got, long double exact, float x) {
  EXPECT_EQ(got, static_cast<float>(exact)) << std::hexfloat << x;
}

TEST(Trigonometric, FloatsAreCorrectlyRoundedAtEverySize) {
  const RandomStream stream(1, "angles");
  for (int exponent = -30; exponent < 20; ++exponent)
    for (std::uint64_t i = 0; i < 400; ++i) {
      const double m = 1 + stream.uniform(i, static_cast<std::uint64_t>(exponent + 30));
      const auto x = static_cast<float>(std::ldexp(i % 2 == 0 ? m : -m, exponent));
      const auto [sine, cosine] = sine_and_cosine(x);
      expect_correctly_rounded(sine, std::sin(static_cast<long double>(x)), x);
      expect_correctly_rounded(cosine, std::cos(static_cast<long double>(x)), x);
      expect_correctly_rounded(hyperbolic_tangent(x), std::tanh(static_cast<long double>(x)), x);
    }
}

// Where the reduction cancels: the floats next to multiples of pi / 2.
TEST(Trigonometric, FloatsNextToZerosOfSineAndCosineKeepTheirDigits) {
  for (int k = 1; k < 600'000; k += 1 + k / 20) {
    const auto nearest = static_cast<float>(k * 1.57079632679489661923L);
    for (const float x : {std::nextafter(nearest, 0.0f), nearest, std::nextafter(nearest, 1e9f)}) {
      const auto [sine, cosine] = sine_and_cosine(x);
      expect_correctly_rounded(sine, std::sin(static_cast<long double>(x)), x);
      expect_correctly_rounded(cosine, std::cos(static_cast<long double>(x)), x);
    }
  }
}

TEST(Trigonometric, SignsOfZeroAndLimitsAreKept) {
  EXPECT_TRUE(std::signbit(sine_and_cosine(-0.0f).sine));
  EXPECT_EQ(sine_and_cosine(-0.0f).cosine, 1);
  EXPECT_TRUE(std::signbit(hyperbolic_tangent(-0.0f)));
  EXPECT_EQ(hyperbolic_tangent(infinity), 1);
  EXPECT_EQ(hyperbolic_tangent(-infinity), -1);
  EXPECT_EQ(hyperbolic_tangent(1e-40f), 1e-40f);
  EXPECT_TRUE(std::isnan(hyperbolic_tangent(std::nanf(""))));
}

TEST(Trigonometric, AnglesWithoutAFractionGiveNaN) {
  EXPECT_TRUE(std::isfinite(sine_and_cosine(largest_angle).sine));
  for (const float x : {std::nextafter(largest_angle, infinity), -infinity, infinity,
                        std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_TRUE(std::isnan(sine_and_cosine(x).sine));
    EXPECT_TRUE(std::isnan(sine_and_cosine(x).cosine));
    EXPECT_TRUE(std::isnan(wrapped_angle(x)));
  }
}

// The nearest float to 2 pi is 1.7e-7 too large; subtracted alone it moves every turn to the same
// side. A reduction is off by a rounding of the reduced angle, to either side.
TEST(Trigonometric, AReducedAngleIsOffByARoundingHoweverManyTurns) {
  constexpr long double two_pi = 6.283185307179586476925286766559005768L;
  const auto circular = [](long double difference) {
    return std::abs(static_cast<double>(std::remainder(difference, two_pi)));
  };
  for (const float angle : {6.3f, 7.0f, 100.0f, 12345.678f, -0.001f, -7.5f, 99999.0f}) {
    const float reduced = wrapped_angle(angle);
    EXPECT_LE(circular(static_cast<long double>(angle) - static_cast<long double>(reduced)),
              0x1p-22 + 0x1p-52 * std::abs(angle))
        << angle;
    EXPECT_GE(reduced, -1e-2f) << angle;  // the floor of fp32 may be that of a turn's neighbour
    EXPECT_LE(reduced, 6.2931860f) << angle;
  }
  // 4800 turns forth, or as many forth and back: each roundings of its steps, and alone 1.7e-7.
  for (const double backward : {0.0, 0.5}) {
    const RandomStream stream(1, "steps");
    const auto turn = static_cast<float>(two_pi);
    float plain = 0, exact = 0;
    long double sum = 0;
    for (std::uint64_t step = 0; step < 100'000; ++step) {
      const auto advance = static_cast<float>(0.6 * (stream.uniform(step, 0) - backward));
      plain += advance, exact += advance, sum += static_cast<long double>(advance);
      plain -= turn * std::floor(plain / turn);
      exact = wrapped_angle(exact);
    }
    if (backward == 0) {
      EXPECT_GT(circular(sum - static_cast<long double>(plain)), 5e-4);
    }
    // A step is rounded by 2^-22 at most, 1.4e-7 in the root mean square: 4.4e-5 for all of them.
    EXPECT_LT(circular(sum - static_cast<long double>(exact)), 6 * 4.4e-5);
  }
}

TEST(Trigonometric, ItIsComputedAtCompileTime) {
  static_assert(hyperbolic_tangent(0.0f) == 0 && sine_and_cosine(0.0f).cosine == 1);
  constexpr auto at_two = sine_and_cosine(2.0f);
  static_assert(at_two.sine > 0.9f && at_two.cosine < -0.4f);
}

}  // namespace
}  // namespace groundstate
