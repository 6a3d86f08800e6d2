// harness/run/case_list: cases side by side are the cases one after the other.
#include "harness/run/case_list.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "harness/case/error.hpp"
#include "harness/operators/registry.hpp"
#include "reference/core/parallel.hpp"
#include "tests/harness/records_without_times.hpp"

namespace groundstate::harness {
namespace {

// The longest first: those behind it end before.
std::vector<ListedCase> cases() {
  std::vector<ListedCase> result;
  for (const std::string text : {"simple_gla T=300 H=2 K=32 V=32", "simple_gla T=3 H=1 K=8 V=8",
                                 "decayed_sum T=20", "simple_gla T=5 H=1 K=8 V=8"}) {
    const bool sum = text.starts_with("decayed_sum");
    result.push_back({{parse_case(text, grammars()), {}, {}, {}},
                      sum ? std::vector<std::string>{} : std::vector<std::string>{"recurrent"}});
  }
  return result;
}

struct Heard {
  std::vector<std::string> reports;
  std::vector<std::size_t> begun;
};
void run(const std::vector<ListedCase>& list, const ListRunning& how, Heard& heard,
         const RunOptions& options = {}) {
  run_case_list(
      list, options, how, [&](std::size_t i) { heard.begun.push_back(i); },
      [&](std::size_t i, const CaseReport& report) {
        EXPECT_EQ(i, heard.reports.size());
        EXPECT_EQ(heard.begun.size(), i + 1);
        heard.reports.push_back(records_without_times(report));
      });
}

TEST(CaseList, AnyNumberOfJobsAndThreadsHasTheSameReportsInOrder) {
  Heard expected;
  run(cases(), {.isolated = false}, expected);
  ASSERT_EQ(expected.reports.size(), 4u);
  const int before = threads();
  for (const int count : {1, 5})
    for (const int jobs : {1, 2, 3, 50}) {
      set_threads(count);
      Heard heard;
      run(cases(), {.jobs = jobs}, heard);
      EXPECT_EQ(heard.reports, expected.reports) << jobs;
      EXPECT_EQ(threads(), count);
    }
  set_threads(before);
}

TEST(CaseList, AnEmptyListCallsNobody) {
  Heard heard;
  run({}, {.jobs = 3}, heard);
  EXPECT_TRUE(heard.begun.empty());
}

TEST(CaseList, ACaseThatCannotBeRunThrowsOnceThoseBeforeAreTaken) {
  std::vector<ListedCase> list = cases();
  list[1].paths = {"nonesuch"};
  for (const int jobs : {1, 3}) {
    Heard heard;
    EXPECT_THROW(run(list, {.jobs = jobs}, heard), UsageError);
    EXPECT_EQ(heard.reports.size(), 1u) << jobs;
  }
}

TEST(CaseList, WhatTickAndTakeThrowComesThrough) {
  struct Enough : std::runtime_error {
    Enough() : std::runtime_error("enough") {}
  };
  for (const int jobs : {1, 3}) {
    RunOptions options;
    options.tick = [] { throw Enough(); };
    Heard heard;
    EXPECT_THROW(run(cases(), {.jobs = jobs}, heard, options), Enough);
    const auto refuse = [](std::size_t, const CaseReport&) { throw Enough(); };
    EXPECT_THROW(run_case_list(
                     cases(), {}, {.jobs = jobs}, [](std::size_t) {}, refuse),
                 Enough);
  }
}

}  // namespace
}  // namespace groundstate::harness
