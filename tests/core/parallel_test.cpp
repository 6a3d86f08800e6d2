#include "reference/core/parallel.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

namespace groundstate {
namespace {

// Leaves the number of threads as it was, for the tests that follow in the same process.
class ParallelFor : public testing::TestWithParam<int> {
 protected:
  void SetUp() override { set_threads(GetParam()); }
  void TearDown() override { set_threads(before_); }

 private:
  int before_ = threads();
};
INSTANTIATE_TEST_SUITE_P(Threads, ParallelFor, testing::Values(1, 2, 3, 7),
                         [](const auto& info) { return std::to_string(info.param); });

TEST_P(ParallelFor, RunsEachIndexOnce) {
  EXPECT_EQ(threads(), GetParam());
  for (const Index count : {0, 1, 2, 6, 7, 8, 1000}) {
    std::vector<std::atomic<int>> runs(static_cast<std::size_t>(count));
    parallel_for(count, [&](Index i) { ++runs[static_cast<std::size_t>(i)]; });
    for (const auto& n : runs) EXPECT_EQ(n, 1);
  }
}

TEST_P(ParallelFor, GivesTheSameBitsForAnyNumberOfThreads) {
  const auto body = [](Index i) {
    double sum = 0;
    for (Index k = 1; k <= 100 + i; ++k) sum += 1.0 / static_cast<double>(k * (i + 1));
    return sum;
  };
  std::vector<double> got(300);
  parallel_for(300, [&](Index i) { got[static_cast<std::size_t>(i)] = body(i); });
  for (Index i = 0; i < 300; ++i) EXPECT_EQ(got[static_cast<std::size_t>(i)], body(i));
}

TEST_P(ParallelFor, RethrowsAnExceptionOfTheBodyAndCanBeUsedAgain) {
  for (const Index bad : {0, 57, 99}) {
    try {
      parallel_for(100, [&](Index i) {
        if (i == bad) throw std::runtime_error("index " + std::to_string(i));
      });
      FAIL() << "nothing was thrown";
    } catch (const std::runtime_error& error) {
      EXPECT_EQ(error.what(), "index " + std::to_string(bad));
    }
  }
  std::atomic<int> runs = 0;
  parallel_for(100, [&](Index) { ++runs; });
  EXPECT_EQ(runs, 100);
}

TEST_P(ParallelFor, RethrowsOneWhenAllBodiesThrow) {
  EXPECT_THROW(parallel_for(50, [](Index) { throw std::out_of_range("all"); }), std::out_of_range);
}

TEST_P(ParallelFor, RunsInsideItself) {
  std::vector<std::atomic<int>> runs(12);
  parallel_for(3, [&](Index i) {
    parallel_for(4, [&](Index j) { ++runs[static_cast<std::size_t>(4 * i + j)]; });
  });
  for (const auto& n : runs) EXPECT_EQ(n, 1);
}

}  // namespace
}  // namespace groundstate
