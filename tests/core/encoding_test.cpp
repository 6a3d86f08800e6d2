// The known answers are those of the encodings' source (flashinfer); the rest is counted: a value
// that lies a fraction f above a number of the format goes up for a share f of all random words.
#include "reference/core/encoding.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace groundstate {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

TEST(RoundingWords, AreThePublishedAnswers) {
  struct Answer {
    std::int64_t seed;
    Index offset;
    int rounds;
    Philox::Counter words;
  };
  const std::vector<Answer> answers{
      {0, 0, 10, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {0, 0, 5, {0xf10446c0, 0xc841128b, 0x23f43d26, 0x6cb9f044}},
      {0, 0, 1, {0, 0, 0, 0}},
      {42, 0, 10, {0x9ceaf053, 0x77f5493b, 0x12bf50ad, 0x5742b3d7}},
      {42, 1, 10, {0xfcdb2127, 0x53ba6cfd, 0x838f5a6e, 0x744e06fb}},
      {12345, 131072, 5, {0x0d88e411, 0xf1534882, 0x6bd3b261, 0xbfe72bb1}},
      {-1, 7, 10, {0x6e20f2b1, 0xc1403a74, 0x90c17850, 0x5cf56484}},
      {99999, (Index{1} << 32) + 5, 10, {0x030e6ba6, 0x4d121ba5, 0xf8887acd, 0x23bb0e16}},
  };
  for (const Answer& own : answers)
    EXPECT_EQ(rounding_words({own.seed, own.rounds}, own.offset), own.words) << own.seed;
}

TEST(Stochastic, GivesThePublishedAnswers) {
  static_assert(stochastic<fp16>(1.0004883f, 4095).bits() == 0x3c00);
  static_assert(stochastic<fp16>(1.0004883f, 4096).bits() == 0x3c01);
  static_assert(stochastic<fp16>(-3.14159274f, 1234).bits() == 0xc248);
  static_assert(stochastic<fp16>(65519, 8191).bits() == 0x7c00);
  static_assert(stochastic<fp16>(6.0e-5f, 0).bits() == 0);
  static_assert(stochastic<fp16>(6.1035e-5f, 8191).bits() == 0x0400);
  static_assert(stochastic<fp8>(1.06f, 32767).bits() == 0x38);
  static_assert(stochastic<fp8>(1.06f, 65535).bits() == 0x39);
  static_assert(stochastic<fp8>(447.9f, 65535).bits() == 0x7e);
  static_assert(stochastic<fp8>(460, 0).bits() == 0x7e);
  static_assert(stochastic<fp8>(-0.001f, 0).bits() == 0x80);
  static_assert(stochastic<fp8>(-0.001f, 65535).bits() == 0x81);
  static_assert(stochastic<fp8>(0.0009f, 40000).bits() == 0x01);
  static_assert(stochastic<std::int8_t>(0.25f, 49151) == 0);
  static_assert(stochastic<std::int8_t>(0.25f, 49152) == 1);
  static_assert(stochastic<std::int8_t>(-0.25f, 0) == -1);
  static_assert(stochastic<std::int8_t>(-0.25f, 16384) == 0);
  static_assert(stochastic<std::int8_t>(127, 65535) == 127);
  static_assert(stochastic<std::int8_t>(-127, 0) == -127);
}

// The mean over all random words of `bits` bits.
template <class Stored>
double mean(float v, int bits) {
  double sum = 0;
  for (std::uint32_t word = 0; word < 1u << bits; ++word)
    sum += static_cast<double>(stochastic<Stored>(v, word));
  return std::ldexp(sum, -bits);
}

TEST(Stochastic, HasNoBias) {
  for (const float v : {0.25f, 1.5f, -2.75f, 100.125f, -126.0f, 0.0f})
    EXPECT_EQ(mean<std::int8_t>(v, 16), v);
  for (const float v : {1.0f + 0x1p-12f, 3.14159274f, -1e3f / 7, 0x1.003p-14f, 60000.5f})
    EXPECT_EQ(mean<fp16>(v, 13), v);
  for (const float v : {1.0f + 0x1p-10f, 3.14159274f, -1e30f / 7, 0x1.23p-130f})
    EXPECT_EQ(mean<bf16>(v, 16), v);
  for (const float v : {1.0f + 0x1p-5f, 3.125f + 0x1p-10f, -200.0f, 0x1.8p-8f, 0x1p-10f})
    EXPECT_EQ(mean<fp8>(v, 16), v);
  // The sum is rounded to fp32 before it is cut: half of its last place more may go up.
  for (const float v : {3.0f + 0x1p-10f, 1000.0f + 0x1p-10f})
    EXPECT_NEAR(mean<std::int16_t>(v, 24), v, std::ldexp(v, -24));
}

TEST(Stochastic, LeavesWhatIsANumberOfTheFormatAlone) {
  for (const std::uint32_t word : {0u, 0xffffffffu, 0x12345678u}) {
    for (int code = -127; code <= 127; ++code)
      EXPECT_EQ(stochastic<std::int8_t>(static_cast<float>(code), word), code);
    for (std::uint32_t p = 0x0400; p < 0x7c00; p += 7)
      EXPECT_EQ(
          stochastic<fp16>(static_cast<float>(fp16::from_bits(static_cast<std::uint16_t>(p))), word)
              .bits(),
          p);
    for (std::uint32_t p = 0; p < 0x7f80; p += 7)
      EXPECT_EQ(
          stochastic<bf16>(static_cast<float>(bf16::from_bits(static_cast<std::uint16_t>(p))), word)
              .bits(),
          p);
    for (std::uint32_t p = 0; p < 0x7f; ++p)
      EXPECT_EQ(
          stochastic<fp8>(static_cast<float>(fp8::from_bits(static_cast<std::uint8_t>(p))), word)
              .bits(),
          p);
  }
}

TEST(Stochastic, EndsAreKept) {
  EXPECT_EQ(stochastic<fp16>(nan, 5).bits() & 0x7fff, 0x7e00);
  EXPECT_EQ(stochastic<fp16>(-infinity, 5).bits(), 0xfc00);
  EXPECT_TRUE(std::isnan(static_cast<float>(stochastic<bf16>(nan, 0xffff))));
  EXPECT_EQ(static_cast<float>(stochastic<bf16>(infinity, 0xffff)), infinity);
  EXPECT_EQ(stochastic<fp8>(nan, 5).bits() & 0x7f, 0x7f);
  EXPECT_EQ(stochastic<fp8>(-infinity, 5).bits(), 0xfe);
  EXPECT_EQ(stochastic<std::int8_t>(nan, 5), 0);
  EXPECT_EQ(stochastic<std::int16_t>(infinity, 5), 32767);
}

TEST(Nearest, TakesTheEvenOfTwoAndClips) {
  for (int code = -127; code < 127; ++code) {
    const auto even = code % 2 == 0 ? code : code + 1;
    EXPECT_EQ(nearest<std::int8_t>(static_cast<float>(code) + 0.5f), even);
    EXPECT_EQ(nearest<std::int8_t>(static_cast<float>(code) + 0.25f), code);
    EXPECT_EQ(nearest<std::int8_t>(static_cast<float>(code) + 0.75f), code + 1);
  }
  EXPECT_EQ(nearest<std::int8_t>(127.00001f), 127);
  EXPECT_EQ(nearest<std::int8_t>(-infinity), -127);
  EXPECT_EQ(nearest<std::int16_t>(1e9f), 32767);
  EXPECT_EQ(nearest<std::int16_t>(-32766.5f), -32766);
  EXPECT_EQ(nearest<std::int8_t>(nan), 0);
  EXPECT_EQ(nearest<fp8>(1e9f).bits(), 0x7e);
}

TEST(RowScale, DecodesTheLargestElementToItself) {
  for (const float amax : {1.0f, 0x1p-100f, 3.7e5f, 127.0f, 1e-30f}) {
    const RowScale scale = row_scale<std::int8_t>(amax);
    const auto code = static_cast<float>(nearest<std::int8_t>(amax * scale.encode));
    EXPECT_EQ(code, 127);
    EXPECT_NEAR(code * scale.decode, amax, amax * 4 * 0x1p-24f);  // four roundings
  }
}

TEST(RowScale, OfARowWithoutAMaximumIsOne) {
  EXPECT_EQ(row_scale<std::int8_t>(0).encode, 1);
  EXPECT_EQ(row_scale<fp8>(0).decode, 1);
}

TEST(RowScale, OfTheSmallestRowsIsFinite) {
  for (const float amax : {0x1p-149f, 1e-40f, 1e-37f}) {
    const RowScale scale = row_scale<std::int16_t>(amax);
    EXPECT_TRUE(std::isfinite(scale.encode) && scale.decode > 0) << amax;
    EXPECT_EQ(nearest<std::int16_t>(0 * scale.encode), 0);
  }
}

}  // namespace
}  // namespace groundstate
