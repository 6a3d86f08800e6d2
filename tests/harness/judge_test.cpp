// Claims about the judge: it fails closed, its counting rule is the binomial one, honest noise
// passes at every size, known-wrong outputs fail by the clause that is meant for them, and it says
// where.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <tuple>

#include "harness/case/error.hpp"
#include "harness/judge/counting.hpp"
#include "harness/judge/sensitivity.hpp"
#include "harness/judge/verdict.hpp"
#include "harness/judge/window_moments.hpp"
#include "reference/core/philox.hpp"

namespace groundstate::harness {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();
const std::vector<ElementType> float_types = {ElementType::float64, ElementType::float32,
                                              ElementType::bfloat16, ElementType::float16};

Matrix<double> random_matrix(Index rows, Index columns, std::uint64_t seed,
                             const std::string& name) {
  const RandomStream stream(seed, name);
  Matrix<double> m(rows, columns);
  for (Index i = 0; i < m.size(); ++i) m.data()[i] = stream.normal(static_cast<std::uint64_t>(i));
  return m;
}

// A problem whose honest errors are known: normal, of `spread` units, independent.
struct Problem {
  RecipeUnits recipe;
  ElementType type;
  Matrix<double> oracle, got, emulation, units;
  ScaleFields fields;

  Problem(Index rows, Index columns, std::uint64_t seed, std::string_view recipe_name,
          ElementType output, double spread = 0.25)
      : recipe(recipe_units(recipe_name)),
        type(output),
        oracle(random_matrix(rows, columns, seed, "oracle")),
        fields{Matrix<double>::Constant(rows, columns, 1.5),
               Matrix<double>::Constant(rows, columns, 2),
               Matrix<double>::Constant(rows, columns, 0.5),
               Matrix<double>::Constant(rows, columns, 1)} {
    units = error_units(recipe, type, oracle, fields);
    got = noisy(seed, "got", spread);
    emulation = noisy(seed, "emulation", spread);
  }
  Matrix<double> noisy(std::uint64_t seed, const std::string& name, double spread) const {
    Matrix<double> m =
        oracle.array() +
        spread * units.array() * random_matrix(oracle.rows(), oracle.cols(), seed, name).array();
    return m.unaryExpr([this](double x) { return round_to_type(type, x); });
  }
  PairData pair(PairAt at = {}) const {
    return {at, got, oracle, &fields, nullptr, nullptr, &emulation};
  }
  TensorVerdict judge(bool form_declared = true, TensorAxes axes = {}) const {
    TensorJudge judge(info(axes), {recipe, form_declared});
    judge.add(pair());
    return judge.finish();
  }
  TensorInfo info(TensorAxes axes = {}) const {
    return {"o", type, Family::diagonal, std::move(axes), false};
  }
};

const Clause& clause(const TensorVerdict& verdict, const std::string& name) {
  for (const Clause& clause : verdict.clauses)
    if (clause.name == name) return clause;
  throw std::logic_error("no clause " + name);
}

std::string failures(const TensorVerdict& verdict) {
  std::string text;
  for (const Clause& clause : verdict.clauses)
    if (!clause.passed)
      text += clause.name + " " + std::to_string(clause.value) + " / " +
              std::to_string(clause.limit) + " (" + clause.detail + ")  ";
  return text;
}

TEST(Units, AreHalfTheDistanceFromOneToTheNextNumber) {
  EXPECT_EQ(round_to<Bfloat16Format>(1 + unit_roundoff(ElementType::bfloat16)), 1);
  EXPECT_GT(round_to<Bfloat16Format>(1 + 1.01 * unit_roundoff(ElementType::bfloat16)), 1);
  EXPECT_EQ(round_to<Float16Format>(1 + unit_roundoff(ElementType::float16)), 1);
  EXPECT_GT(round_to<Float16Format>(1 + 1.01 * unit_roundoff(ElementType::float16)), 1);
  EXPECT_EQ(static_cast<float>(1 + unit_roundoff(ElementType::float32)), 1.0f);
  EXPECT_EQ(1 + unit_roundoff(ElementType::float64), 1.0);
}

TEST(Units, UnknownRecipeNamesTheKnownOnes) {
  try {
    recipe_units("bf16");
    FAIL();
  } catch (const UsageError& error) {
    for (const RecipeUnits& recipe : recipe_table())
      EXPECT_NE(std::string(error.what()).find(recipe.name), std::string::npos);
  }
}

TEST(Units, EveryRecipeHasLimitsInEveryFamily) {
  for (const RecipeUnits& recipe : recipe_table())
    for (const Family family : {Family::diagonal, Family::delta, Family::gate_gradient}) {
      const Triple limits = recipe_limits(recipe.limit_row, family);
      EXPECT_LT(limits.median, limits.p999) << recipe.name;
      EXPECT_LE(limits.p999, limits.maximum) << recipe.name;
    }
  EXPECT_THROW(recipe_limits("none", Family::delta), UsageError);
}

TEST(Sensitivity, EstimatesTheSpreadOfALinearResponse) {
  // r = c x with x -> x (1 + eps xi): s = |c x|. The RMS of 8 runs over n elements has relative
  // deviation 1 / sqrt(2 * 8 n) = 0.4 % for n = 4096; xi has kurtosis below 3. Five deviations: 2
  // %.
  const Matrix<double> oracle = random_matrix(64, 64, 1, "x").array() + 10;
  Sensitivity sensitivity(oracle);
  for (int run = 0; run < perturbed_runs; ++run)
    sensitivity.add(
        oracle.array() *
        (1 + perturbation * random_matrix(64, 64, 2, "xi" + std::to_string(run)).array()));
  const Matrix<double> s = sensitivity.field();
  EXPECT_NEAR((s.array() / oracle.array()).square().mean(), 1, 0.04);
}

TEST(Sensitivity, ShrinkageIsTheFormulaOfTheStudy) {
  const Matrix<double> oracle = Matrix<double>::Zero(2, 2);
  Matrix<double> step(2, 2);
  step << 1, 2, 3, 4;
  Sensitivity sensitivity(oracle);
  for (int run = 0; run < 8; ++run) sensitivity.add(perturbation * step);
  // s^2 = [1 4; 9 16], mean 7.5; p(0, 0) = 2.5 * 5 / 7.5; (8 * 1 + 8 p) / 16.
  EXPECT_NEAR(sensitivity.field()(0, 0), std::sqrt((8 * 1 + 8 * (2.5 * 5 / 7.5)) / 16), 1e-15);
}

TEST(Sensitivity, SameRunsGiveSameBitsAndColumnsPermuteWithTheirField) {
  const Matrix<double> oracle = random_matrix(200, 16, 3, "r");
  Sensitivity once(oracle), again(oracle), permuted(oracle.rowwise().reverse());
  for (int run = 0; run < 8; ++run) {
    const Matrix<double> perturbed =
        oracle + perturbation * random_matrix(200, 16, 4, "run" + std::to_string(run));
    once.add(perturbed);
    again.add(perturbed);
    permuted.add(perturbed.rowwise().reverse());
  }
  const Matrix<double> field = once.field();
  EXPECT_EQ(field, again.field());
  // A permuted sum of 64 x 16 long doubles moves by at most 1024 * 2^-64, below double's roundoff;
  // the final rounding may still fall either way.
  const Matrix<double> back = permuted.field().rowwise().reverse();
  EXPECT_LE(((field - back).array() / field.array()).abs().maxCoeff(), 0x1p-51);
}

TEST(Sensitivity, OneColumnIsNotShrunk) {
  const Matrix<double> oracle = Matrix<double>::Zero(64, 1);
  Matrix<double> step = Matrix<double>::Constant(64, 1, perturbation);
  step(5, 0) = 0;
  Sensitivity sensitivity(oracle);
  sensitivity.add(step);
  sensitivity.add(step);
  EXPECT_EQ(sensitivity.field()(5, 0), 0);
  EXPECT_EQ(sensitivity.field()(6, 0), 1);
}

TEST(Sensitivity, SmallChannelsAndExtremeSizesKeepTheirScale) {
  Matrix<double> oracle = Matrix<double>::Constant(64, 2, 1);
  oracle.col(0) *= 1e-280;  // its square is no double
  oracle.col(1) *= 1e280;
  Sensitivity sensitivity(oracle);
  for (const double sign : {1.0, -1.0}) sensitivity.add(oracle * (1 + sign * perturbation));
  EXPECT_NEAR(sensitivity.field()(0, 0) / 1e-280, 1, 1e-6);
  EXPECT_NEAR(sensitivity.field()(63, 1) / 1e280, 1, 1e-6);
}

TEST(Sensitivity, NonFiniteRunsForgiveNothingAndOneRunIsRefused) {
  const Matrix<double> oracle{{1.0, nan}, {infinity, 2.0}};
  Sensitivity sensitivity(oracle);
  sensitivity.add(Matrix<double>{{infinity, 1.0}, {1.0, nan}});
  EXPECT_THROW(sensitivity.field(), std::logic_error);
  sensitivity.add(Matrix<double>{{nan, 1.0}, {1.0, -infinity}});
  EXPECT_EQ(sensitivity.field(), Matrix<double>::Zero(2, 2));
}

TEST(ScaledError, NaNMatchesOnlyNaN) {
  for (const ElementType type : float_types) {
    for (const double oracle : {0.0, 1.0, -1e300, infinity, -infinity})
      for (const double unit : {0.0, 1.0, infinity, nan})
        EXPECT_EQ(scaled_error(nan, oracle, unit, type), infinity);
    for (const double got : {0.0, 1.0, infinity})
      EXPECT_EQ(scaled_error(got, nan, 1, type), infinity);
    EXPECT_EQ(scaled_error(nan, nan, 1, type), 0);
  }
}

TEST(ScaledError, InfinitiesMatchInSign) {
  for (const ElementType type : float_types) {
    EXPECT_EQ(scaled_error(infinity, infinity, 1, type), 0);
    EXPECT_EQ(scaled_error(-infinity, infinity, 1, type), infinity);
    EXPECT_EQ(scaled_error(1e30, infinity, 1, type), infinity);
    EXPECT_EQ(scaled_error(-infinity, 1e30, 1, type), infinity);
    EXPECT_GT(scaled_error(infinity, 1.0, 1e-3, type), 1e6);
  }
}

TEST(ScaledError, OracleBeyondTheOutputTypeExpectsInfinity) {
  const auto half = [](double got, double oracle) {
    return scaled_error(got, oracle, std::abs(oracle) * fp16_roundoff, ElementType::float16);
  };
  EXPECT_EQ(half(infinity, 1e9), 0);
  EXPECT_EQ(half(infinity, 65520), 0);  // rounds to infinity
  EXPECT_EQ(half(-infinity, 1e9), infinity);
  EXPECT_GT(half(65504, 1e9), 2000);  // saturated
  EXPECT_LT(half(65504, 65530), 1);   // within an honest error of the threshold, on either side
  EXPECT_LT(half(infinity, 65510), 1);
  EXPECT_GT(half(infinity, 60000), 100);
  for (const ElementType type :
       {ElementType::float32, ElementType::bfloat16, ElementType::float16}) {
    EXPECT_TRUE(std::isinf(round_to_type(type, overflow_threshold(type)))) << name_of(type);
    EXPECT_FALSE(std::isinf(round_to_type(type, std::nextafter(overflow_threshold(type), 0))));
  }
}

TEST(ScaledError, UnusableUnitFailsUnlessEqual) {
  for (const double unit : {0.0, -1.0, infinity, nan}) {
    EXPECT_EQ(scaled_error(1, 1, unit, ElementType::float32), 0);
    EXPECT_EQ(scaled_error(1, 2, unit, ElementType::float32), infinity);
  }
}

TEST(ScaledError, ZeroByDefinitionIgnoresOnlyTheSign) {
  EXPECT_EQ(zero_error(0.0), 0);
  EXPECT_EQ(zero_error(-0.0), 0);
  EXPECT_EQ(zero_error(5e-324), infinity);
  EXPECT_EQ(zero_error(nan), infinity);
}

TEST(ScaledError, StorageRoundingIsAtMostOneUnit) {
  // Without any sensitivity: u_out |r| + floor alone must cover rounding and subnormals of each
  // type.
  const Matrix<double> sizes = random_matrix(1, 1000, 5, "size").array() * 8;
  const Matrix<double> oracle = sizes.unaryExpr([](double x) { return std::exp(x); });
  const Matrix<double> zero = Matrix<double>::Zero(1, 1000);
  const ScaleFields none{zero, zero, zero, zero};
  for (const auto& [recipe, type] : {std::pair{"tensorcore-bf16", ElementType::bfloat16},
                                     {"tensorcore-fp16", ElementType::float16},
                                     {"single", ElementType::float32}}) {
    const Matrix<double> units = error_units(recipe_units(recipe), type, oracle, none);
    for (Index j = 0; j < 1000; ++j)
      EXPECT_LE(scaled_error(round_to_type(type, oracle(0, j)), oracle(0, j), units(0, j), type),
                1);
  }
}

TEST(ScaledError, UnitFollowsTheFormula) {
  const Matrix<double> r{{-2.0}};
  const Matrix<double> form{{0x1p-10}};
  const ScaleFields fields{Matrix<double>{{3.0}}, Matrix<double>{{5.0}}, Matrix<double>{{7.0}},
                           Matrix<double>{{11.0}}};
  const double square =
      std::pow(3 * 0x1p-11, 2) + std::pow(5 * 0x1p-24, 2) + std::pow(7 * 0x1p-24, 2);
  const double expected = 2 * 0x1p-24 + std::sqrt(square + 0x1p-20) + 11 * 0x1p-25 + 0x1p-126;
  EXPECT_NEAR(
      error_units(recipe_units("tensorcore-fp16"), ElementType::float32, r, fields, &form)(0, 0),
      expected, 1e-15 * expected);
  const ScaleFields huge{Matrix<double>{{1e300}}, Matrix<double>{{0.0}}, Matrix<double>{{0.0}}, {}};
  EXPECT_NEAR(error_units(recipe_units("exact"), ElementType::float64, r, huge)(0, 0),
              1e300 * 0x1p-53, 1e285);
  EXPECT_THROW(error_units(recipe_units("tensorcore-fp16"), ElementType::float16, r, huge),
               std::logic_error);
}

TEST(Counting, IsTheSmallestCountOfTheBinomialTail) {
  for (const double q : {0.5, 0.9, 0.999})
    for (Index n = 1; n <= 400; ++n) {
      // Tail sums from the top, in long double, by the recurrence of the probabilities.
      const long double p = 1 - q;
      std::vector<long double> probability(static_cast<std::size_t>(n) + 1);
      probability[0] = std::pow(1 - p, static_cast<long double>(n));
      for (Index k = 0; k < n; ++k)
        probability[k + 1] = probability[k] * (n - k) / (k + 1) * p / (1 - p);
      Index expected = n;
      long double tail = 0;  // P(> expected)
      while (expected > 0 && tail + probability[expected] < false_alarm)
        tail += probability[expected--];
      ASSERT_EQ(allowed_exceedances(n, q), expected) << "n = " << n << " q = " << q;
    }
}

TEST(Counting, BinomialProbabilityIsExact) {
  for (const Index n : {1, 2, 15, 16, 17, 100, 1000}) {
    double sum = 0;
    for (Index k = 0; k <= n; ++k) sum += binomial_probability(n, k, 0.3);
    EXPECT_NEAR(sum, 1, 1e-12);
  }
  EXPECT_NEAR(binomial_probability(10, 3, 0.5), 120.0 / 1024, 1e-15);
  EXPECT_EQ(binomial_probability(5, 0, 0), 1);
  EXPECT_EQ(binomial_probability(5, 5, 1), 1);
}

TEST(Counting, LargeNumbersApproachSixDeviations) {
  for (const Index n : {Index{1'000'000}, Index{100'000'000}, Index{10'000'000'000}}) {
    const double k = static_cast<double>(allowed_exceedances(n, 0.5));
    // P(Z > 5.9978) = 1e-9; a discrete tail is within one count of the continuous one.
    EXPECT_NEAR((k - 0.5 * static_cast<double>(n)) / std::sqrt(0.25 * static_cast<double>(n)),
                5.998, 5e-3);
    EXPECT_LT(allowed_exceedances(n, 0.999), n / 500);
  }
  EXPECT_EQ(allowed_exceedances(10'000'000'000, 1), 0);
  EXPECT_EQ(allowed_exceedances(0, 0.5), 0);
}

TEST(Counting, HonestRatioBoundsTheRatioOfTwoSpreads) {
  EXPECT_NEAR(honest_ratio(1e12), 1, 1e-4);
  EXPECT_GT(honest_ratio(1), 1e9);
  // At p = 1e-2 the bound must hold in samples: 4000 draws, 5 deviations above 40 are 72.
  for (const int m : {1, 4, 16}) {
    const double limit = honest_ratio(m, 1e-2);
    int exceeded = 0;
    for (std::uint64_t draw = 0; draw < 4000; ++draw)
      exceeded +=
          random_matrix(1, m, draw, "a").norm() > limit * random_matrix(1, m, draw, "b").norm();
    EXPECT_LT(exceeded, 72) << m;
  }
}

TEST(Counting, MaximumGrowsOnlyBeyondTenMillion) {
  EXPECT_EQ(maximum_growth(1), 1);
  EXPECT_EQ(maximum_growth(9'999'999), 1);
  EXPECT_NEAR(maximum_growth(1'000'000'000), std::sqrt(1.5), 1e-12);
}

TEST(ErrorListOrder, StatisticsAreThoseOfTheSortedList) {
  for (const Index n : {1, 2, 3, 999, 1000, 1001, 5000}) {
    ErrorList errors;
    std::vector<float> sorted;
    for (Index i = 0; i < n; ++i) {
      const double e = std::abs(RandomStream(7, "e").normal(static_cast<std::uint64_t>(i)));
      errors.push(e);
      if (i % 3 == 0) errors.push_unjudged();
      sorted.push_back(static_cast<float>(e));
    }
    std::sort(sorted.begin(), sorted.end());
    EXPECT_EQ(errors.elements(), n);
    for (const Index rank : {Index{0}, n / 3, n / 2, n - 1})
      EXPECT_EQ(errors.ascending(rank), sorted[rank]);
    const Triple triple = errors.triple();
    EXPECT_EQ(triple.median, sorted[static_cast<std::size_t>(std::ceil(0.5 * n)) - 1]);
    EXPECT_EQ(triple.p999, sorted[(999 * n + 999) / 1000 - 1]);
    EXPECT_EQ(triple.maximum, sorted.back());
  }
  ErrorList poisoned;
  poisoned.push(nan);
  EXPECT_EQ(poisoned.triple().median, infinity);
}

TEST(Verdict, HonestNoiseNeverFails) {
  const std::vector<std::tuple<std::string_view, ElementType>> paths = {
      {"single", ElementType::float32},
      {"tf32", ElementType::float32},
      {"tensorcore-bf16", ElementType::bfloat16},
      {"tensorcore-fp16", ElementType::float16},
      {"exact", ElementType::float64}};
  const std::vector<std::pair<Index, Index>> shapes = {{1, 1},   {1, 16},  {2, 3},    {7, 1},
                                                       {64, 1},  {63, 16}, {300, 1},  {65, 64},
                                                       {5, 128}, {500, 8}, {300, 64}, {1000, 16}};
  std::uint64_t seed = 0;
  int draws = 0;
  for (int repeat = 0; repeat < 40; ++repeat)
    for (const auto& [rows, columns] : shapes)
      for (const auto& [recipe, type] : paths) {
        if (rows * columns > 5000 && repeat % 6 != 0) continue;
        const Problem problem(rows, columns, ++seed, recipe, type,
                              type == ElementType::bfloat16 ? 0.2 : 0.25);
        const TensorVerdict verdict = problem.judge();
        ++draws;
        ASSERT_EQ(verdict.status, Status::passed) << rows << " x " << columns << " " << recipe
                                                  << " seed " << seed << ": " << failures(verdict);
      }
  EXPECT_GE(draws, 2000);
}

TEST(Verdict, HonestNoiseOfManyPairsNeverFails) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    TensorJudge judge({"o", ElementType::float32, Family::delta, {}, false},
                      {recipe_units("single"), true});
    for (Index head = 0; head < 6; ++head) {
      // Whole rows share an error, as the rounding of a scalar gate does; heads differ in length.
      Problem problem(64 * (head + 1), 16, 100 * seed + static_cast<std::uint64_t>(head), "single",
                      ElementType::float32, 0.1);
      for (auto* output : {&problem.got, &problem.emulation})
        output->array() +=
            0.2 * problem.units.array() *
            random_matrix(problem.oracle.rows(), 1, seed + (output == &problem.got), "row")
                .replicate(1, 16)
                .array();
      const PairData data = problem.pair({0, head});
      judge.add(head % 2 == 0 ? data
                              : PairData{data.pair, data.got, data.oracle, nullptr, nullptr,
                                         nullptr, data.emulation});
    }
    const TensorVerdict verdict = judge.finish();
    ASSERT_EQ(verdict.status, Status::passed) << failures(verdict);
    EXPECT_EQ(verdict.sampled_pairs, 3);
    EXPECT_EQ(verdict.pairs, 6);
  }
}

TEST(Verdict, NaNNeverPassesAnywhere) {
  for (const ElementType type : float_types)
    for (const bool sampled : {true, false})
      for (const auto& [rows, columns] : {std::pair<Index, Index>{1, 1}, {3, 5}, {200, 32}})
        for (const Index place : {Index{0}, rows * columns / 2, rows * columns - 1})
          for (const double bad : {nan, infinity, -infinity}) {
            Problem problem(rows, columns, 9, "tensorcore-bf16", type);
            problem.got.data()[place] = bad;
            TensorJudge judge(problem.info(), {problem.recipe, false});
            PairData data = problem.pair();
            if (!sampled) data.fields = nullptr;
            judge.add(data);
            const TensorVerdict verdict = judge.finish();
            ASSERT_EQ(verdict.status, Status::failed)
                << name_of(type) << " " << place << " " << bad;
            ASSERT_FALSE(clause(verdict, "pattern").passed);
            ASSERT_EQ(verdict.where.bad, 1);
          }
}

// Nor may it make an honest tensor fail: what it did not compute is no baseline.
TEST(Verdict, NaNOfTheEmulationIsNoBaseline) {
  Problem problem(200, 32, 9, "single", ElementType::float32);
  problem.emulation.bottomRows(150).setConstant(nan);
  problem.emulation.topRows(50) = problem.oracle.topRows(50);
  const TensorVerdict verdict = problem.judge();
  EXPECT_EQ(verdict.status, Status::passed);
  EXPECT_FALSE(clause(verdict, "B").applicable);
}

TEST(Verdict, NaNOfTheEmulationForgivesNothing) {
  Problem problem(200, 32, 9, "single", ElementType::float32);
  problem.emulation.setConstant(nan);
  problem.got(3, 3) += 30 * problem.units(3, 3);
  EXPECT_EQ(problem.judge().status, Status::failed);
}

TEST(Verdict, MatchedNonFiniteOraclePasses) {
  Problem problem(100, 8, 10, "tensorcore-fp16", ElementType::float16, 0.2);
  problem.oracle(3, 3) = problem.got(3, 3) = problem.emulation(3, 3) = nan;
  problem.oracle(4, 3) = problem.got(4, 3) = problem.emulation(4, 3) = -infinity;
  problem.oracle(5, 3) = 1e9;
  problem.got(5, 3) = problem.emulation(5, 3) = infinity;
  TensorVerdict verdict = problem.judge();
  EXPECT_EQ(verdict.status, Status::passed) << failures(verdict);
  EXPECT_EQ(verdict.elements, 797);
  problem.got(5, 3) = 65504;
  verdict = problem.judge();
  EXPECT_EQ(verdict.status, Status::failed);
}

TEST(Verdict, OneWrongElementFailsAmongOneAndAmongAMillion) {
  for (const auto& [rows, columns] : {std::pair<Index, Index>{1, 1}, {8192, 128}}) {
    Problem problem(rows, columns, 11, "single", ElementType::float32);
    EXPECT_EQ(problem.judge().status, Status::passed);
    const Index row = rows / 2, column = columns / 2;
    problem.got(row, column) = problem.oracle(row, column) + 30 * problem.units(row, column);
    const TensorVerdict verdict = problem.judge();
    EXPECT_EQ(verdict.status, Status::failed);
    EXPECT_FALSE(clause(verdict, "A.max").passed);
    EXPECT_EQ(verdict.where.bad, 1);
    ASSERT_TRUE(verdict.where.first);
    EXPECT_EQ(verdict.where.first->row, row);
    EXPECT_EQ(verdict.where.first->column, column);
  }
}

TEST(Verdict, ZeroByDefinitionIsComparedAsZero) {
  Problem problem(10, 10, 12, "single", ElementType::float32);
  const Matrix<bool> zero = Matrix<bool>::Constant(10, 10, true);
  problem.oracle.setZero();
  problem.emulation.setZero();
  const auto judge = [&](bool sampled) {
    TensorJudge judge(problem.info(), {problem.recipe});
    PairData data = problem.pair();
    data.zero = &zero;
    if (!sampled) data.fields = nullptr;
    judge.add(data);
    return judge.finish();
  };
  for (const bool sampled : {true, false}) {
    problem.got.setConstant(-0.0);
    EXPECT_EQ(judge(sampled).status, Status::passed);
    problem.got(9, 9) = 5e-324;
    EXPECT_EQ(judge(sampled).status, Status::failed);
    EXPECT_EQ(judge(sampled).where.bad, 1);
  }
}

TEST(Verdict, TensorWithoutElementsPasses) {
  const TensorInfo info{"o", ElementType::float32, Family::diagonal, {}, false};
  EXPECT_EQ(TensorJudge(info, {recipe_units("single")}).finish().status, Status::passed);
  TensorJudge judge(info, {recipe_units("single"), true});
  const Matrix<double> none(0, 16);
  const ScaleFields fields{none, none, none, {}};
  judge.add({{}, none, none, &fields, nullptr, nullptr, &none});
  EXPECT_EQ(judge.finish().status, Status::passed);
}

TEST(Verdict, MisuseIsALogicError) {
  const Problem problem(4, 4, 13, "single", ElementType::float32),
      other(5, 4, 13, "single", ElementType::float32);
  TensorJudge judge(problem.info(), {problem.recipe});
  EXPECT_THROW(judge.add({{}, other.got, problem.oracle, &problem.fields}), std::logic_error);
  EXPECT_THROW(judge.add({{}, problem.got, problem.oracle, &other.fields}), std::logic_error);
  TensorJudge mixed(problem.info(), {problem.recipe});
  mixed.add(problem.pair());
  EXPECT_THROW(mixed.add({{}, problem.got, problem.oracle, &problem.fields}), std::logic_error);
}

TEST(CaseLimit, WorseThanItsEmulationIsMarginalUntilTheFormIsDeclared) {
  Problem problem(256, 64, 14, "single", ElementType::float32, 0.05);
  problem.got = problem.noisy(14, "got", 0.5);  // ten times the emulation, a third of A
  EXPECT_EQ(problem.judge(false).status, Status::marginal);
  const TensorVerdict verdict = problem.judge(true);
  EXPECT_EQ(verdict.status, Status::failed);
  EXPECT_TRUE(clause(verdict, "A.median").passed);
  EXPECT_FALSE(clause(verdict, "B.median").passed);
  EXPECT_FALSE(verdict.finding.empty());
}

TEST(CaseLimit, IsTwiceTheEmulationBetweenFloorAndRecipeLimit) {
  const Triple recipe{1.6, 11, 24};
  const Triple exact = case_limits({}, 100'000, recipe, 16, 2),
               honest = case_limits({0.2, 1, 2}, 100'000, recipe, 16, 2),
               bad = case_limits({1, infinity, infinity}, 100'000, recipe, 16, 2);
  EXPECT_EQ(exact.median, 0.05);
  EXPECT_EQ(exact.maximum, 1.0);
  EXPECT_EQ(honest.median, 0.4);
  EXPECT_EQ(honest.maximum, 4);
  EXPECT_EQ(bad.median, 1.6);
  EXPECT_EQ(bad.maximum, 24);
  EXPECT_EQ(case_limits({0.2, 1, 2}, 1, recipe, 16, 2).maximum,
            24);  // one element says nothing about a scale
}

// dg is a difference of larger fp32 numbers: its last digits are theirs.
TEST(GridClause, SparesDifferencesOfLargerNumbers) {
  Problem problem(64, 64, 15, "tensorcore-bf16", ElementType::float32);
  const auto on_grid = [](double x) {
    return static_cast<double>(round_to<Bfloat16Format>(static_cast<float>(x)));
  };
  problem.got = problem.got.unaryExpr(on_grid);
  // Results of 1, of terms of 1 and of 2^16.
  for (const double roundoff : {0x1p-24, 0x1p-8}) {
    const Matrix<double> form = Matrix<double>::Constant(64, 64, roundoff);
    TensorInfo info = problem.info();
    info.family = Family::gate_gradient;
    TensorJudge judge(info, {problem.recipe, true});
    const PairData data = problem.pair();
    judge.add({data.pair, data.got, data.oracle, data.fields, &form, nullptr, data.emulation});
    const TensorVerdict verdict = judge.finish();
    EXPECT_EQ(clause(verdict, "C.grid").passed, roundoff == 0x1p-8);
  }
}

TEST(GridClause, SeesRoundedResultsAndSparesUnroundedOnes) {
  const auto verdict_of = [](auto round) {
    Problem problem(64, 64, 15, "tensorcore-bf16", ElementType::float32);
    problem.got = problem.got.unaryExpr(round);
    return problem.judge();
  };
  EXPECT_TRUE(clause(verdict_of([](double x) { return x; }), "C.grid").passed);
  const TensorVerdict bf16_rounded =
      verdict_of([](double x) { return round_to<Bfloat16Format>(x); });
  EXPECT_FALSE(clause(bf16_rounded, "C.grid").passed);
  EXPECT_EQ(clause(bf16_rounded, "C.grid").detail, "share of elements on the bf16 grid");
  EXPECT_EQ(bf16_rounded.status, Status::failed);
  for (const double size : {1.0, 1e-6}) {  // within and below the normal range of fp16
    GridTest test;
    const Matrix<double> oracle = size * random_matrix(64, 64, 15, "oracle");
    for (const double x : oracle.reshaped()) test.add(round_to<Tf32Format>(x), x);
    EXPECT_FALSE(test.clause().passed);
    EXPECT_NE(test.clause().detail.find("tf32"), std::string::npos);
  }
  EXPECT_FALSE(
      clause(verdict_of([](double x) { return round_to<Float16Format>(x); }), "C.grid").passed);
}

TEST(GridClause, SaysNothingAboutIntegersFewElementsOrOtherTypes) {
  GridTest integers, few;
  for (int i = 1; i < 100; ++i) integers.add(i, i);
  for (int i = 1; i < 64; ++i) few.add(1, 1.1);
  EXPECT_FALSE(integers.clause().applicable);
  EXPECT_FALSE(few.clause().applicable);
  for (const Clause& clause :
       Problem(64, 64, 16, "tensorcore-bf16", ElementType::bfloat16).judge().clauses)
    EXPECT_NE(clause.name, "C.grid");
}

double truncated_to_bf16(double x) {  // the upper 16 bits of the float
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(static_cast<float>(x)) & 0xffff0000u);
}

TEST(BiasClause, SeesTruncationOfTheOutput) {
  Problem problem(160, 64, 17, "tensorcore-bf16", ElementType::bfloat16, 0.2);
  // Sensitivities small, so that the rounding of the output is what the unit holds.
  for (auto* field : {&problem.fields.input, &problem.fields.carry, &problem.fields.gate})
    *field *= 0.1;
  problem.units = error_units(problem.recipe, problem.type, problem.oracle, problem.fields);
  problem.emulation = problem.got = problem.noisy(17, "got", 0.1);
  EXPECT_TRUE(clause(problem.judge(), "D.truncation").passed);
  problem.got = problem.oracle.unaryExpr(&truncated_to_bf16);
  const TensorVerdict verdict = problem.judge();
  EXPECT_FALSE(clause(verdict, "D.truncation").passed);
  EXPECT_NEAR(clause(verdict, "D.truncation").value, 0.5, 0.15);
  EXPECT_TRUE(clause(verdict, "A.max").passed);
}

// What a gate of 1 - 2^-10 does that is lost when a bf16 operand is multiplied by it and rounded.
TEST(BiasClause, ForgivesAFactorThatIsLostAndStillSeesTruncation) {
  Problem problem(400, 64, 22, "tensorcore-bf16", ElementType::bfloat16, 0.2);
  const Matrix<double> inflated = (problem.oracle * (1 + 0x1p-10)).eval();
  problem.got = inflated.unaryExpr([](double x) { return round_to<Bfloat16Format>(x); });
  const TensorVerdict honest = problem.judge();
  EXPECT_TRUE(clause(honest, "D.bias").passed);
  EXPECT_GT(clause(honest, "D.bias").value, 0.01);
  EXPECT_TRUE(clause(honest, "D.truncation").passed);
  EXPECT_LT(clause(honest, "D.truncation").value, 0.1);
  problem.got = inflated.unaryExpr(&truncated_to_bf16);
  EXPECT_FALSE(clause(problem.judge(), "D.truncation").passed);
}

TEST(BiasClause, SeesOperandsThatAreRoundedToOneSide) {
  Problem problem(160, 64, 23, "tensorcore-bf16", ElementType::bfloat16, 0.2);
  problem.got = (problem.oracle - 0.4 * problem.oracle.cwiseSign().cwiseProduct(problem.units))
                    .unaryExpr([](double x) { return round_to<Bfloat16Format>(x); });
  EXPECT_FALSE(clause(problem.judge(), "D.bias").passed);
}

TEST(BiasClause, SaysNothingOfTruncationWhereRoundingCouldLookTheSame) {
  BiasTest few(ElementType::bfloat16), coarse(ElementType::bfloat16);
  for (int i = 1; i < 20; ++i) few.add(truncated_to_bf16(i / 3.0), i / 3.0, 0x1p-8);
  for (int i = 1; i < 20'000; ++i) coarse.add(i % 2 == 0 ? 3 : -1, 1, 1);
  EXPECT_FALSE(few.truncation().applicable);
  EXPECT_FALSE(coarse.truncation().applicable);
}

TEST(LocalityClause, SeesOneBadWindowThatTheTripleCannot) {
  // 64 of 16384 rows ten times worse than the emulation, all within A.
  Problem problem(16384, 16, 18, "single", ElementType::float32, 0.1);
  const Matrix<double> worse = problem.noisy(19, "got", 1.0);
  problem.got.middleRows(6400, 64) = worse.middleRows(6400, 64);
  const TensorVerdict verdict = problem.judge();
  EXPECT_TRUE(clause(verdict, "A.max").passed);
  EXPECT_TRUE(clause(verdict, "A.median").passed);
  EXPECT_FALSE(clause(verdict, "E.locality").passed);
  EXPECT_NE(clause(verdict, "E.locality").detail.find("t=6400..6463"), std::string::npos);
}

TEST(LocalityClause, SeesErrorsThatGrowFasterThanTheEmulations) {
  Problem problem(4096, 16, 20, "single", ElementType::float32, 0.1);
  for (Index t = 0; t < 4096; ++t)  // from 0.1 to 2 units
    problem.got.row(t) =
        problem.oracle.row(t) +
        (1 + 19 * t / 4096.0) * (problem.got.row(t) - problem.oracle.row(t)).eval();
  EXPECT_FALSE(clause(problem.judge(), "E.growth").passed);
  problem.emulation = problem.got;
  EXPECT_TRUE(clause(problem.judge(), "E.growth").passed);
}

TEST(LocalityClause, SaysNothingOfGrowthWhereAFormHasSeveralEmulations) {
  Problem problem(4096, 16, 20, "single", ElementType::float32, 0.1);
  TensorJudge judge(problem.info(), {problem.recipe, true, true});
  judge.add(problem.pair());
  EXPECT_FALSE(clause(judge.finish(), "E.growth").applicable);
  EXPECT_TRUE(clause(problem.judge(), "E.growth").applicable);
}

TEST(LocalityClause, ComparesUnsampledPairsByAbsoluteError) {
  Problem problem(256, 64, 21, "tensorcore-bf16", ElementType::bfloat16, 0.2);
  const auto status = [&] {
    TensorJudge judge(problem.info(), {problem.recipe, true});
    judge.add({{}, problem.got, problem.oracle, nullptr, nullptr, nullptr, &problem.emulation});
    return judge.finish().status;
  };
  EXPECT_EQ(status(), Status::passed);
  problem.got.middleRows(64, 64) *= -1;
  EXPECT_EQ(status(), Status::failed);
}

TEST(WhereSentence, NamesElementHeadAndResidue) {
  TensorAxes axes;
  axes.chunk = 64;
  TensorJudge judge({"o", ElementType::float32, Family::diagonal, axes, false},
                    {recipe_units("single")});
  for (Index head = 0; head < 4; ++head) {
    Problem problem(1024, 16, 30 + static_cast<std::uint64_t>(head), "single",
                    ElementType::float32);
    if (head == 3) {
      problem.oracle(511, 7) = -1.5;
      problem.got(511, 7) = 1.5;
    }
    judge.add({{0, head}, problem.got, problem.oracle, &problem.fields});
  }
  EXPECT_EQ(judge.finish().finding,
            "first at b=0 t=511 h=3 v=7: got 0x1.8p+0 (1.5), expected -0x1.8p+0 (-1.5); 1 of 65536 "
            "elements; "
            "only head 3; only v=7; all at t = 63 mod 64");
}

Where where_of(TensorAxes axes, std::vector<Index> lengths, Index heads, Index columns,
               auto is_bad) {
  WhereHistogram histogram(axes);
  std::optional<BadElement> first;
  for (Index n = 0; n < static_cast<Index>(lengths.size()); ++n)
    for (Index h = 0; h < heads; ++h) {
      histogram.add_pair({n, h}, lengths[n], columns);
      for (Index t = 0; t < lengths[n]; ++t)
        for (Index v = 0; v < columns; ++v)
          if (is_bad(n, h, t, v)) histogram.add_bad({n, h}, lengths[n], t, v);
    }
  return histogram.finish(first, {});
}

TEST(WhereSentence, NamesTheSharedCoordinate) {
  TensorAxes axes;
  axes.chunk = 16;
  const auto text = [&](auto is_bad) { return where_of(axes, {40, 33}, 4, 8, is_bad).sentence(); };
  EXPECT_EQ(text([](Index, Index, Index t, Index) { return t % 16 == 5; }),
            "160 of 2336 elements; all heads; all at t = 5 mod 16");
  EXPECT_EQ(text([](Index n, Index, Index t, Index) { return n == 0 ? t >= 32 : t >= 32; }),
            "288 of 2336 elements; all heads; only in the last, partial chunk");
  EXPECT_EQ(
      text([](Index n, Index h, Index, Index v) { return n == 1 && h == 2 && v >= 4 && v < 7; }),
      "99 of 2336 elements; only b=1; only head 2; only v=4..6");
  EXPECT_EQ(text([](Index, Index, Index t, Index) { return t == 0; }),
            "64 of 2336 elements; all heads; only at the first token");
  EXPECT_EQ(text([](Index n, Index h, Index t, Index) {
              return (h == 1 || h == 3) && t == (n ? 32 : 39);
            }),
            "32 of 2336 elements; only heads 1, 3 of 4; only at the last token; only in the last, "
            "partial "
            "chunk");
  EXPECT_EQ(
      where_of(TensorAxes{}, {1, 1}, 4, 8, [](Index n, Index, Index, Index) { return n == 1; })
          .sentence(),
      "32 of 64 elements; only b=1; all heads")
      << "of one token nothing is said";
}

TEST(WhereSentence, CountsRowsThatNobodyWrote) {
  Problem problem(100, 8, 40, "single", ElementType::float32);
  problem.got.bottomRows(36).setConstant(nan);
  TensorAxes axes;
  axes.chunk = 64;
  const TensorVerdict verdict = problem.judge(true, axes);
  EXPECT_EQ(verdict.status, Status::failed);
  EXPECT_EQ(verdict.where.unwritten_rows, 36);
  EXPECT_NE(verdict.finding.find(
                "36 rows NaN throughout (never written?); only in the last, partial chunk"),
            std::string::npos)
      << verdict.finding;
}

TEST(WhereSentence, NamesTheKeyOfAState) {
  TensorAxes axes;
  axes.rows_are_time = false;
  axes.row = "k";
  Problem problem(16, 16, 41, "single", ElementType::float32);
  problem.oracle(5, 6) = 1;
  problem.got(5, 6) = 2;
  EXPECT_EQ(problem.judge(true, axes).finding,
            "first at b=0 h=0 k=5 v=6: got 0x1p+1 (2), expected 0x1p+0 (1); 1 of 256 elements; "
            "only v=6; only "
            "k=5");
}

TEST(WhereSentence, KeepsTheTenWorst) {
  WorstElements worst;
  for (int i = 0; i < 1000; ++i) worst.add({{}, i, 0, 0, 0, static_cast<double>(i * 37 % 1000)});
  ASSERT_EQ(worst.elements().size(), 10u);
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(worst.elements()[static_cast<std::size_t>(i)].error, 999 - i);
}

TEST(CasePower, IsTheMedianRatioOfTheFields) {
  PowerMeter meter;
  const Problem problem(64, 64, 50, "single", ElementType::float32);
  meter.add(problem.fields);
  EXPECT_NEAR(meter.power().carry, 2 / 1.5, 0.045 * 2 / 1.5);  // bins of 2^(1/16)
  EXPECT_NEAR(meter.power().gate, 0.5 / 1.5, 0.045 * 0.5 / 1.5);
}

TEST(CaseTrust, NeedsATensorThatIsNotZero) {
  OracleContent zeros, one_in_ten, nothing;
  zeros.add(Matrix<double>::Zero(10, 10), nullptr);
  Matrix<double> some = Matrix<double>::Zero(10, 10);
  some.row(0).setOnes();
  one_in_ten.add(some, nullptr);
  const Matrix<bool> all = Matrix<bool>::Constant(10, 10, true);
  nothing.add(some, &all);
  EXPECT_TRUE(is_mistrusted(std::vector{zeros, nothing}));
  EXPECT_FALSE(is_mistrusted(std::vector{zeros, one_in_ten}));
  EXPECT_FALSE(is_mistrusted(std::vector{nothing}));
}

TEST(PathResult, IsTheWorstTensor) {
  Problem good(64, 16, 60, "single", ElementType::float32), bad = good;
  bad.got(1, 2) = nan;
  TensorVerdict first = good.judge(), second = bad.judge();
  second.tensor = "ht";
  const PathVerdict verdict = combine({first, second});
  EXPECT_EQ(verdict.status, Status::failed);
  ASSERT_NE(verdict.worst(), nullptr);
  EXPECT_EQ(verdict.worst()->tensor, "ht");
  const nlohmann::json record = to_record(verdict);
  EXPECT_EQ(record["tensors"]["ht"]["got"], "nan");
  EXPECT_EQ(record["tensors"]["ht"]["first_bad"], "b=0 t=1 h=0 v=2");
  EXPECT_EQ(record["tensors"]["o"]["status"], "PASSED");
  EXPECT_EQ(record["worst_tensor"], "ht");
  EXPECT_NO_THROW(record.dump());
  EXPECT_EQ(combine({}).status, Status::passed);
}

// ---- moments of windows

TEST(WindowMomentsTest, AreNeverFartherApartThanTheOutputs) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const Matrix<double> oracle = random_matrix(128, 8, seed, "oracle"),
                         noise = random_matrix(128, 8, seed, "noise");
    for (const double size : {0.0, 1e-12, 0.1, 1e6}) {
      const Matrix<double> got = oracle + size * noise;
      const auto a = window_moments(got, true), b = window_moments(oracle, true);
      ASSERT_EQ(a.size(), 2u);
      for (std::size_t w = 0; w < a.size(); ++w) {
        const auto error = (got - oracle).middleRows(static_cast<Index>(64 * w), 64);
        const double rms = std::sqrt(error.squaredNorm() / static_cast<double>(error.size()));
        EXPECT_LE(least_rms_error(a[w], b[w]), rms * (1 + 1e-12) + 1e-15 * b[w].rms);
      }
    }
  }
}

// Of one sign everywhere, or of one size: then they show all of it.
TEST(WindowMomentsTest, ShowAnOffsetAndAFactorWhole) {
  const Matrix<double> oracle = random_matrix(64, 4, 1, "oracle");
  const auto moments = [](const Matrix<double>& m) { return window_moments(m, true).at(0); };
  EXPECT_NEAR(least_rms_error(moments(oracle.array() + 0.25), moments(oracle)), 0.25, 1e-12);
  EXPECT_NEAR(least_rms_error(moments(2 * oracle), moments(oracle)), moments(oracle).rms, 1e-12);
}

TEST(WindowMomentsTest, DoNotOverflowAndAreNaNWhereAnElementIsNotFinite) {
  Matrix<double> m = Matrix<double>::Constant(64, 4, 1e300);
  EXPECT_DOUBLE_EQ(window_moments(m, true).at(0).rms, 1e300);
  EXPECT_DOUBLE_EQ(window_moments(-m, true).at(0).mean, -1e300);
  for (const double odd : {nan, infinity}) {
    m(3, 1) = odd;
    EXPECT_TRUE(std::isnan(window_moments(m, true).at(0).mean));
    EXPECT_TRUE(std::isnan(window_moments(m, true).at(0).rms));
  }
  EXPECT_EQ(window_moments(Matrix<double>::Zero(64, 4), true).at(0).rms, 0);
  EXPECT_TRUE(window_moments(Matrix<double>::Zero(0, 4), true).empty());
}

// Outputs whose elements are not known are held to what is certain of them and to no more.
TEST(WindowMomentsTest, OfHonestOutputsPassAndOfWrongOnesFailWithTheirWindow) {
  const Problem problem(256, 16, 3, "single", ElementType::float32);
  const auto verdict = [&](const Matrix<double>& got) {
    TensorJudge judge({"o", problem.type, Family::diagonal, {}, false}, {problem.recipe, true});
    const auto moments = window_moments(got, true);
    judge.add_moments({{1, 2}, moments, problem.oracle, nullptr, &problem.emulation});
    return judge.finish();
  };
  EXPECT_EQ(verdict(problem.got).status, Status::passed);
  Matrix<double> wrong = problem.got;
  wrong.middleRows(64, 64) *= 1.01;
  EXPECT_EQ(verdict(wrong).status, Status::failed);
  EXPECT_NE(verdict(wrong).finding.find("b=1 h=2 t=64..127"), std::string::npos)
      << verdict(wrong).finding;
  wrong(200, 3) = nan;
  EXPECT_EQ(verdict(wrong).clauses.at(0).value, 1) << "one window is not finite";
}

}  // namespace
}  // namespace groundstate::harness
