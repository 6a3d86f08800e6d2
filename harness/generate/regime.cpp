#include "harness/generate/regime.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <limits>

#include "harness/case/error.hpp"
#include "harness/case/text.hpp"

namespace groundstate::harness {
namespace {

using Stream = RandomStream;
using At = ElementPlace;

double uniform(const Stream& s, const At& at, double low, double high) {
  return low + (high - low) * s.uniform(static_cast<std::uint64_t>(at.index), 0);
}
double normal(const Stream& s, const At& at) {
  return s.normal(static_cast<std::uint64_t>(at.index));
}

// Close to log(sigmoid(normal)), the gate that models start from, without a logarithm:
// -(x + sqrt(x^2 + c)) / 2 has its slopes and its value -log 2 at 0.
double soft_gate(const Stream& s, const At& at) {
  const double x = normal(s, at);
  return -0.5 * (x + std::sqrt(std::fma(x, x, 1.9218120556728056)));
}

constexpr std::array mixed_scale{1e-4, 20.0, 1e-2, 2.0, 1e-3, 8.0, 0.1, 0.5};
constexpr std::array hard_values{-1e4, -1e6, -std::numeric_limits<double>::infinity()};

constexpr Regime gates[] = {
    {"open", "g = 0: the plain sum; must equal the ungated form bit for bit, and the state grows",
     [](const Stream&, const At&) { return 0.0; }},
    {"near_one", "g = log(1 - 2^-12): a bf16 state loses every update that a long memory needs",
     [](const Stream&, const At&) { return -0.0002441704321739145; }},
    {"slow", "log-sigmoid-like / 1024: memory of a thousand tokens; shows a state of low precision",
     [](const Stream& s, const At& at) { return soft_gate(s, at) / 1024; }},
    {"medium", "log-sigmoid-like / 16: memory of some twenty tokens",
     [](const Stream& s, const At& at) { return soft_gate(s, at) / 16; }},
    {"normal", "log-sigmoid-like: memory of a token or two; shows a gate that is off by one token",
     [](const Stream& s, const At& at) { return soft_gate(s, at); }},
    {"fast", "uniform on (-8, -1): the state is gone within a few tokens",
     [](const Stream& s, const At& at) { return uniform(s, at, -8, -1); }},
    {"floor",
     "-5 at every token: 64 tokens sum to -320, and exp(+320) overflows where it is not masked",
     [](const Stream&, const At&) { return -5.0; }},
    {"dense", "uniform on (-200, 0): masked entries overflow at almost every token",
     [](const Stream& s, const At& at) { return uniform(s, at, -200, 0); }},
    {"mixed", "one scale a head, 1e-4 .. 20: slow heads beside fast ones",
     [](const Stream& s, const At& at) {
       return -mixed_scale[static_cast<std::size_t>(at.head) % mixed_scale.size()] *
              uniform(s, at, 0.5, 1.5);
     }},
    {"reset",
     "-1e4 in the middle of every 64 tokens: an fp32 cumulative sum loses the gates behind it",
     [](const Stream& s, const At& at) {
       return at.time % 64 == 37 ? -1e4 : soft_gate(s, at) / 16;
     }},
    {"hard_reset", "-1e4, -1e6 or -infinity at every eighth token: -inf - -inf is NaN",
     [](const Stream& s, const At& at) {
       return at.time % 8 == 3
                  ? hard_values[static_cast<std::size_t>(at.time / 8) % hard_values.size()]
                  : uniform(s, at, -0.02, 0);
     }},
    {"closed",
     "-infinity at every token, first and last of a chunk too: each token forgets all before it",
     [](const Stream&, const At&) { return -std::numeric_limits<double>::infinity(); }},
    {"underflow", "uniform on (-120, -60): factors at the lower end of fp32",
     [](const Stream& s, const At& at) { return uniform(s, at, -120, -60); }},
    {"growth", "positive, about +4 over the sequence: masked and padded entries grow",
     [](const Stream& s, const At& at) {
       return uniform(s, at, 0, 8) / static_cast<double>(at.length > 0 ? at.length : 1);
     }},
    {"strong_growth", "uniform on (0, 0.2): the state grows by e^6 in 64 tokens",
     [](const Stream& s, const At& at) { return uniform(s, at, 0, 0.2); }},
    {"mixed_sign", "uniform on (-0.2, 0.2): growth and decay",
     [](const Stream& s, const At& at) { return uniform(s, at, -0.2, 0.2); }},
    {"denormal", "-1e-40: a subnormal of fp32, as good as open",
     [](const Stream&, const At&) { return -1e-40; }},
    {"chunk_end",
     "0 but for -3 at every 16th token: only a gate off by one at a chunk end moves anything",
     [](const Stream&, const At& at) { return at.time % 16 == 15 ? -3.0 : 0.0; }},
};

constexpr std::array channel_scale{0.01, 1.0, 100.0, 0.1, 10.0};

constexpr Regime values[] = {
    {"normal", "mean 0, variance 1", [](const Stream& s, const At& at) { return normal(s, at); }},
    {"positive", "uniform on (0, 1): sums without cancellation, a growing state",
     [](const Stream& s, const At& at) { return uniform(s, at, 0, 1); }},
    {"tiny", "normal / 4096: outputs near zero; a kernel that returns zeros must fail",
     [](const Stream& s, const At& at) { return normal(s, at) / 4096; }},
    {"huge", "normal x 64: intermediate results leave fp16",
     [](const Stream& s, const At& at) { return normal(s, at) * 64; }},
    {"integer", "-3 .. 3: products and short sums are exact",
     [](const Stream& s, const At& at) { return std::floor(uniform(s, at, -3, 4)); }},
    {"cancelling", "every odd token undoes the even one before it but for one part in 256",
     [](const Stream& s, const At& at) {
       const double x =
           s.normal(static_cast<std::uint64_t>(at.index - (at.time % 2) * at.token_stride));
       return at.time % 2 == 0 ? x : -x * (1 - 1.0 / 256);
     }},
    {"scaled", "one scale a channel, 0.01 .. 100: small channels beside large ones",
     [](const Stream& s, const At& at) {
       return normal(s, at) *
              channel_scale[static_cast<std::size_t>(at.channel) % channel_scale.size()];
     }},
};

constexpr Regime keys[] = {
    {"normal", "mean 0, variance 1", [](const Stream& s, const At& at) { return normal(s, at); }},
    {"positive", "uniform on (0, 1)",
     [](const Stream& s, const At& at) { return uniform(s, at, 0, 1); }},
    {"onehot", "row t is unit vector t mod K: the state is a table of values, exact",
     [](const Stream&, const At& at) { return at.channel == at.time % at.channels ? 1.0 : 0.0; }},
    {"zero_rows", "every fourth row is zero: such a token only decays",
     [](const Stream& s, const At& at) { return at.time % 4 == 1 ? 0.0 : normal(s, at); }},
    {"integer", "-3 .. 3",
     [](const Stream& s, const At& at) { return std::floor(uniform(s, at, -3, 4)); }},
};

// log(1 - x) for 0 <= x <= 1/32 by its series, to the last bit but one of a double.
double log_one_minus(double x) {
  double sum = 0;
  for (int n = 14; n >= 1; --n) sum = std::fma(sum, x, 1.0 / n);
  return -x * sum;
}

// Slope i of `heads` ALiBi slopes, heads a power of two: start^(i+1), start = 2^(-8 / heads).
double alibi_slope(Index i, Index heads) {
  double start = 0x1p-8;
  for (Index n = 1; n < heads; n *= 2) start = std::sqrt(start);
  double slope = 1;
  for (Index k = 0; k <= i; ++k) slope *= start;
  return slope;
}

}  // namespace

std::span<const Regime> gate_regimes() { return gates; }
std::span<const Regime> value_regimes() { return values; }
std::span<const Regime> key_regimes() { return keys; }

const Regime& regime(std::span<const Regime> table, std::string_view name) {
  for (const Regime& r : table)
    if (r.name == name) return r;
  throw UsageError(fmt::format("no such regime: {}", name));
}

std::vector<std::string> names(std::span<const Regime> table) {
  std::vector<std::string> result;
  for (const Regime& r : table) result.emplace_back(r.name);
  return result;
}

double constant_log_decay(std::string_view gamma, Index head, Index heads) {
  if (gamma == "retnet") return log_one_minus(std::ldexp(1.0, static_cast<int>(-5 - head)));
  if (gamma == "lightning") return -(8.0 / static_cast<double>(heads)) * static_cast<double>(head);
  if (gamma == "alibi") {
    Index below = 1;
    while (below * 2 <= heads) below *= 2;
    // The next lower power of two, then every second slope of the next higher.
    const double slope =
        head < below ? alibi_slope(head, below) : alibi_slope(2 * (head - below), 2 * below);
    return -slope;
  }
  return real_of(gamma).value();
}

}  // namespace groundstate::harness
