// How wrong the oracle of simple_gla may itself be, and how far behind a reset a cumulative gate
// can be trusted.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "harness/operators/binding.hpp"
#include "reference/simple_gla/chunked.hpp"
#include "reference/simple_gla/recurrent.hpp"
#include "tests/reference/simple_gla_example.hpp"

namespace groundstate::simple_gla {
namespace {

// ---- the oracle against 64 significant bits

// What the roundings of recurrent<Exact> can add up to, to first order: beside the size of each
// state element (the recurrence on absolute values) the bound of its error is carried through the
// same recurrence. u = 2^-53; per token and element: exp within 0.52 ulp, which is at most 1.04 u,
// the product with the state one u of the decayed state, the multiply-add one u of the new one;
// where two gates are given, their rounded sum another |d| u in the exponent. An output is K
// multiply-adds of a rounded q.
Result<double> error_bound(const Problem<double>& p, bool two_gates) {
  constexpr double u = 0x1p-53, denormal = std::numeric_limits<double>::denorm_min();
  Matrix<double> size = p.h0.cwiseAbs(), error = Matrix<double>::Zero(p.key(), p.value());
  Matrix<double> o(p.time(), p.value());
  for (Index t = 0; t < p.time(); ++t) {
    const double d = p.log_decay[t], factor = std::exp(d);
    const double decay_roundings = 2.04 + (two_gates && factor > 0 ? std::abs(d) : 0);
    const Matrix<double> decayed = factor * size;
    size = decayed + p.k.row(t).cwiseAbs().transpose() * p.v.row(t).cwiseAbs();
    error = (factor * error + u * (decay_roundings * decayed + size)).array() + denormal;
    const auto q = (std::abs(p.scale) * p.q.row(t)).cwiseAbs();
    o.row(t) = (q * error + static_cast<double>(p.key() + 1) * u * (q * size)).array() + denormal;
  }
  constexpr double higher_orders = 1.01;
  return {higher_orders * o, higher_orders * error};
}

// The first tokens and value columns (each is a problem of its own) of every hard input, as many as
// make `budget` multiply-adds of a 64-bit significand, which are done in software.
//
// Measured on them: at most 0.96 of the bound, and ||a - b|| <= 1.5e-15 ||b|| for
// every tensor (fourteen units of 2^-53), by
//   groundstate_tests --gtest_filter='SimpleGlaOracle.*'
TEST(SimpleGlaOracle, StaysWithinItsRunningErrorBound) {
  constexpr Index columns = 4, budget = 10'000;
  double worst_part = 0, worst_relative = 0;
  std::string where_part, where_relative;
  Index compared = 0;
  for (const harness::CaseEntry& entry : harness::hard_inputs_in_fp64()) {
    const harness::Example example(entry.value);
    HostInputs x;
    input_tensors(x, [&](std::string_view name, auto& view, auto...) {
      harness::bind(harness::find(example.inputs, name), view);
    });
    const Options options{std::sqrt(1 / static_cast<double>(shape(x).key)),
                          example.line.get("reverse") == "yes"};
    for (const Place& at : {place(x, options, 0, 0),
                            place(x, options, shape(x).sequences - 1, shape(x).value_heads - 1)}) {
      const Index values = std::min(columns, shape(x).value);
      const Index tokens = std::min(at.length, 1 + budget / (shape(x).key * values));
      const auto beginning = [&]<class Scalar>(Scalar) {
        const Problem<Scalar> all = gather<Scalar>(x, options, at);
        Problem<Scalar> result = all.tokens(0, tokens);
        result.v = result.v.leftCols(values).eval();
        result.h0 = all.h0.leftCols(values);
        return result;
      };
      const Problem<double> p = beginning(double{});
      const Result<double> exact = recurrent<Exact>(p);
      const Result<long double> truth = recurrent<Extended>(beginning(static_cast<long double>(0)));
      const Result<double> bound = error_bound(p, x.log_decay && x.constant_log_decay);
      const auto compare = [&](const Matrix<double>& a, const Matrix<long double>& b,
                               const Matrix<double>& limit, std::string_view tensor) {
        if (a.size() == 0) return;
        const Matrix<long double> error = (a.cast<long double>() - b).cwiseAbs();
        double part = 0;
        for (Index i = 0; i < error.size(); ++i)
          if (!(error.data()[i] == 0))  // NaN too
            part = std::max(part, static_cast<double>(error.data()[i]) / limit.data()[i]);
        const auto norm = b.norm();
        const double relative = norm > 0 ? static_cast<double>(error.norm() / norm) : 0;
        EXPECT_LE(part, 1) << tensor << " of " << example.line.canonical();
        if (part > worst_part) worst_part = part, where_part = example.line.canonical();
        if (relative > worst_relative)
          worst_relative = relative, where_relative = example.line.canonical();
        ++compared;
      };
      compare(exact.o, truth.o, bound.o, "o");
      compare(exact.ht, truth.ht, bound.ht, "ht");
    }
  }
  EXPECT_GT(compared, 500);
  fmt::print("{} tensors: at most {:.2f} of the bound ({}), ||a - b|| <= {:.2g} ||b|| ({})\n",
             compared, worst_part, where_part, worst_relative, where_relative);
  RecordProperty("largest_part_of_bound", fmt::format("{:.3g}", worst_part));
  RecordProperty("largest_relative_error", fmt::format("{:.3g}", worst_relative));
}

// ---- differences of cumulative gates

// exp(G_j - G_i) against the same sum of raw gates in long double.
template <class Scalar>
long double true_factor(const Vector<Scalar>& g, Index from, Index to) {
  long double sum = 0;
  for (Index t = from + 1; t <= to; ++t) sum += static_cast<long double>(g[t]);
  return std::exp(sum);
}

template <class Scalar>
class SimpleGlaGate : public testing::Test {};
using Scalars = testing::Types<float, double>;
TYPED_TEST_SUITE(SimpleGlaGate, Scalars);

TYPED_TEST(SimpleGlaGate, KeepsItsDigitsBehindAReset) {
  using Scalar = TypeParam;
  constexpr double u = std::numeric_limits<Scalar>::epsilon() / 2;
  const Index time = 128;
  for (const double reset : {-1e4, -1e6, -1e30, -std::numeric_limits<double>::infinity()})
    for (const Index interval : {8, 64}) {
      const RandomStream stream(7, "g");
      Vector<Scalar> g(time);
      for (Index t = 0; t < time; ++t)
        g[t] = static_cast<Scalar>(
            t % interval == 3 ? reset : -0.02 * stream.uniform(static_cast<std::uint64_t>(t), 0));
      const CumulativeDecay<Scalar> cumulative(g, 0, time);
      for (Index from = 0; from < time; ++from) {
        EXPECT_EQ(cumulative.between(from, from), Scalar(1));
        for (Index to = from; to < time; ++to) {
          const bool crosses = (to - 3 + interval) / interval > (from - 3 + interval) / interval;
          const Scalar factor = cumulative.between(from, to);
          if (crosses) {
            EXPECT_EQ(factor, Scalar(0)) << from << " .. " << to;
          } else {
            // exp within an ulp (2 u); the exponent, below 2 here, rounded when its parts are
            // subtracted and when they are added; the pairs themselves carry twice the digits.
            EXPECT_NEAR(static_cast<long double>(factor) / true_factor(g, from, to), 1, 6 * u)
                << from << " .. " << to << " behind " << reset;
          }
        }
      }
    }
}

TYPED_TEST(SimpleGlaGate, CountsItsOwnTokensOnly) {
  using Scalar = TypeParam;
  const Vector<Scalar> g = Vector<Scalar>::Constant(10, Scalar(-0.25));
  const CumulativeDecay<Scalar> ragged(g, 8, 2), none(g, 10, 0);
  EXPECT_EQ(ragged.count(), 2);
  EXPECT_EQ(ragged.total(), Scalar(-0.5));
  EXPECT_EQ(ragged.until(1), std::exp(Scalar(-0.5)));
  EXPECT_EQ(none.count(), 0);
  EXPECT_EQ(none.total(), Scalar(0));
}

// The clamp may not change a factor: at the floor it is 0 already, and just above it is not.
TYPED_TEST(SimpleGlaGate, IsClampedWhereTheFactorIsZeroAlready) {
  using Scalar = TypeParam;
  constexpr Scalar floor = log_decay_floor<Scalar>();
  EXPECT_EQ(std::exp(floor), Scalar(0));
  EXPECT_GT(std::exp(floor * Scalar(0.999)), Scalar(0));
}

}  // namespace
}  // namespace groundstate::simple_gla
