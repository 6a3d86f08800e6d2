// The reference here is the long double of the C library, whose error is 2^-11 of a double's last
// place: it says how a float must be rounded but for arguments that no float comes near.
#include "reference/core/elementary.hpp"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>

namespace groundstate {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

// Every `stride`-th float of both signs.
template <class Use>
void for_floats(std::uint32_t stride, Use&& use) {
  for (std::uint64_t bits = 0; bits < 0x100000000; bits += stride) {
    const auto x = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    if (!std::isnan(x)) use(x);
  }
}

TEST(Elementary, ExponentialIsCorrectlyRounded) {
  for_floats(1009, [](float x) {  // all 2^32 were compared once, with the same result
    const auto expected = static_cast<float>(std::exp(static_cast<long double>(x)));
    ASSERT_EQ(std::bit_cast<std::uint32_t>(exponential(x)), std::bit_cast<std::uint32_t>(expected))
        << std::hexfloat << x;
  });
}

// |got - value| in units of the last place of `value`, at least that of the smallest subnormal.
long double last_places(float got, long double value) {
  const int exponent = std::max(std::ilogb(value), std::numeric_limits<float>::min_exponent - 1);
  return std::abs(static_cast<long double>(got) - value) / std::ldexp(1.0L, exponent - 23);
}

TEST(Elementary, SoftplusAndSiluAreWithinAHalfPlaceAndAHair) {
  const long double limit = 0.5L + 0x1p-20L;
  for_floats(4001, [&](float x) {
    const long double wide = x;
    if (x < 80) {
      const long double expected = std::log1p(std::exp(wide));
      ASSERT_LE(last_places(softplus(x), expected), limit) << std::hexfloat << x;
    }
    if (std::isfinite(x) && x > -80) {
      const long double expected = wide / (1 + std::exp(-wide));
      ASSERT_LE(last_places(silu(x), expected), limit) << std::hexfloat << x;
    }
  });
}

TEST(Elementary, EndsAreWhatTheEquationsSay) {
  EXPECT_EQ(exponential(-infinity), 0);
  EXPECT_EQ(exponential(infinity), infinity);
  EXPECT_EQ(exponential(0.0f), 1);
  EXPECT_EQ(exponential(-0x1p-149f), 1);
  EXPECT_EQ(softplus(-infinity), 0);
  EXPECT_EQ(softplus(infinity), infinity);
  EXPECT_GT(softplus(-88.0f), 6e-39f);  // log(e^x + 1) in fp32 is 0 from -17 down
  EXPECT_EQ(silu(0.0f), 0);
  EXPECT_EQ(silu(infinity), infinity);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float y : {exponential(nan), softplus(nan), silu(nan)}) EXPECT_TRUE(std::isnan(y));
}

TEST(Elementary, ADoubleIsTheLibrarys) {
  for (const double x : {-700.0, -1.5, 0.0, 0.3, 19.0}) {
    EXPECT_EQ(exponential(x), std::exp(x));
    EXPECT_EQ(softplus(x), std::log1p(std::exp(x)));
    EXPECT_EQ(silu(x), x / (1 + std::exp(-x)));
  }
}

}  // namespace
}  // namespace groundstate
