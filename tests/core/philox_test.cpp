// The known answers are those of kat_vectors in Random123, the package of the generator's authors.
#include "reference/core/philox.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string_view>

namespace groundstate {
namespace {

constexpr std::uint64_t draws = 1'000'000;

TEST(Philox, GivesThePublishedAnswers) {
  using Counter = Philox::Counter;
  static_assert(Philox::block({0, 0, 0, 0}, {0, 0}) ==
                Counter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  constexpr std::uint32_t ones = 0xffffffff;
  static_assert(Philox::block({ones, ones, ones, ones}, {ones, ones}) ==
                Counter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  static_assert(
      Philox::block({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
      Counter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST(Fnv1a, GivesThePublishedAnswers) {
  static_assert(fnv1a_64("") == 0xcbf29ce484222325);
  static_assert(fnv1a_64("a") == 0xaf63dc4c8601ec8c);
  static_assert(fnv1a_64("foobar") == 0x85944171f73967e8);
}

TEST(RandomStream, IsPhiloxOfTheIndexUnderSeedAndName) {
  const std::uint64_t key = 5 ^ fnv1a_64("q"), index = 0x123456789abcdef0,
                      high = 0x0fedcba987654321;
  EXPECT_EQ(
      RandomStream(5, "q").bits(index, high),
      Philox::block({0x9abcdef0, 0x12345678, 0x87654321, 0x0fedcba9},
                    {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)}));
}

TEST(RandomStream, UniformNeverReachesItsEnds) {
  static_assert(RandomStream::uniform(0) == 0x1p-33);
  static_assert(RandomStream::uniform(0xffffffff) == 1 - 0x1p-33);
}

// Limits are five standard errors: sqrt(moment of twice the order / draws).
TEST(RandomStream, NormalHasTheMomentsOfFourUniforms) {
  const RandomStream stream(1, "x");
  double sum[5] = {}, largest = 0;
  for (std::uint64_t i = 0; i < draws; ++i) {
    const double x = stream.normal(i);
    double power = 1;
    for (double& s : sum) s += power, power *= x;
    largest = std::max(largest, std::abs(x));
  }
  const double error = 5 / std::sqrt(static_cast<double>(draws));
  EXPECT_NEAR(sum[1] / draws, 0, error);
  EXPECT_NEAR(sum[2] / draws, 1, 1.4 * error);
  EXPECT_NEAR(sum[3] / draws, 0, 3.4 * error);
  EXPECT_NEAR(sum[4] / draws, 2.7, 8 * error);  // kurtosis 3 - 6 / (5 * 4)
  EXPECT_LT(largest, 2 * std::sqrt(3.0));
  EXPECT_GT(largest, 3.2);
}

double correlation(const RandomStream& a, const RandomStream& b, std::uint64_t lag) {
  double sum = 0;
  for (std::uint64_t i = 0; i < draws; ++i) sum += a.normal(i) * b.normal(i + lag);
  return sum / draws;
}

TEST(RandomStream, NamesSeedsAndNeighboursAreUnrelated) {
  const double limit = 5 / std::sqrt(static_cast<double>(draws));
  const RandomStream q(1, "q"), k(1, "k"), q_of_next_seed(2, "q");
  EXPECT_NEAR(correlation(q, k, 0), 0, limit);
  EXPECT_NEAR(correlation(q, q_of_next_seed, 0), 0, limit);
  EXPECT_NEAR(correlation(q, q, 1), 0, limit);
}

TEST(RandomStream, NoTwoOfTheFirstBlocksAreAlike) {
  std::set<Philox::Counter> seen;
  for (const std::string_view name : {"q", "k", "v", "g"})
    for (const std::uint64_t seed : {0, 1, 2})
      for (std::uint64_t i = 0; i < 100; ++i)
        for (const std::uint64_t high : {0, 1}) seen.insert(RandomStream(seed, name).bits(i, high));
  EXPECT_EQ(seen.size(), 4u * 3 * 100 * 2);
}

}  // namespace
}  // namespace groundstate
