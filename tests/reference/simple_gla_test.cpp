// simple_gla forward where the result is known: worked example, closed forms, empty and shortest
// sequences, the algebra of the scan, the rule of num_steps.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "reference/core/philox.hpp"
#include "reference/simple_gla/fused.hpp"
#include "reference/simple_gla/parallel.hpp"
#include "reference/simple_gla/recurrent.hpp"
#include "reference/simple_gla/segmented.hpp"

namespace groundstate::simple_gla {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

struct NamedPath {
  std::string name;
  std::function<Result<double>(const Problem<double>&)> compute;
};

// Cut into several chunks, segments, calls and tiles already by short sequences.
const std::vector<NamedPath>& every_path() {
  using P = const Problem<double>&;
  static const std::vector<NamedPath> paths{
      {"recurrent", [](P p) { return recurrent<Exact>(p); }},
      {"step", [](P p) { return stepwise<Exact>(p, 3); }},
      {"scan", [](P p) { return pairwise<Exact>(p); }},
      {"hillis_steele", [](P p) { return hillis_steele<Exact>(p); }},
      {"chunk_scan", [](P p) { return chunk_scan<Exact>(p, 2); }},
      {"chunked by 2", [](P p) { return chunked<Exact>(p, 2); }},
      {"chunked by 16", [](P p) { return chunked<Exact>(p, 16); }},
      {"fused",
       [](P p) {
         return fused<Exact>(p, {2, 3});
       }},
      {"fused, tiled",
       [](P p) {
         return fused<Exact>(p, {16, 4, 2, 3});
       }},
      {"segmented", [](P p) { return segmented<Exact>(p, 3, 2); }},
      {"parallel", [](P p) { return parallel<Exact>(p); }},
  };
  return paths;
}

Matrix<double> integers(Index rows, Index columns, std::string_view name) {
  const RandomStream stream(5, name);
  Matrix<double> result(rows, columns);
  for (Index i = 0; i < result.size(); ++i)
    result.data()[i] = std::floor(7 * stream.uniform(static_cast<std::uint64_t>(i), 0)) - 3;
  return result;
}

// Integers in -3 .. 3: every product and every sum of the maths is exact in any order.
Problem<double> integer_problem(Index time, Index key, Index value, double log_decay) {
  return {integers(time, key, "q"),   integers(time, key, "k"),
          integers(time, value, "v"), Vector<double>::Constant(time, log_decay),
          integers(key, value, "h0"), 1.0};
}

void expect_result(const Result<double>& r, const Matrix<double>& o, const Matrix<double>& ht,
                   std::string_view path) {
  EXPECT_EQ(r.o, o) << path;
  EXPECT_EQ(r.ht, ht) << path;
}

// ---- the worked example: K = V = 1, three tokens of ones, each halves the state before it

Problem<double> halving() {
  const Matrix<double> ones = Matrix<double>::Ones(3, 1);
  return {ones, ones, ones, Vector<double>::Constant(3, -std::log(2.0)), Matrix<double>::Zero(1, 1),
          1.0};
}

TEST(SimpleGla, WorkedExampleComesOutExactly) {
  ASSERT_EQ(std::exp(-std::log(2.0)), 0.5);
  const Matrix<double> o{{1}, {1.5}, {1.75}}, ht{{1.75}};
  for (const NamedPath& path : every_path()) {
    const Result<double> r = path.compute(halving());
    // Chunked forms exponentiate sums of gates: exp(-2 ln 2) may be an ulp off 1/4.
    EXPECT_TRUE(r.o.isApprox(o, 0x1p-51)) << path.name;
    EXPECT_TRUE(r.ht.isApprox(ht, 0x1p-51)) << path.name;
  }
  expect_result(recurrent<Exact>(halving()), o, ht, "recurrent");
}

TEST(SimpleGla, WorkedExampleHasTheStatesOfItsChunks) {
  Matrix<double> state = Matrix<double>::Zero(1, 1);
  const auto h = chunk_states<Exact>(halving(), 2, state);
  ASSERT_EQ(h.size(), 2u);
  EXPECT_EQ(h[0](0, 0), 0);
  EXPECT_EQ(h[1](0, 0), 1.5);
  EXPECT_EQ(state(0, 0), 1.75);
}

TEST(SimpleGla, WorkedExampleHasTheAttentionOfItsDistances) {
  const Problem<double> p = halving();
  const Matrix<double> w = attention<Exact>(p, CumulativeDecay<double>(p.log_decay, 0, 3), 0, 3);
  const Matrix<double> expected{{1, 0, 0}, {0.5, 1, 0}, {0.25, 0.5, 1}};
  EXPECT_TRUE(w.isApprox(expected, 0x1p-51)) << w;
}

TEST(SimpleGla, AttentionIsZeroAboveTheDiagonalHoweverSteepTheGates) {
  Problem<double> p = halving();
  for (const double g : {-700.0, 700.0, -infinity}) {  // exp(2 * 700) overflows
    p.log_decay.setConstant(g);
    const Matrix<double> w = attention<Exact>(p, CumulativeDecay<double>(p.log_decay, 0, 3), 0, 3);
    for (Index i = 0; i < 3; ++i) {
      EXPECT_EQ(w(i, i), 1);
      for (Index j = i + 1; j < 3; ++j) EXPECT_EQ(w(i, j), 0) << g;
    }
  }
}

// ---- closed forms

TEST(SimpleGla, AnOpenGateSumsOuterProducts) {
  for (const Index time : {1, 2, 16, 17, 70}) {
    const Problem<double> p = integer_problem(time, 5, 7, 0);
    Matrix<double> state = p.h0, o(time, 7);
    for (Index t = 0; t < time; ++t) {
      state += p.k.row(t).transpose() * p.v.row(t);
      o.row(t) = p.q.row(t) * state;
    }
    for (const NamedPath& path : every_path()) expect_result(path.compute(p), o, state, path.name);
  }
}

TEST(SimpleGla, AClosedGateLeavesEachTokenAlone) {
  const Problem<double> p = integer_problem(37, 5, 7, -infinity);
  Matrix<double> o(37, 7);
  for (Index t = 0; t < 37; ++t) o.row(t) = p.q.row(t).dot(p.k.row(t)) * p.v.row(t);
  const Matrix<double> ht = p.k.row(36).transpose() * p.v.row(36);
  for (const NamedPath& path : every_path()) expect_result(path.compute(p), o, ht, path.name);
}

// Row t of the state is v_t, for the first K tokens, and a query of one key reads it back.
TEST(SimpleGla, OneHotKeysMakeATableOfValues) {
  const Index keys = 20;
  Problem<double> p = integer_problem(keys, keys, 7, 0);
  p.h0.setZero();
  p.k.setIdentity();
  p.q.setZero();
  Matrix<double> o = Matrix<double>::Zero(keys, 7);
  for (Index t = 0; t < keys; ++t) {
    const Index asked = t * 7 % keys;
    p.q(t, asked) = 1;
    if (asked <= t) o.row(t) = p.v.row(asked);
  }
  for (const NamedPath& path : every_path()) expect_result(path.compute(p), o, p.v, path.name);
}

TEST(SimpleGla, AConstantDecayOfOnesIsAGeometricSum) {
  const Index time = 100;  // ragged for every chunk length used here
  const double g = -0.05;
  const Matrix<double> ones = Matrix<double>::Ones(time, 1);
  const Problem<double> p{
      ones, ones, ones, Vector<double>::Constant(time, g), Matrix<double>::Ones(1, 1), 0.5};
  for (const NamedPath& path : every_path()) {
    const Result<double> r = path.compute(p);
    for (Index t = 0; t < time; ++t) {
      const double n = static_cast<double>(t + 1);
      const double state = std::exp(g * n) + std::expm1(g * n) / std::expm1(g);
      // An error of n ulp at most: one or two roundings a token, all terms positive.
      EXPECT_NEAR(r.o(t, 0), 0.5 * state, state * n * 0x1p-52) << path.name << " t=" << t;
    }
    EXPECT_EQ(r.ht(0, 0), 2 * r.o(time - 1, 0)) << path.name;
  }
}

TEST(SimpleGla, ScaleMultipliesTheOutputAndNotTheState) {
  const Problem<double> one = integer_problem(20, 4, 4, 0);
  Problem<double> scaled = one;
  scaled.scale = -0.125;
  for (const NamedPath& path : every_path())
    expect_result(path.compute(scaled), -0.125 * path.compute(one).o, path.compute(one).ht,
                  path.name);
}

TEST(SimpleGla, ASingleTokenDecaysTheStateAndAddsItself) {
  Problem<double> p = integer_problem(1, 5, 7, -std::log(2.0));
  p.h0 *= 2;
  const Matrix<double> ht = p.h0 / 2 + p.k.transpose() * p.v;
  for (const NamedPath& path : every_path())
    expect_result(path.compute(p), p.q * ht, ht, path.name);
}

TEST(SimpleGla, NoTokenReturnsTheInitialState) {
  const Problem<double> p = integer_problem(0, 5, 7, 0);
  for (const NamedPath& path : every_path()) {
    const Result<double> r = path.compute(p);
    EXPECT_EQ(r.o.rows(), 0) << path.name;
    EXPECT_EQ(r.o.cols(), 7) << path.name;
    EXPECT_EQ(r.ht, p.h0) << path.name;
  }
}

// ---- the scan

Stretch<double> stretch(Index i, double log_decay) {
  return {log_decay, integers(3, 4, "stretch " + std::to_string(i))};
}

TEST(SimpleGlaScan, StretchesComposeAssociatively) {
  // Decays of 1, 1/2 and 0 keep integers and halves exact, so equality is meant.
  for (const double a : {0.0, -std::log(2.0), -infinity})
    for (const double b : {0.0, -infinity})
      for (const double c : {0.0, -std::log(2.0), -infinity}) {
        const auto x = stretch(0, a), y = stretch(1, b), z = stretch(2, c);
        const auto left = then(then(x, y), z), right = then(x, then(y, z));
        EXPECT_EQ(left.state, right.state) << a << " " << b << " " << c;
        EXPECT_EQ(left.log_decay, right.log_decay) << a << " " << b << " " << c;
      }
}

TEST(SimpleGlaScan, CompositionIsAssociativeUpToRoundingForAnyDecay) {
  for (const double a : {-0.3, -7.0, 0.2})
    for (const double b : {-0.01, -2.0, 0.7}) {
      const auto x = stretch(0, -1.0), y = stretch(1, a), z = stretch(2, b);
      const auto left = then(then(x, y), z), right = then(x, then(y, z));
      const double size = std::exp(a + b) * 3 + std::exp(b) * 3 + 3;  // of the terms
      // Each side: two exponentials, two products and two sums in the longest chain, and the
      // rounding of a + b, which is at most 8 units of the last place here.
      EXPECT_LE((left.state - right.state).cwiseAbs().maxCoeff(), size * 20 * 0x1p-53)
          << a << " " << b;
      EXPECT_NEAR(left.log_decay, right.log_decay, 0x1p-50);
    }
}

TEST(SimpleGlaScan, TheEmptyStretchIsTheIdentity) {
  const Stretch<double> nothing{0, Matrix<double>::Zero(3, 4)}, x = stretch(0, -0.7);
  for (const auto& composed : {then(nothing, x), then(x, nothing)}) {
    EXPECT_EQ(composed.state, x.state);
    EXPECT_EQ(composed.log_decay, x.log_decay);
  }
}

TEST(SimpleGlaScan, EveryTreeGivesTheInclusiveScan) {
  for (Index length = 0; length <= 35; ++length) {
    std::vector<Stretch<double>> expected, tree, sweeps;
    for (Index i = 0; i < length; ++i) {
      const auto x = stretch(i, i % 5 == 3 ? -infinity : 0);
      expected.push_back(expected.empty() ? x : then(expected.back(), x));
      tree.push_back(x);
      sweeps.push_back(x);
    }
    pairwise_scan(tree);
    hillis_steele_scan(sweeps);
    for (std::size_t i = 0; i < expected.size(); ++i)
      for (const auto* const scan : {&tree, &sweeps}) {
        EXPECT_EQ((*scan)[i].state, expected[i].state) << i << " of " << length;
        EXPECT_EQ((*scan)[i].log_decay, expected[i].log_decay) << i << " of " << length;
      }
  }
}

// ---- num_steps

TEST(SimpleGlaNumSteps, AreHalvedUntilTheyDivideTheNumberOfChunks) {
  struct Row {
    Index chunks, requested, effective;
  };
  for (const auto& [chunks, requested, effective] :
       {Row{1, 4, 1}, Row{2, 4, 2}, Row{6, 4, 2}, Row{7, 4, 1}, Row{8, 4, 4}, Row{9, 4, 1},
        Row{9, 3, 3}, Row{6, 5, 2}, Row{6, 6, 6}, Row{6, 7, 3}, Row{12, 8, 4}, Row{5, 1, 1},
        Row{0, 4, 4}, Row{3, 0, 1}})
    EXPECT_EQ(effective_num_steps(chunks, requested), effective) << chunks << " by " << requested;
}

TEST(SimpleGlaNumSteps, AlwaysDivideTheNumberOfChunks) {
  for (Index chunks = 1; chunks <= 64; ++chunks)
    for (Index requested = 1; requested <= 16; ++requested) {
      const Index steps = effective_num_steps(chunks, requested);
      EXPECT_EQ(chunks % steps, 0) << chunks << " by " << requested;
      EXPECT_LE(steps, requested);
    }
}

}  // namespace
}  // namespace groundstate::simple_gla
