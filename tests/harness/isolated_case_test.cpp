// harness/run/isolated_case: what a path that crashes, hangs or gives up costs, and what it does
// not cost.
#include "harness/run/isolated_case.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <limits>
#include <new>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "harness/case/error.hpp"
#include "harness/operators/registry.hpp"
#include "harness/run/report_message.hpp"
#include "reference/core/parallel.hpp"
#include "tests/harness/faulty_operator.hpp"
#include "tests/harness/records_without_times.hpp"

namespace groundstate::harness {
namespace {

constexpr std::string_view line = "simple_gla T=20 H=1 K=8 V=8 state=random";
const std::vector<std::string> paths = {"recurrent", "scan", "chunked", "chunked:single"};

class IsolatedCase : public testing::Test {
 protected:
  IsolatedCase() : case_(parse_case(line, grammars())), op(operator_of(case_)) {
    options.paths = paths;
  }

  CaseReport run() const { return run_case_isolated(op, entry(), options, isolation); }
  CaseEntry entry() const { return {case_, {}, raised, {}}; }

  // All paths but this one have the results of a run without any trouble.
  void expect_others_unharmed(const CaseReport& report, std::string_view faulty) const {
    RunOptions others = options;
    std::erase(others.paths, faulty);
    const CaseReport expected = run_case(operator_of(case_), {case_, {}, {}, {}}, others);
    ASSERT_EQ(report.results.size(), options.paths.size());
    std::size_t k = 0;
    for (const Result& result : report.results) {
      if (result.path == faulty) {
        EXPECT_EQ(result.status, Status::failed);
        continue;
      }
      EXPECT_EQ(result.path, expected.results[k].path);
      EXPECT_EQ(to_record(result.verdict), to_record(expected.results[k].verdict)) << result.path;
      EXPECT_EQ(result.status, Status::passed) << result.note;
      ++k;
    }
    ASSERT_EQ(report.equalities.size(), expected.equalities.size());
    for (std::size_t i = 0; i < expected.equalities.size(); ++i) {
      EXPECT_EQ(report.equalities[i].name, expected.equalities[i].name);
      EXPECT_FALSE(report.equalities[i].violation);
    }
    EXPECT_TRUE(report.failed());
    EXPECT_EQ(report.judged(), static_cast<Index>(options.paths.size()));
  }
  void expect_one_failure(std::string_view faulty, const std::string& note) const {
    const CaseReport report = run();
    expect_others_unharmed(report, faulty);
    const auto result = std::find_if(report.results.begin(), report.results.end(),
                                     [&](const Result& each) { return each.path == faulty; });
    ASSERT_NE(result, report.results.end());
    EXPECT_EQ(result->note, note);
    EXPECT_NE(result->reproducer.find(faulty), std::string::npos);
  }
  FaultyOperator::Fault in(std::string path, std::function<void()> fault) const {
    return [this, path, fault](const PathVariant& v) {
      if (v.text(op.path_keys()) == path) fault();
    };
  }

  Case case_;
  FaultyOperator op;
  RunOptions options;
  CaseIsolation isolation;
  std::vector<RaisedLimit> raised;
};

TEST_F(IsolatedCase, WithoutTroubleHasTheBitsOfACaseWithoutIsolationForAnyNumberOfThreads) {
  const std::string expected = records_without_times(run_case(op, entry(), options));
  const int before = threads();
  for (const int count : {1, 2, 5}) {
    set_threads(count);
    EXPECT_EQ(records_without_times(run()), expected) << count;
  }
  set_threads(before);
}

TEST_F(IsolatedCase, ACrashIsOneFailedResult) {
  op.in_run = in("scan", [] { raise(SIGSEGV); });
  expect_one_failure("scan", "crashed: SIGSEGV (segmentation fault) in path scan while running");
  op.in_run = in("chunked:single", [] { std::abort(); });
  expect_one_failure("chunked:single",
                     "crashed: SIGABRT (aborted) in path chunked:single while running");
  op.in_run = in("recurrent", [] { raise(SIGKILL); });
  expect_one_failure("recurrent",
                     "crashed: SIGKILL (killed from outside, as where memory runs out) in path "
                     "recurrent while running");
}

TEST_F(IsolatedCase, AnExitIsOneToo) {
  op.in_run = in("scan", [] { std::exit(0); });
  expect_one_failure("scan", "ended the program by exit(0) in path scan while running");
  op.in_run = in("scan", [] { std::exit(3); });
  expect_one_failure("scan", "ended with exit status 3 in path scan while running");
}

TEST_F(IsolatedCase, AnExceptionIsOneToo) {
  op.in_run = in("scan", [] { throw std::bad_alloc(); });
  expect_one_failure("scan", "out of memory in path scan while running");
  op.in_run = in("scan", [] { throw std::logic_error("of no use"); });
  expect_one_failure("scan", "ended with an exception: of no use in path scan while running");
}

TEST_F(IsolatedCase, WhatAPathPrintsIsHeardAndExplainsItsCrash) {
  std::string heard;
  isolation.hear = [&](const std::string& said) { heard += said; };
  op.in_run = in("scan", [] {
    if (write(STDERR_FILENO, "libfast:\x1b  out of\n luck\n", 24) == 24) std::abort();
  });
  expect_one_failure("scan",
                     "crashed: SIGABRT (aborted) in path scan while running, having printed: "
                     "libfast:\\x1b out of luck");
  EXPECT_EQ(heard, "libfast:\x1b  out of\n luck\n");
}

TEST_F(IsolatedCase, ATimeOutIsOneToo) {
  isolation.time_out = std::chrono::milliseconds(1500);
  op.in_run = in("chunked", [] { sleep(600); });
  expect_one_failure("chunked", "timed out after 1.5 s in path chunked while running");
}

TEST_F(IsolatedCase, SeveralFaultsAreSeveralFailures) {
  op.in_run = [&](const PathVariant& v) {
    if (v.path != "recurrent") raise(v.path == "scan" ? SIGFPE : SIGILL);
  };
  const CaseReport report = run();
  EXPECT_EQ(report.results[0].status, Status::passed);
  EXPECT_EQ(report.results[1].note,
            "crashed: SIGFPE (floating point exception) in path scan while running");
  EXPECT_EQ(report.results[3].note,
            "crashed: SIGILL (illegal instruction) in path chunked:single while running");
  op.in_run = [](const PathVariant&) { raise(SIGSEGV); };
  for (const Result& result : run().results) EXPECT_EQ(result.status, Status::failed);
}

// The judge has all paths in its hands at once.
TEST_F(IsolatedCase, ACrashOfTheJudgeIsBlamedOnThePathThatItJudges) {
  op.in_judge = in("chunked", [] { raise(SIGSEGV); });
  expect_one_failure("chunked",
                     "crashed: SIGSEGV (segmentation fault) in path chunked while being judged");
}

TEST_F(IsolatedCase, ACrashThatAllPathsShareFailsAllOfThem) {
  op.in_pairs = [] { raise(SIGSEGV); };
  for (const Result& result : run().results) {
    EXPECT_EQ(result.status, Status::failed);
    EXPECT_NE(result.note.find("while being judged"), std::string::npos) << result.note;
  }
  isolation.time_out = std::chrono::milliseconds(200);
  op.in_pairs = [] { sleep(600); };
  for (const Result& result : run().results)
    EXPECT_EQ(result.note, "timed out after 0.2 s in path " + result.path + " while being judged");
}

TEST_F(IsolatedCase, WhatBreaksOnlyAllTogetherIsRunOneByOneAndSaysSo) {
  int runs = 0;  // of the child; the parent runs nothing
  op.in_run = [&](const PathVariant&) { ++runs; };
  op.in_pairs = [&] {
    if (runs > 1) raise(SIGKILL);
  };
  for (const Result& result : run().results) {
    EXPECT_EQ(result.status, Status::passed);
    EXPECT_NE(result.note.find("run alone, as all paths together crashed: SIGKILL"),
              std::string::npos)
        << result.note;
  }
}

TEST_F(IsolatedCase, ACrashInAContractNamesTheContract) {
  int runs = 0;
  op.in_run = in("scan", [&] {
    if (++runs > 1 && threads() == 7) raise(SIGSEGV);
  });
  const int before = threads();
  set_threads(2);
  expect_one_failure("scan",
                     "crashed: SIGSEGV (segmentation fault) in path scan while checking the "
                     "contract scan: 7 threads");
  set_threads(before);
}

TEST_F(IsolatedCase, UsageErrorsAndInterruptsAreThoseOfACaseWithoutIsolation) {
  op.in_run = [](const PathVariant&) { throw UsageError("not like this"); };
  EXPECT_THROW(run(), UsageError);
  op.in_run = [](const PathVariant&) { sleep(600); };
  options.tick = [ticks = 0]() mutable {
    if (++ticks > 3) throw Interrupted();
  };
  EXPECT_THROW(run(), Interrupted);
}

TEST_F(IsolatedCase, ACaseThatNoPathTakesNeedsNoChild) {
  options.max_flops = 1;
  op.in_run = [](const PathVariant&) { raise(SIGSEGV); };
  for (const Result& result : run().results) EXPECT_EQ(result.status, Status::unsupported);
}

TEST_F(IsolatedCase, ARaisedLimitOfAPathThatCrashedIsNoFurtherFailure) {
  raised = {{"scan", "A.max", 2, std::chrono::year(2999) / 1 / 1, "known", "file:1"}};
  EXPECT_EQ(run().raised_limit_problems.size(), 1u);  // nothing needs it
  op.in_run = in("scan", [] { raise(SIGSEGV); });
  EXPECT_EQ(run().raised_limit_problems.size(), 0u);
  expect_one_failure("scan", "crashed: SIGSEGV (segmentation fault) in path scan while running");
}

// ---- the message

CaseReport sample_report() {
  const Case c = parse_case(line, grammars());
  RunOptions options;
  options.paths = {"recurrent", "chunked:single"};
  CaseReport report = run_case(operator_of(c), {c, "a reason", {}, {}}, options);
  report.raised_limit_problems = {"one", ""};
  report.equalities.front().violation = "differs";
  TensorVerdict& verdict = report.results[1].verdict.tensors.front();
  verdict.status = Status::failed;
  verdict.errors.maximum = -std::numeric_limits<double>::quiet_NaN();
  verdict.where.bad = 1;
  verdict.where.first = BadElement{{1, 2}, 3, 4, 0.1, -0.0, 1e300};
  verdict.where.worst = {*verdict.where.first};
  verdict.where.residue = 63;
  verdict.where.heads = {{1, 5}, 7};
  return report;
}

TEST(ReportMessage, ComesBackInEveryBit) {
  const CaseReport report = sample_report();
  const std::string message = report_message(report);
  const CaseReport back = read_report(message);
  EXPECT_EQ(report_message(back), message);
  EXPECT_EQ(to_records(back), to_records(report));
  EXPECT_TRUE(std::signbit(back.results[1].verdict.tensors.front().errors.maximum));
}

TEST(ReportMessage, CutOffOrDamagedItIsAnErrorOrAnotherReport) {
  const std::string message = report_message(sample_report());
  for (std::size_t size = 0; size < message.size(); ++size)
    EXPECT_THROW(read_report(std::string_view(message).substr(0, size)), std::runtime_error);
  EXPECT_THROW(read_report(message + "x"), std::runtime_error);
  for (std::size_t at = 0; at < message.size(); ++at) {
    std::string flipped = message;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x41);
    try {
      read_report(flipped);
    } catch (const std::runtime_error&) {
    }
  }
}

}  // namespace
}  // namespace groundstate::harness
