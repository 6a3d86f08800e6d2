// decayed_sum against closed forms, its paths against each other, and the backward against the
// forward: as its adjoint in exact integers, and as its derivative in long double.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "reference/core/philox.hpp"
#include "reference/decayed_sum/backward.hpp"
#include "reference/decayed_sum/scan.hpp"

namespace groundstate::decayed_sum {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// ---- problems

template <class T>
Matrix<T> random(Index rows, Index columns, std::string_view name) {
  const RandomStream stream(5, name);
  Matrix<T> result(rows, columns);
  for (Index i = 0; i < result.size(); ++i)
    result.data()[i] = static_cast<T>(stream.normal(static_cast<std::uint64_t>(i)));
  return result;
}

// Integers from -3 to 3.
Matrix<double> integers(Index rows, Index columns, std::string_view name) {
  return random<double>(rows, columns, name).unaryExpr([](double x) {
    return std::fmod(std::floor(8 * x), 4.0);
  });
}

template <class T>
BackwardProblem<T> random_problem(Index time, Index value, T gate_mean = T(-0.5)) {
  const Vector<T> g = random<T>(time, 1, "g").array() * T(0.3) + gate_mean;
  return {{random<T>(time, value, "x"), g, random<T>(1, value, "h0")},
          random<T>(time, value, "dy"),
          random<T>(1, value, "dht")};
}

// Every factor is 0 or 1, so that all sums are exact in any order.
BackwardProblem<double> integer_problem(Index time, Index value) {
  Vector<double> g = Vector<double>::Zero(time);
  for (Index t = 5; t < time; t += 11) g[t] = t % 2 == 0 ? -infinity : -1e6;
  return {{integers(time, value, "x"), g, integers(1, value, "h0")},
          integers(time, value, "dy"),
          integers(1, value, "dht")};
}

const std::vector<Index> lengths{0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 64, 100, 257};

// ---- closed forms

TEST(DecayedSum, OpenGatesSum) {
  Problem<double> p = integer_problem(100, 20);
  p.log_decay.setZero();
  const Result<double> r = recurrent<Exact>(p);
  Matrix<double> sum = p.h0;
  for (Index t = 0; t < p.time(); ++t) {
    sum += p.x.row(t);
    EXPECT_EQ(r.y.row(t), sum) << "t=" << t;
  }
  EXPECT_EQ(r.ht, sum);
}

TEST(DecayedSum, ConstantTermsAreAGeometricSeries) {
  const double g = -0.125;
  const Index time = 60;
  const Problem<double> p{Matrix<double>::Ones(time, 3), Vector<double>::Constant(time, g),
                          Matrix<double>::Constant(1, 3, 2.0)};
  const Result<double> r = recurrent<Exact>(p);
  for (Index t = 0; t < time; ++t) {
    const double n = static_cast<double>(t + 1);
    EXPECT_NEAR(r.y(t, 2), std::expm1(g * n) / std::expm1(g) + 2 * std::exp(g * n), 1e-13) << t;
  }
}

TEST(DecayedSum, MinusInfinityForgets) {
  Problem<double> p = random_problem<double>(9, 5);
  p.log_decay[4] = -infinity;
  for (const Result<double>& r : {recurrent<Exact>(p), scan<Exact>(p)}) {
    EXPECT_EQ(r.y.row(4), p.x.row(4));
    EXPECT_TRUE(r.y.allFinite());
  }
}

TEST(DecayedSum, WithoutTokensTheStatePasses) {
  const BackwardProblem<double> p = random_problem<double>(0, 6);
  EXPECT_EQ(recurrent<Exact>(p).ht, p.h0);
  EXPECT_EQ(scan<Exact>(p).ht, p.h0);
  EXPECT_EQ(scan<Exact>(p).y.rows(), 0);
  const Gradients<double> r = backward<Exact>(p);
  EXPECT_EQ(r.dh0, p.dht);
  EXPECT_EQ(r.dx.rows() + r.dg.size(), 0);
}

TEST(DecayedSum, OneToken) {
  const BackwardProblem<double> p = random_problem<double>(1, 1);
  const double factor = std::exp(p.log_decay[0]), gradient = p.dht(0, 0) + p.dy(0, 0);
  EXPECT_EQ(recurrent<Exact>(p).ht(0, 0), factor * p.h0(0, 0) + p.x(0, 0));
  const Gradients<double> r = backward<Exact>(p);
  EXPECT_EQ(r.dx(0, 0), gradient);
  EXPECT_EQ(r.dg[0], gradient * (factor * p.h0(0, 0)));
  EXPECT_EQ(r.dh0(0, 0), factor * gradient);
}

TEST(DecayedSum, RoundsTheStateThatItCarries) {
  const Problem<float> p = random_problem<float>(50, 37);
  const Result<float> r = recurrent<SingleBf16State>(p);
  EXPECT_EQ(r.y, r.y.unaryExpr([](float y) { return round_to<Bfloat16Format>(y); }));
  EXPECT_EQ(r.ht, r.y.bottomRows(1));
  EXPECT_NE(r.y, recurrent<Single>(p).y);
}

// Writes the place of each element instead of the element.
struct Stamp : Rounding<double> {
  static auto carry(Index time, Index row, Index column) {
    return [=](double, Index j) {
      return row == 0 && j < 16 ? static_cast<double>(1000 * time + column + j) : infinity;
    };
  }
};

TEST(DecayedSum, ShowsTheRecipeEachStateOnceAtItsPlace) {
  const BackwardProblem<double> p = random_problem<double>(6, 37);
  const Result<double> r = recurrent<Stamp>(p);
  const Gradients<double> gradients = backward<Stamp>(p);
  for (Index t = 0; t < p.time(); ++t)
    for (Index j = 0; j < p.value(); ++j) {
      EXPECT_EQ(r.y(t, j), static_cast<double>(1000 * t + j));
      EXPECT_EQ(gradients.dx(t, j), static_cast<double>(1000 * (p.time() - 1 - t) + j));
    }
}

// ---- scan

TEST(DecayedSum, ScanEqualsRecurrentInIntegers) {
  for (const Index time : lengths) {
    const BackwardProblem<double> p = integer_problem(time, 7);
    const Result<double> a = recurrent<Exact>(p), b = scan<Exact>(p);
    EXPECT_EQ(a.y, b.y) << "T=" << time;
    EXPECT_EQ(a.ht, b.ht) << "T=" << time;
  }
}

TEST(DecayedSum, ScanAgreesWithRecurrent) {
  for (const double gate_mean : {-8.0, -0.5, -0.001, 0.01})
    for (const Index time : lengths) {
      const BackwardProblem<double> p = random_problem<double>(time, 7, gate_mean);
      Problem<double> sizes = p;  // its result bounds every partial sum
      sizes.x = p.x.cwiseAbs();
      sizes.h0 = p.h0.cwiseAbs();
      const Result<double> a = recurrent<Exact>(p), b = scan<Exact>(p);
      const Result<double> size = recurrent<Exact>(sizes);
      // Each factor and each addition errs by a few roundoffs, which add along T tokens.
      const double relative = 4 * 0x1p-53 * static_cast<double>(time + 1);
      EXPECT_TRUE(((a.y - b.y).array().abs() <= relative * size.y.array()).all()) << "T=" << time;
      EXPECT_TRUE(((a.ht - b.ht).array().abs() <= relative * size.ht.array()).all())
          << "T=" << time;
    }
}

// ---- backward

template <class T>
T inner(const Matrix<T>& a, const Matrix<T>& b) {
  T sum = 0;
  for (Index i = 0; i < a.size(); ++i) sum += a.data()[i] * b.data()[i];
  return sum;
}

// The loss whose gradients are dy and dht.
template <class Recipe>
ScalarOf<Recipe> loss(const BackwardProblem<ScalarOf<Recipe>>& p) {
  const Result<ScalarOf<Recipe>> r = recurrent<Recipe>(p);
  return inner(r.y, p.dy) + inner(r.ht, p.dht);
}

// Sums are linear in (x, h0): <J (x, h0), (dy, dht)> is the loss itself.
TEST(DecayedSumBackward, IsTheAdjointInIntegers) {
  for (const Index time : lengths) {
    const BackwardProblem<double> p = integer_problem(time, 7);
    const Gradients<double> r = backward<Exact>(p);
    EXPECT_EQ(loss<Exact>(p), inner(p.x, r.dx) + inner(p.h0, r.dh0)) << "T=" << time;
  }
}

// In every direction, gates included: <J d, (dy, dht)> = <d, (dx, dg, dh0)>. J d is the sum of the
// directional derivatives, S'_t = exp(g_t) (S'_{t-1} + g'_t S_{t-1}) + x'_t.
TEST(DecayedSumBackward, IsTheAdjointOfTheTangent) {
  for (const Index time : lengths) {
    const BackwardProblem<long double> p = random_problem<long double>(time, 7);
    const auto dx = random<long double>(time, 7, "direction of x"),
               dg = random<long double>(time, 1, "direction of g"),
               dh0 = random<long double>(1, 7, "direction of h0");
    Matrix<long double> state = p.h0, tangent = dh0;
    long double forward = 0;
    for (Index t = 0; t < time; ++t) {
      const long double factor = std::exp(p.log_decay[t]);
      tangent = factor * (tangent + dg(t, 0) * state) + dx.row(t);
      state = factor * state + p.x.row(t);
      forward += inner<long double>(tangent, p.dy.row(t));
    }
    forward += inner<long double>(tangent, p.dht);
    const Gradients<long double> r = backward<Extended>(p);
    const long double back = inner(dx, r.dx) + inner<long double>(dg, r.dg) + inner(dh0, r.dh0);
    EXPECT_NEAR(static_cast<double>(forward - back), 0, 1e-15 * static_cast<double>(time + 1));
  }
}

TEST(DecayedSumBackward, EveryElementIsACentralDifference) {
  BackwardProblem<long double> p = random_problem<long double>(6, 3);
  p.log_decay[3] = -60;  // all but forgets
  const Gradients<long double> r = backward<Extended>(p);
  const auto difference = [&](long double& element) {
    constexpr long double step = 0x1p-20L;
    const long double at = element;
    element = at + step;
    const long double above = loss<Extended>(p);
    element = at - step;
    const long double below = loss<Extended>(p);
    element = at;
    return static_cast<double>((above - below) / (2 * step));
  };
  for (Index t = 0; t < p.time(); ++t) {
    EXPECT_NEAR(difference(p.log_decay[t]), static_cast<double>(r.dg[t]), 1e-11) << "dg " << t;
    for (Index j = 0; j < p.value(); ++j)
      EXPECT_NEAR(difference(p.x(t, j)), static_cast<double>(r.dx(t, j)), 1e-11) << "dx " << t;
  }
  for (Index j = 0; j < p.value(); ++j)
    EXPECT_NEAR(difference(p.h0(0, j)), static_cast<double>(r.dh0(0, j)), 1e-11) << "dh0 " << j;
}

TEST(DecayedSumBackward, NothingPassesAGateThatForgets) {
  BackwardProblem<double> p = random_problem<double>(9, 5);
  p.log_decay[4] = -infinity;
  p.log_decay[3] = 0;
  p.x(2, 0) = p.x(3, 0) = 1.5e308;  // the state overflows just before it is forgotten
  p.dy.topRows(4).setZero();
  const Gradients<double> r = backward<Exact>(p);
  EXPECT_EQ(r.dg[4], 0);  // not 0 times infinity
  EXPECT_TRUE((r.dx.topRows(4).array() == 0).all());
}

// ---- from tensors and back

// Tensors of every storage type and of unusual layouts, and their problem (sequence, head).
struct Case {
  static constexpr Index batch = 3, time = 19, heads = 5, value = 21;
  std::vector<bf16> x = fill<bf16>(batch * time * heads * value, "x");
  std::vector<float> g = fill<float>(batch * time * heads, "g");
  std::vector<double> h0 = fill<double>(batch * heads * value, "h0");
  std::vector<fp16> dy = fill<fp16>(batch * time * heads * value, "dy");
  std::vector<double> dht = fill<double>(value, "dht");

  HostBackwardInputs inputs() const {
    // x is stored [head, batch, time, value], g [time, batch, head]; dht is the same for all.
    HostBackwardInputs result;
    result.terms =
        Tokens<Space::host, const bf16>(x.data(), {batch, time, heads, value},
                                        {time * value, value, batch * time * value, Index{1}});
    result.log_decay = Gates<Space::host, const float>(g.data(), {batch, time, heads},
                                                       {heads, batch * heads, Index{1}});
    result.initial_state = States<Space::host, const double>(h0.data(), {batch, heads, value});
    result.sums_gradient = Tokens<Space::host, const fp16>(dy.data(), {batch, time, heads, value});
    result.final_state_gradient =
        States<Space::host, const double>(dht.data(), {batch, heads, value}, {0, 0, 1});
    return result;
  }

 private:
  template <class T>
  static std::vector<T> fill(Index elements, std::string_view name) {
    const Matrix<double> values = random<double>(elements, 1, name);
    std::vector<T> result;
    for (Index i = 0; i < elements; ++i) result.push_back(static_cast<T>(values(i, 0)));
    return result;
  }
};

struct Output {
  std::vector<double> y, ht, dx, dg, dh0;
  friend bool operator==(const Output&, const Output&) = default;
};

Output run(const HostBackwardInputs& x) {
  const Shape n = shape(x);
  const std::array tokens{n.batch, n.time, n.heads, n.value};
  const std::array states{n.batch, n.heads, n.value};
  const auto count = static_cast<std::size_t>(n.batch * n.heads * n.value);
  const std::size_t all = count * static_cast<std::size_t>(n.time);
  Output r{std::vector<double>(all), std::vector<double>(count), std::vector<double>(all),
           std::vector<double>(all / static_cast<std::size_t>(n.value)),
           std::vector<double>(count)};
  HostOutputs y;
  y.sums = Tokens<Space::host, double>(r.y.data(), tokens);
  y.final_state = States<Space::host, double>(r.ht.data(), states);
  for_each_problem<double>(static_cast<const HostInputs&>(x), y,
                           [](const auto& p) { return recurrent<Exact>(p); });
  HostBackwardOutputs gradients;
  gradients.terms = Tokens<Space::host, double>(r.dx.data(), tokens);
  gradients.log_decay =
      Gates<Space::host, double>(r.dg.data(), std::array{n.batch, n.time, n.heads});
  gradients.initial_state = States<Space::host, double>(r.dh0.data(), states);
  for_each_problem<double>(x, gradients, [](const auto& p) { return backward<Exact>(p); });
  return r;
}

TEST(DecayedSumTensors, FollowStridesAndTypes) {
  const Case c;
  const Output r = run(c.inputs());
  for (Index b = 0; b < Case::batch; ++b)
    for (Index h = 0; h < Case::heads; ++h)
      for (Index j = 0; j < Case::value; ++j) {
        double state = c.h0[static_cast<std::size_t>((b * Case::heads + h) * Case::value + j)];
        for (Index t = 0; t < Case::time; ++t) {
          const auto x = ((h * Case::batch + b) * Case::time + t) * Case::value + j;
          const auto g = (t * Case::batch + b) * Case::heads + h;
          const auto y = ((b * Case::time + t) * Case::heads + h) * Case::value + j;
          state = std::exp(double(c.g[static_cast<std::size_t>(g)])) * state +
                  double(c.x[static_cast<std::size_t>(x)]);
          ASSERT_EQ(r.y[static_cast<std::size_t>(y)], state);
          if (t + 1 < Case::time) continue;
          // The gradient of the last term.
          ASSERT_EQ(r.dx[static_cast<std::size_t>(y)],
                    c.dht[static_cast<std::size_t>(j)] + double(c.dy[static_cast<std::size_t>(y)]));
        }
        ASSERT_EQ(r.ht[static_cast<std::size_t>((b * Case::heads + h) * Case::value + j)], state);
      }
}

TEST(DecayedSumTensors, HaveTheSameBitsForAnyNumberOfThreads) {
  const Case c;
  const int before = threads();
  set_threads(1);
  const Output one = run(c.inputs());
  for (const int count : {2, 3, 7}) {
    set_threads(count);
    EXPECT_EQ(run(c.inputs()), one) << count << " threads";
  }
  set_threads(before);
}

TEST(DecayedSumTensors, AbsentStatesAreZeroAndAbsentOutputsAreSkipped) {
  const Case c;
  HostBackwardInputs x = c.inputs();
  x.initial_state = {};
  x.final_state_gradient = {};
  const BackwardProblem<double> p = gather<double>(x, Place{2, 3});
  EXPECT_TRUE(p.h0.isZero(0) && p.dht.isZero(0));
  EXPECT_EQ(p.h0.cols(), Case::value);
  EXPECT_NO_THROW(for_each_problem<double>(x, HostBackwardOutputs{},
                                           [](const auto& q) { return backward<Exact>(q); }));
}

TEST(DecayedSumTensors, AreRefusedByName) {
  const auto message = [](auto change) -> std::string {
    const Case c;
    HostBackwardInputs x = c.inputs();
    change(x);
    try {
      validate(x);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "accepted";
  };
  const std::array wrong{Case::batch, Case::heads, Case::value + 1};
  EXPECT_EQ(message([](auto&) {}), "accepted");
  EXPECT_EQ(message([](auto& x) { x.log_decay = {}; }), "decayed_sum: x and g are required");
  EXPECT_EQ(message([](auto& x) {
              x.log_decay = Gates<Space::host, const float>(nullptr, {Case::batch, 1, Case::heads});
            }),
            "decayed_sum: g must be [batch, time, head] of x");
  EXPECT_EQ(message([&](auto& x) {
              x.initial_state = States<Space::host, const double>(nullptr, wrong);
            }),
            "decayed_sum: h0 must be [batch, head, value] of x");
  EXPECT_EQ(message([](auto& x) { x.sums_gradient = {}; }),
            "decayed_sum: dy is required and must have the shape of x");
  EXPECT_EQ(message([&](auto& x) {
              x.final_state_gradient = States<Space::host, const double>(nullptr, wrong);
            }),
            "decayed_sum: dht must be [batch, head, value] of x");
}

}  // namespace
}  // namespace groundstate::decayed_sum
