// The known ways to get simple_gla wrong: padding that decays, two gates in one variable,
// infinities that meet in a difference or under a mask, and whatever leaks backwards or sideways.
#include <array>
#include <cmath>
#include <limits>

#include "tests/reference/simple_gla_example.hpp"

namespace groundstate::harness {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

double difference(const Matrix<double>& a, const Matrix<double>& b) {
  return (a - b).norm() / b.norm();
}

// ---- gates

// With q = k = 0 nothing is added, and the decay of exactly T tokens is left: h0 exp(T gamma). A
// kernel that pads to a multiple of its chunk is off by exp(pad * gamma), 28 tokens of 64 for T =
// 100.
TEST(SimpleGlaHazard, ARaggedLastChunkDecaysByItsOwnTokensOnly) {
  for (const Index time : {1, 15, 16, 17, 63, 64, 65, 100, 127, 500, 1000})
    for (const double gamma : {-0.05, -0.0001}) {
      const Example decaying =
          Example(fmt::format("simple_gla H=1 K=8 V=8 dtype=fp64 state=random gate_inputs=gamma "
                              "gamma={} T={}",
                              gamma, time))
              .with("k", [](Index, double) { return 0.0; });
      const Tensor& h0 = *find(decaying.inputs, "h0");
      Matrix<double> expected(8, 8);
      for_each_element(h0, [&](Index i, Index offset) {
        expected.data()[i] = h0.load(offset) * std::exp(gamma * static_cast<double>(time));
      });
      auto paths = exact_variants();
      paths.insert(paths.end(), {"chunked", "fused", "segmented", "chunk_scan"});  // chunks of 64
      // In fp64 one rounding a token at most.
      for (const std::string& path : paths)
        EXPECT_LE(difference(decaying(path)[0][1], expected),
                  static_cast<double>(time + 4) * 0x1p-52)
            << path << " T=" << time << " gamma=" << gamma;
    }
}

TEST(SimpleGlaHazard, TwoGatesAreOneGateOfTheirSum) {
  for (const char* const gate : {"normal", "hard_reset", "growth"}) {
    const Example both(
        fmt::format("simple_gla H=1 HV=2 T=70 K=24 V=20 dtype=fp64 state=random "
                    "gate_inputs=both gamma=-0.3 gate={}",
                    gate));
    const Example sum = both.with("g", [](Index, double g) { return g + -0.3; }).without("g_gamma");
    for (const std::string& path : exact_variants())
      EXPECT_TRUE(same_bits(both(path), sum(path))) << path << " " << gate;
  }
}

TEST(SimpleGlaHazard, NoGateMakesANaN) {
  for (const char* const line :
       {"gate=hard_reset", "gate=closed", "gate=reset", "gate=dense", "gate=floor",
        "gate=underflow", "gate=growth", "gate=strong_growth", "gate=mixed_sign", "gate=denormal",
        "gate=hard_reset gate_inputs=both gamma=0.05", "gate=closed gate_inputs=both gamma=-0.7071",
        "gate=hard_reset reverse=yes", "gate_inputs=gamma gamma=-1",
        "gate_inputs=gamma gamma=-0.7071"}) {
    const Example example(
        fmt::format("simple_gla H=1 K=16 V=16 dtype=fp32 state=random T=150 {}", line));
    auto paths = every_variant();
    // 128 tokens of -0.7071 are more than fp32 can exponentiate.
    paths.insert(paths.end(), {"chunked[chunk=128]:single", "fused[chunk=128]:tensorcore-bf16",
                               "chunked[chunk=128]:tensorcore-bf16", "segmented[chunk=128]:tf32"});
    for (const std::string& path : paths) {
      // e^15 of strong growth leaves fp16 by rights.
      if (path.ends_with("fp16") && example.line.get("gate") == "strong_growth") continue;
      EXPECT_TRUE(finite(example(path))) << path << " " << line;
    }
  }
}

// Nothing that came before a gate of -infinity, in any path or precision, moves a bit behind it.
TEST(SimpleGlaHazard, AGateOfMinusInfinityForgetsEverything) {
  const Index time = 53, width = 16;
  for (const Index reset : {0, 1, 15, 16, 17, 31, 52}) {
    const Example one =
        Example("simple_gla H=1 T=53 K=16 V=16 dtype=fp32 state=random gate=medium")
            .with("g", [&](Index t, double g) { return t == reset ? -infinity : g; });
    Example other = one.with("h0", [](Index, double x) { return -3 * x; });
    for (const char* const name : {"k", "v"})
      other =
          other.with(name, [&](Index i, double x) { return i / width < reset ? 1 - 2 * x : x; });
    for (const std::string& path : every_variant()) {
      const auto a = one(path), b = other(path);
      ASSERT_TRUE(same_bits(Matrix<double>(a[0][0].bottomRows(time - reset)),
                            Matrix<double>(b[0][0].bottomRows(time - reset))))
          << path << " reset at " << reset;
      ASSERT_TRUE(same_bits(a[0][1], b[0][1])) << path << " reset at " << reset;
    }
  }
}

// ---- what an infinity or a NaN reaches

constexpr Index tokens = 37, key_size = 24, value_size = 20;
Example ordinary(std::string_view rest = "") {
  return Example(
      fmt::format("simple_gla H=2 T={} K={} V={} gate=medium gate_inputs=both gamma=-0.05 "
                  "dtype=fp32 state=random {}",
                  tokens, key_size, value_size, rest));
}

TEST(SimpleGlaHazard, ABadTokenLeavesWhatComesBeforeItAndOtherHeadsAlone) {
  for (const bool reverse : {false, true}) {
    const Example good = ordinary(reverse ? "reverse=yes" : "");
    for (const std::string& path : every_variant()) {
      const auto expected = good(path);
      for (const std::string_view name : {"k", "v", "g"})
        for (const Index t : {0, 15, 16, 20, 36})
          for (const double bad : {nan, infinity}) {
            const Index channels = name == "k" ? key_size : name == "v" ? value_size : 1;
            const Example broken = good.with(name, [&](Index i, double x) {  // head 0 of token t
              return i / channels == 2 * t ? bad : x;
            });
            const auto result = broken(path);
            const auto where = [&] { return fmt::format("{} {} {} at {}", path, name, bad, t); };
            const auto before = [&](const Matrix<double>& o) -> Matrix<double> {
              return reverse ? o.bottomRows(tokens - 1 - t) : o.topRows(t);
            };
            ASSERT_TRUE(same_bits(before(result[0][0]), before(expected[0][0]))) << where();
            ASSERT_TRUE(same_bits(result[1], expected[1])) << where() << ", other head";
            ASSERT_FALSE(result[0][0].row(t).allFinite()) << where() << ": hidden";
          }
    }
  }
}

TEST(SimpleGlaHazard, ABadQueryIsSeenInItsOwnOutputOnly) {
  const Example good = ordinary();
  for (const std::string& path : every_variant()) {
    const auto expected = good(path);
    for (const Index t : {0, 15, 16, 36}) {
      auto result =
          good.with("q", [&](Index i, double x) { return i / key_size == 2 * t ? nan : x; })(path);
      ASSERT_TRUE(result[0][0].row(t).array().isNaN().all()) << path;
      result[0][0].row(t) = expected[0][0].row(t);
      ASSERT_TRUE(same_bits(result, expected)) << path << " at " << t;
    }
  }
}

TEST(SimpleGlaHazard, ABadValueColumnStaysAColumn) {
  const Example good = ordinary();
  for (const std::string& path : every_variant()) {
    const auto expected = good(path);
    for (const Index column : {0, 7, 8, 16, 19}) {
      auto result = good.with(
          "v", [&](Index i, double x) { return i % value_size == column ? nan : x; })(path);
      for (std::size_t pair = 0; pair < 2; ++pair)
        for (std::size_t tensor = 0; tensor < 2; ++tensor) {
          ASSERT_TRUE(result[pair][tensor].col(column).array().isNaN().all()) << path;
          result[pair][tensor].col(column) = expected[pair][tensor].col(column);
        }
      ASSERT_TRUE(same_bits(result, expected)) << path << " column " << column;
    }
  }
}

TEST(SimpleGlaHazard, ABadSequenceLeavesItsNeighboursAlone) {
  for (const char* const reverse : {"no", "yes"}) {
    const Example good(
        fmt::format("simple_gla H=1 lengths=20+13+0+24 K=24 V=20 gate=open dtype=fp32 "
                    "state=random reverse={}",
                    reverse));
    Example broken =
        good.with("h0", [](Index i, double x) { return i / (24 * 20) == 1 ? nan : x; });
    for (const auto& [name, channels] : {std::pair{"q", 24}, {"k", 24}, {"v", 20}, {"g", 1}})
      broken = broken.with(name, [&, n = channels](Index i, double x) {
        return i / n >= 20 && i / n < 33 ? nan : x;
      });
    for (const std::string& path : every_variant()) {
      const auto expected = good(path), result = broken(path);
      for (const std::size_t sequence : {0, 2, 3})
        ASSERT_TRUE(same_bits(result[sequence], expected[sequence]))
            << path << " sequence " << sequence;
      ASSERT_TRUE(result[1][0].array().isNaN().all()) << path;
    }
  }
}

}  // namespace
}  // namespace groundstate::harness
