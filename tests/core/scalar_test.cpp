// Rounding is compared with a second definition that shares nothing with the first: the list of all
// values of a format, made with ldexp, in which the nearest neighbour of a double is looked at. All
// patterns are visited, with the midpoint above each and the doubles next to it.
#include "reference/core/scalar.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace groundstate {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

template <class Format>
constexpr std::uint32_t infinity_pattern = ((1u << Format::exponent_bits) - 1)
                                           << Format::fraction_bits;

// The value of a non-negative finite pattern, or of the one above the largest: what the format
// would hold there had it one exponent more, which is what rounding to nearest compares with (IEEE
// 754, 4.3.1).
template <class Format>
double value_of(std::uint32_t pattern) {
  const int exponent = static_cast<int>(pattern >> Format::fraction_bits);
  const std::uint32_t fraction = pattern & ((1u << Format::fraction_bits) - 1);
  const int smallest = Format::min_exponent - Format::fraction_bits;
  if (exponent == 0) return std::ldexp(fraction, smallest);
  return std::ldexp(fraction + (1u << Format::fraction_bits), smallest + exponent - 1);
}
template <class Format>
double rounded_value_of(std::uint32_t pattern) {
  return pattern >= infinity_pattern<Format> ? infinity : value_of<Format>(pattern);
}

// `same` by bits: zeros of different sign differ.
testing::AssertionResult same(double a, double b) {
  if (std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b))
    return testing::AssertionSuccess();
  return testing::AssertionFailure() << std::hexfloat << a << " is not " << b;
}

template <class Format>
class Rounding : public testing::Test {};
using Formats = testing::Types<Bfloat16Format, Float16Format, Tf32Format>;
TYPED_TEST_SUITE(Rounding, Formats);

TYPED_TEST(Rounding, TakesTheNearestAndTheEvenOfTwoAroundEveryPattern) {
  for (std::uint32_t p = 0; p < infinity_pattern<TypeParam>; ++p) {
    const double below = value_of<TypeParam>(p), above = value_of<TypeParam>(p + 1);
    const double middle = below + (above - below) / 2;  // exact: a double has bits to spare
    const double low = below, high = rounded_value_of<TypeParam>(p + 1);
    for (const double sign : {1.0, -1.0}) {
      const auto expect = [&](double x, double result) {
        ASSERT_TRUE(same(round_to<TypeParam>(sign * x), sign * result))
            << std::hexfloat << sign * x;
      };
      ASSERT_NO_FATAL_FAILURE(expect(below, low));
      ASSERT_NO_FATAL_FAILURE(expect(std::nextafter(below, infinity), low));
      ASSERT_NO_FATAL_FAILURE(expect(std::nextafter(middle, 0), low));
      ASSERT_NO_FATAL_FAILURE(expect(middle, p % 2 == 0 ? low : high));
      ASSERT_NO_FATAL_FAILURE(expect(std::nextafter(middle, infinity), high));
      ASSERT_NO_FATAL_FAILURE(expect(std::nextafter(above, 0), high));
    }
  }
}

TYPED_TEST(Rounding, OverflowsToInfinityAndUnderflowsToASignedZero) {
  for (const double sign : {1.0, -1.0}) {
    for (const double x : {0x1p200, std::numeric_limits<double>::max(), infinity})
      EXPECT_TRUE(same(round_to<TypeParam>(sign * x), sign * infinity));
    for (const double x : {0.0, 0x1p-200, std::numeric_limits<double>::denorm_min()})
      EXPECT_TRUE(same(round_to<TypeParam>(sign * x), sign * 0.0));
  }
}

TYPED_TEST(Rounding, KeepsNaN) {
  for (const std::uint64_t payload : {1ull, 0xfffffull, 0x8000000000000ull, 0xfffffffffffffull})
    for (const std::uint64_t sign : {0ull, 1ull << 63}) {
      const auto x = std::bit_cast<double>(sign | 0x7ffull << 52 | payload);
      EXPECT_TRUE(std::isnan(round_to<TypeParam>(x)));
      EXPECT_TRUE(std::isnan(round_to<TypeParam>(static_cast<float>(x))));
    }
  for (const std::uint32_t bits : {0x7f800001u, 0x7fffffffu, 0xff800001u, 0xffffffffu, 0x7fbfffffu})
    EXPECT_TRUE(std::isnan(round_to<TypeParam>(std::bit_cast<float>(bits)))) << std::hex << bits;
}

// All floats that share their upper bits with a value of the format, around the value and its
// midpoint.
TYPED_TEST(Rounding, OfAFloatIsRoundingOfTheSameDouble) {
  constexpr int lost = 23 - TypeParam::fraction_bits;
  constexpr std::uint32_t half = 1u << (lost - 1);
  for (std::uint32_t upper = 0; upper < 1u << (32 - lost); ++upper)
    for (const std::uint32_t lower : {0u, 1u, half - 1, half, half + 1, 2 * half - 1}) {
      const auto x = std::bit_cast<float>(upper << lost | lower);
      if (std::isnan(x)) continue;
      ASSERT_TRUE(same(round_to<TypeParam>(x), round_to<TypeParam>(static_cast<double>(x))))
          << std::hexfloat << x;
    }
}

TYPED_TEST(Rounding, HappensOnceNotThroughFloat) {
  // Just above a midpoint, closer to it than float can tell: by way of float it would look like a
  // tie.
  const double step = std::ldexp(1.0, -TypeParam::fraction_bits), x = 1 + step / 2 + 0x1p-40;
  EXPECT_EQ(round_to<TypeParam>(x), 1 + step);
  EXPECT_EQ(round_to<TypeParam>(static_cast<double>(static_cast<float>(x))), 1);
}

template <class T>
struct FormatOf;
template <>
struct FormatOf<bf16> {
  using type = Bfloat16Format;
};
template <>
struct FormatOf<fp16> {
  using type = Float16Format;
};

template <class T>
class Storage : public testing::Test {};
using StorageTypes = testing::Types<bf16, fp16>;
TYPED_TEST_SUITE(Storage, StorageTypes);

TYPED_TEST(Storage, WidensEveryPatternToItsValueAndBack) {
  using Format = typename FormatOf<TypeParam>::type;
  for (std::uint32_t p = 0; p < 0x10000; ++p) {
    const auto x = TypeParam::from_bits(static_cast<std::uint16_t>(p));
    const auto as_double = static_cast<double>(x);
    const auto as_float = static_cast<float>(x);
    const std::uint32_t magnitude = p & 0x7fff;
    if (magnitude > infinity_pattern<Format>) {
      ASSERT_TRUE(std::isnan(as_double) && std::isnan(as_float)) << p;
      ASSERT_TRUE(std::isnan(static_cast<float>(TypeParam(as_double)))) << p;
      continue;
    }
    const double value = rounded_value_of<Format>(magnitude);
    ASSERT_TRUE(same(as_double, p & 0x8000 ? -value : value)) << p;
    ASSERT_TRUE(same(as_float, as_double)) << p;
    ASSERT_EQ(TypeParam(as_double).bits(), p);
  }
}

TYPED_TEST(Storage, StoresWhatRoundingGives) {
  using Format = typename FormatOf<TypeParam>::type;
  for (std::uint32_t p = 0; p < infinity_pattern<Format>; ++p) {
    const double below = value_of<Format>(p), above = value_of<Format>(p + 1);
    for (const double x : {below + (above - below) / 2, std::nextafter(above, 0)})
      for (const double signed_x : {x, -x})
        ASSERT_TRUE(same(static_cast<double>(TypeParam(signed_x)), round_to<Format>(signed_x)))
            << std::hexfloat << signed_x;
  }
}

TEST(Storage, KnownPatterns) {
  EXPECT_EQ(bf16(1.0).bits(), 0x3f80);
  EXPECT_EQ(bf16(-2.0).bits(), 0xc000);
  EXPECT_EQ(bf16(infinity).bits(), 0x7f80);
  EXPECT_EQ(bf16(3.3895313892515355e38).bits(), 0x7f7f);  // the largest
  EXPECT_EQ(bf16(0x1p-133).bits(), 0x0001);               // the smallest
  EXPECT_EQ(bf16(0x1.8p-133).bits(), 0x0002);             // half way to the next: that one is even
  EXPECT_EQ(fp16(1.0).bits(), 0x3c00);
  EXPECT_EQ(fp16(65504.0).bits(), 0x7bff);
  EXPECT_EQ(fp16(65520.0).bits(), 0x7c00);
  EXPECT_EQ(fp16(-0x1p-24).bits(), 0x8001);
  EXPECT_EQ(fp16(-0.0).bits(), 0x8000);
}

// All values of fp8 that are not negative, by pattern: no infinity, and the last pattern is NaN.
std::vector<double> values_of_fp8() {
  std::vector<double> values;
  for (int p = 0; p < 0x7f; ++p)
    values.push_back(p < 8 ? std::ldexp(p, -9) : std::ldexp(8 + p % 8, p / 8 - 10));
  return values;
}

TEST(Fp8, WidensEveryPatternToItsValueAndBack) {
  const std::vector<double> values = values_of_fp8();
  for (std::size_t p = 0; p < values.size(); ++p)
    for (const unsigned sign : {0u, 0x80u}) {
      const auto x = fp8::from_bits(static_cast<std::uint8_t>(sign | p));
      ASSERT_TRUE(same(static_cast<double>(x), sign ? -values[p] : values[p])) << p;
      ASSERT_TRUE(same(static_cast<float>(x), static_cast<double>(x))) << p;
      ASSERT_EQ(fp8(static_cast<double>(x)).bits(), sign | p);
    }
  for (const unsigned bits : {0x7fu, 0xffu}) {
    const auto x = fp8::from_bits(static_cast<std::uint8_t>(bits));
    EXPECT_TRUE(std::isnan(static_cast<float>(x)) && std::isnan(static_cast<double>(x)));
    EXPECT_EQ(fp8(static_cast<double>(x)).bits() & 0x7f, 0x7f);
  }
}

TEST(Fp8, TakesTheNearestAndTheEvenOfTwoAroundEveryPattern) {
  const std::vector<double> values = values_of_fp8();
  for (std::size_t p = 0; p + 1 < values.size(); ++p) {
    const double middle = (values[p] + values[p + 1]) / 2;
    const auto low = static_cast<unsigned>(p), high = static_cast<unsigned>(p + 1);
    for (const unsigned sign : {0u, 0x80u}) {
      const auto bits = [sign](double x) { return fp8(sign ? -x : x).bits(); };
      EXPECT_EQ(bits(middle), sign | (p % 2 == 0 ? low : high)) << middle;
      EXPECT_EQ(bits(std::nextafter(middle, 0)), sign | low) << middle;
      EXPECT_EQ(bits(std::nextafter(middle, infinity)), sign | high) << middle;
    }
  }
}

TEST(Fp8, SaturatesAtTheLargestNumber) {
  for (const double x : {448.0, 463.9, 464.0, 465.0, 480.0, 512.0, 1e9, infinity}) {
    EXPECT_EQ(fp8(x).bits(), 0x7e) << x;
    EXPECT_EQ(fp8(-x).bits(), 0xfe) << x;
  }
}

TEST(Scalar, IsUsableInConstantExpressions) {
  static_assert(round_to<Bfloat16Format>(1.0 + 0x1p-9) == 1.0);
  static_assert(round_to<Tf32Format>(1.0f + 0x1p-11f) == 1.0f);
  static_assert(static_cast<float>(fp16(0.1)) == 0x1.998p-4f);
  static_assert(static_cast<double>(bf16::from_bits(0x0001)) == 0x1p-133);
}

}  // namespace
}  // namespace groundstate
