// harness/clock: how many times what is timed and what comes of it, on a clock that says what the
// test wants; nothing here depends on how fast this machine is.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "harness/clock/bench_case.hpp"
#include "harness/operators/registry.hpp"
#include "harness/run/device.hpp"
#include "reference/core/parallel.hpp"
#include "reference/core/philox.hpp"
#include "tests/harness/expect_contains.hpp"
#include "tests/harness/faulty_operator.hpp"

namespace groundstate::harness {
namespace {

// ---- statistics

void expect_quartiles(std::vector<double> values, double first, double median, double third) {
  const Quartiles q = quartiles(std::move(values));
  EXPECT_EQ(q.first, first);
  EXPECT_EQ(q.median, median);
  EXPECT_EQ(q.third, third);
}

TEST(Quartiles, AreLinearBetweenNeighbours) {
  expect_quartiles({7}, 7, 7, 7);
  expect_quartiles({1, 2}, 1.25, 1.5, 1.75);
  expect_quartiles({4, 1, 3, 2}, 1.75, 2.5, 3.25);
  expect_quartiles({5, 3, 1, 4, 2}, 2, 3, 4);
  expect_quartiles({1, 1, 1, 1, 1e9}, 1, 1, 1);
}

TEST(Quartiles, AreInOrderAndScaleWithTheValuesWhateverTheirOrder) {
  const RandomStream stream(3, "seconds");
  for (std::uint64_t n = 1; n < 40; ++n) {
    std::vector<double> values, doubled;
    for (std::uint64_t i = 0; i < n; ++i) values.push_back(stream.normal(100 * n + i));
    const Quartiles q = quartiles(values);
    EXPECT_LE(std::ranges::min(values), q.first);
    EXPECT_LE(q.first, q.median);
    EXPECT_LE(q.median, q.third);
    EXPECT_LE(q.third, std::ranges::max(values));
    std::ranges::reverse(values);
    for (const double x : values) doubled.push_back(2 * x);
    expect_quartiles(doubled, 2 * q.first, 2 * q.median, 2 * q.third);
    // No more than half of the values are on either side of the median.
    EXPECT_LE(2 * std::ranges::count_if(values, [&](double x) { return x < q.median; }), n);
    EXPECT_LE(2 * std::ranges::count_if(values, [&](double x) { return x > q.median; }), n);
  }
}

TEST(Quartiles, NeedNumbers) {
  EXPECT_THROW(quartiles({}), std::invalid_argument);
  EXPECT_THROW(quartiles({1, std::numeric_limits<double>::quiet_NaN()}), std::invalid_argument);
}

// ---- protocol

TEST(Protocol, TakesTheSetsInTurn) {
  std::vector<int> order;
  const auto set = [&](int number) {
    return [&order, number] {
      order.push_back(number);
      return static_cast<double>(order.size());
    };
  };
  int between = 0;
  Protocol protocol;
  protocol.budget = 1e9;
  const std::vector<double> seconds =
      measure(protocol, {set(0), set(1), set(2)}, [&] { ++between; });
  ASSERT_EQ(seconds.size(), 30u);
  EXPECT_EQ(between, 30);
  for (std::size_t i = 0; i < order.size(); ++i) {
    EXPECT_EQ(order[i], static_cast<int>(i % 3));
    EXPECT_EQ(seconds[i], static_cast<double>(i + 1));
  }
}

TEST(Protocol, EndsWhenTheBudgetIsSpentButNotBeforeTheThirdRepetition) {
  const auto repetitions = [](double seconds, double budget) {
    Protocol protocol;
    protocol.budget = budget;
    return measure(protocol, {[=] { return seconds; }}).size();
  };
  EXPECT_EQ(repetitions(1, 10), 10u);
  EXPECT_EQ(repetitions(1, 9.5), 10u);
  EXPECT_EQ(repetitions(4, 10), 3u);
  EXPECT_EQ(repetitions(1000, 10), 3u);
  EXPECT_EQ(repetitions(1e-6, 10), 30u);
}

TEST(Protocol, IsInterruptedBetweenRepetitions) {
  int timed = 0, between = 0;
  EXPECT_THROW(measure(Protocol(), {[&] { return ++timed * 1e-3; }},
                       [&] {
                         if (++between == 5) throw std::runtime_error("stop");
                       }),
               std::runtime_error);
  EXPECT_EQ(timed, 4);
  EXPECT_THROW(measure(Protocol(), {}), std::invalid_argument);
}

// ---- ceilings

// A launch takes as long as the test says; a copy by the second of two ways takes 1 ns a byte, by
// the first one twice as long, and its first repetitions much longer. 1e9 flop/s.
class FakeClock : public Clock {
 public:
  double launch_seconds = 1e-3;
  Index cold_launches = 0, warm_launches = 0;
  mutable Index copies_made = 0;

  std::string device() const override { return "a machine"; }
  std::string driver() const override { return "1.2"; }
  std::map<std::string, double> clocks() const override { return {{"mhz", 1000}}; }
  double cache() const override { return 1000; }
  Timed timed(const Launch& launch, bool cold) override {
    return [this, launch, cold] {
      ++(cold ? cold_launches : warm_launches);
      now_ = launch_seconds;
      launch({});
      return now_;
    };
  }
  Launch empty() const override {
    return [this](gpu::Stream) { now_ = 3e-6; };
  }
  std::vector<Launch> copies(double bytes) const override {
    const auto way = [this, bytes](double factor) -> Launch {
      return [=, this, repetition = 0](gpu::Stream) mutable {
        now_ = 1e-9 * bytes * factor * (++repetition < 10 ? 50 : 1);
      };
    };
    ++copies_made;
    return {way(2), way(1)};
  }
  Peak peak(Arithmetic arithmetic, const Protocol&) override {
    return {1e9, arithmetic == Arithmetic::fp64 ? "fp64 units" : "other units"};
  }

 private:
  mutable double now_ = 0;
};

TEST(Ceiling, IsTheSlowerOfCopyAndOperationsAndTheFastestOfItsRepetitionsAndWays) {
  FakeClock clock;
  Ceilings ceilings(clock, Protocol());
  EXPECT_FALSE(ceilings.used());
  Ceiling least = ceilings.least({5000, 4000, Arithmetic::fp64});
  EXPECT_EQ(least.of, "fp64 units");
  EXPECT_DOUBLE_EQ(least.seconds, 5e-6);
  least = ceilings.least({3000, 4000, Arithmetic::half});
  EXPECT_EQ(least.of, copy_ceiling);
  EXPECT_DOUBLE_EQ(least.seconds, 4e-6);
  EXPECT_EQ(clock.warm_launches, 0);
  EXPECT_EQ(clock.copies_made, Protocol::rotated_sets)
      << "4000 bytes are copied in one measurement";
  EXPECT_DOUBLE_EQ(ceilings.empty_seconds(), 3e-6);
  EXPECT_TRUE(ceilings.used());
  EXPECT_EQ(ceilings.peaks().size(), 2u);
  EXPECT_DOUBLE_EQ(ceilings.copies().at(4000), 4e-6);
}

TEST(Ceiling, IsNotBeatenByMoreThanItsErrorUnlessTheCacheMayHelpACopy) {
  const Ceiling copy{copy_ceiling, 1}, units{"fp32 multiply-add", 1};
  EXPECT_EQ(impossible(105, units, 10, 1000), "");
  EXPECT_EQ(impossible(105, copy, 1e9, 1000), "");
  expect_contains(impossible(106, units, 10, 1000), "106 % of fp32 multiply-add cannot be");
  EXPECT_EQ(impossible(106, copy, 2000, 1000), "") << "the end of the copy may be in the cache";
  expect_contains(impossible(106, copy, 2001, 1000), "106 % of copy cannot be");
}

// ---- the processor

class OfThreads : public testing::Test {
 protected:
  ~OfThreads() override { set_threads(before_); }
  int before_ = threads();
};

TEST_F(OfThreads, ThePeakIsThatOfACoreTimesThem) {
  const std::unique_ptr<Clock> clock = make_cpu_clock();
  set_threads(1);
  const Peak one = clock->peak(Arithmetic::fp32, Protocol());
  EXPECT_GT(one.flops_per_second, 0);
  EXPECT_EQ(one.of, "fp32 multiply-add");
  expect_contains(clock->device(), ", 1 thread");
  set_threads(3);
  EXPECT_DOUBLE_EQ(clock->peak(Arithmetic::half, Protocol()).flops_per_second,
                   3 * one.flops_per_second);
  EXPECT_EQ(clock->peak(Arithmetic::fp64, Protocol()).of, "fp64 multiply-add");
  expect_contains(clock->device(), ", 3 threads");
}

TEST_F(OfThreads, EachTimingIsOneLaunch) {
  set_threads(2);
  const std::unique_ptr<Clock> clock = make_cpu_clock();
  for (const bool cold : {false, true}) {
    int launches = 0;
    const Timed timed = clock->timed([&](gpu::Stream) { ++launches; }, cold);
    EXPECT_EQ(launches, 0);
    EXPECT_GE(timed(), 0);
    EXPECT_GE(timed(), 0);
    EXPECT_EQ(launches, 2);
  }
  for (const double bytes : {0., 1., 7., 1e6})
    for (const Launch& copy : clock->copies(bytes)) EXPECT_NO_THROW(copy({}));
  EXPECT_GT(clock->cache(), 0);
}

// ---- a case

constexpr const char* path = "chunked:single";

// A path on a device that is none: what it launches runs here.
class ImaginaryRun : public DeviceRun {
 public:
  ImaginaryRun(const Operator& op, const Case& c, const PathVariant& v, const Tensors& inputs)
      : op_(op), case_(c), variant_(v), inputs_(inputs) {
    for (const TensorSpec& spec : op.outputs(c)) outputs_.push_back(spec.allocate());
  }
  void launch(gpu::Stream) override { op_.run(case_, variant_, inputs_, outputs_); }
  void read(Tensors& outputs) override {
    for (std::size_t i = 0; i < outputs.size(); ++i)
      for_each_pair(outputs_[i], outputs[i], [&](Index, Index from, Index to) {
        outputs[i].store(to, outputs_[i].load(from));
      });
  }
  std::string note() const override { return "num_steps 4 -> 3"; }

 private:
  const Operator& op_;
  Case case_;
  PathVariant variant_;
  Tensors inputs_, outputs_;
};

class OperatorWithDevicePaths : public FaultyOperator {
 public:
  explicit OperatorWithDevicePaths(const Operator& own)
      : FaultyOperator(own), paths_(own.paths().begin(), own.paths().end()) {
    for (Path& each : paths_) each.needs_device = true;
  }
  std::span<const Path> paths() const override { return paths_; }
  std::unique_ptr<DeviceRun> prepare(const Case& c, const PathVariant& v, const Tensors& inputs,
                                     const Tensors&) const override {
    return std::make_unique<ImaginaryRun>(*this, c, v, inputs);
  }

 private:
  std::vector<Path> paths_;
};

class BenchCase : public testing::Test {
 protected:
  BenchCase() { options.paths = {path}; }

  std::vector<BenchRow> rows(const Operator& op, bool with_device = false) {
    Ceilings cpu(clock, protocol), device(device_clock, protocol);
    std::vector<BenchRow> result;
    bench_case(op, {case_, {}, {}, {}}, options, {cpu, with_device ? &device : nullptr},
               [&](const BenchRow& row) { result.push_back(row); });
    return result;
  }
  BenchRow row(bool with_device = false) { return rows(op, with_device).at(0); }

  // The first element of the first output gets another sign, of the bits alone, in these runs.
  void break_runs(const std::function<bool(Index)>& which) {
    op.after_run = [this, which](const PathVariant&, Tensors& outputs) {
      if (which(++runs)) outputs[0].store(0, 1 + std::abs(outputs[0].load(0)));
    };
  }

  Case case_ = parse_case("simple_gla T=20 H=1 K=8 V=8 state=random dtype=fp32", grammars());
  FaultyOperator op{operator_of(case_)};
  RunOptions options;
  Protocol protocol;
  FakeClock clock, device_clock;
  Index runs = 0;
};

TEST_F(BenchCase, ThatPassedHasItsTimeItsWorkAndItsShareOfTheCeiling) {
  clock.launch_seconds = 1e-3;
  const BenchRow row = this->row();
  EXPECT_EQ(row.status, Status::passed) << row.note;
  EXPECT_EQ(row.note, "");
  ASSERT_TRUE(row.timing);
  EXPECT_EQ(row.timing->repetitions, 30);
  EXPECT_EQ(row.timing->seconds.median, 1e-3);
  EXPECT_EQ(row.flops, op.path_flops(case_, {"chunked", {}, "single"}));
  EXPECT_EQ(row.bytes, op.cost(case_).bytes);
  EXPECT_DOUBLE_EQ(row.overhead, 3e-6);
  ASSERT_TRUE(row.ceiling);
  EXPECT_DOUBLE_EQ(*row.percent(), 100 * std::max(row.flops, row.bytes) * 1e-9 / 1e-3);
  EXPECT_EQ(row.device, "a machine");
  EXPECT_EQ(row.clocks.at("mhz"), 1000);
  const nlohmann::json record = to_record(row);
  for (const char* const key :
       {"schema", "kind",     "case",    "id",        "operator",    "path",       "device",
        "driver", "status",   "median",  "quartiles", "repetitions", "cold",       "bytes",
        "flops",  "overhead", "ceiling", "percent",   "clocks",      "reproducer", "environment"})
    EXPECT_TRUE(record.contains(key)) << key;
}

TEST_F(BenchCase, AnExactPathWritesMoreBytes) {
  options.paths = {"chunked"};
  const BenchRow row = this->row();
  // o and ht in fp64 instead of fp32
  EXPECT_EQ(row.bytes, op.cost(case_).bytes + 4 * (20 * 8 + 8 * 8));
}

TEST_F(BenchCase, ThatFailedIsNotTimed) {
  break_runs([](Index) { return true; });
  const BenchRow row = this->row();
  EXPECT_EQ(row.status, Status::failed);
  EXPECT_FALSE(row.timing);
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(clock.cold_launches, 0);
  expect_contains(row.note, "o: first at");
  EXPECT_FALSE(to_record(row).contains("median"));
}

TEST_F(BenchCase, WhoseFirstOutputsAreNotTheJudgedOnesIsNotTimed) {
  break_runs([](Index run) { return run == 1 + Protocol::rotated_sets; });
  const BenchRow row = this->row();
  EXPECT_EQ(row.status, Status::failed);
  EXPECT_FALSE(row.timing);
  expect_contains(row.note, "o has other bits than when it was judged");
}

TEST_F(BenchCase, WhoseLastOutputsAreNotTheFirstOnesFailed) {
  break_runs([](Index run) { return run == 1 + Protocol::rotated_sets + 30; });
  const BenchRow row = this->row();
  EXPECT_EQ(row.status, Status::failed);
  EXPECT_TRUE(row.timing);
  EXPECT_EQ(runs, 1 + Protocol::rotated_sets + 30);
  expect_contains(row.note, "o has other bits after the last repetition");
}

TEST_F(BenchCase, ThatIsFasterThanThePeakFailed) {
  clock.launch_seconds = 1e-9;
  const BenchRow row = this->row();
  EXPECT_EQ(row.status, Status::failed);
  expect_contains(row.note, "% of other units cannot be");
}

TEST_F(BenchCase, SaysThatTheBudgetWasSpent) {
  clock.launch_seconds = 4;
  EXPECT_EQ(row().note, "3 of 30 repetitions within 10 s");
}

TEST_F(BenchCase, ThatIsWarmHasNoShare) {
  protocol.cold = false;
  const BenchRow row = this->row();
  EXPECT_EQ(row.status, Status::passed);
  EXPECT_FALSE(row.cold);
  EXPECT_FALSE(row.percent());
  EXPECT_FALSE(to_record(row).contains("percent"));
  EXPECT_EQ(clock.cold_launches, 0);
  EXPECT_EQ(clock.copies_made, 0);
}

TEST_F(BenchCase, ThatIsTooLargeSaysSo) {
  options.max_flops = 1;
  const BenchRow row = this->row();
  EXPECT_EQ(row.status, Status::unsupported);
  expect_contains(row.note, "--max-cost");
  EXPECT_FALSE(row.timing);
}

TEST_F(BenchCase, HasARowForEachOfItsPaths) {
  options.paths.clear();
  std::vector<std::string> names;
  for (const BenchRow& row : rows(op)) {
    names.push_back(row.path);
    EXPECT_TRUE(row.timing || row.status == Status::unavailable) << row.path << row.note;
  }
  EXPECT_EQ(names, op.default_variants(case_));
}

TEST_F(BenchCase, OnADeviceIsTimedThere) {
  if (device().name.empty()) GTEST_SKIP() << "judging a path on a device needs one";
  const OperatorWithDevicePaths device_op(op);
  const BenchRow absent = rows(device_op).at(0);
  EXPECT_EQ(absent.status, Status::unavailable);
  EXPECT_FALSE(absent.timing);
  const BenchRow row = rows(device_op, true).at(0);
  EXPECT_EQ(row.status, Status::passed) << row.note;
  EXPECT_EQ(row.note, "num_steps 4 -> 3");
  EXPECT_GE(device_clock.cold_launches, 30);
  EXPECT_EQ(clock.cold_launches, 0);
  EXPECT_THROW(op.prepare(case_, {path, {}, {}}, {}, {}), std::logic_error);
}

}  // namespace
}  // namespace groundstate::harness
