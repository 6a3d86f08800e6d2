// Disturbances of the double oracle, from which the sensitivities of a case are measured
// (harness/judge).
//
//   input   every element of every non-gate input times (1 + eps xi)
//   carry   after the write of each `interval`-th token every element of the state times (1 +- eps)
//   gate    g_t += eps ((1 + |g_t|) xi(g_t) + |G_t| xi_t), G the cumulative log gate restarted
//           every `interval` tokens; without the second term where the interval is 1
//   open    every element of every non-gate input plus eps xi, with all gates 0: the absolute error
//           of fp16 operands below their normal numbers
// eps = 2^-26, xi of mean 0 and variance 1; signs for the state, where thousands of terms
// contribute. Every xi is a pure function of (seed, field, run, tensor, index), never of the order
// of computation.
//
// xi(g_t) is a function of the value of the gate: exp rounds equal gates equally, so the error of a
// constant gate grows like the memory and not like its square root. The exp of 0 is exact: a gate
// of 0 is not disturbed. Source: judging_scale, sections 1, 4 and 9; its gate field draws per token
// and its floor is relative to the operands, which fails honest kernels on constant gates and on
// tiny inputs (data/simple_gla.cases).
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "harness/judge/sensitivity.hpp"
#include "reference/core/gate.hpp"
#include "reference/core/matrix.hpp"
#include "reference/core/philox.hpp"
#include "reference/core/recipe.hpp"

namespace groundstate::harness {

enum class Field { none, input, carry, gate, open };

struct Perturbation {
  Field field = Field::none;
  std::uint64_t seed = 0;
  std::uint32_t run = 0;
  Index pair = 0;
  Index interval = 1;
  double epsilon = perturbation;  // 0: the centre of the field `open`

  // The stream's high counter word keeps runs and pairs apart.
  std::uint64_t high() const { return static_cast<std::uint64_t>(pair) << 8 | run; }
};

// x := x (1 + eps xi), or x + eps xi for the field `open`, all elements.
template <class Dense>  // Matrix<double> or Vector<double>
void perturb_input(const Perturbation& how, std::string_view tensor, Dense& x) {
  const RandomStream stream(how.seed ^ 0x696e707574u, tensor);
  for (Index i = 0; i < x.size(); ++i) {
    const double change = how.epsilon * stream.normal(static_cast<std::uint64_t>(i), how.high());
    x.data()[i] += how.field == Field::open ? change : change * x.data()[i];
  }
}

// The gates of one sequence, in order of processing. 0 and -infinity stay what they are.
inline void perturb_gate(const Perturbation& how, std::string_view tensor, Vector<double>& g) {
  const RandomStream by_token(how.seed ^ 0x67617465u, tensor),
      by_value(how.seed ^ 0x657870u, tensor);
  double cumulative = 0;
  for (Index t = 0; t < g.size(); ++t) {
    if (t % how.interval == 0) cumulative = 0;
    // A running sum really is as large as its gates; only behind -infinity nothing can be forgiven.
    cumulative += std::isinf(g[t]) ? log_decay_floor<double>() : g[t];
    if (g[t] == 0) continue;
    double change = (1 + std::min(std::abs(g[t]), -log_decay_floor<double>())) *
                    by_value.normal(std::bit_cast<std::uint64_t>(g[t]), how.high());
    if (how.interval > 1)
      change += std::abs(cumulative) * by_token.normal(static_cast<std::uint64_t>(t), how.high());
    g[t] += how.epsilon * change;
  }
}

// The oracle's recipe with a disturbed state. One Philox block serves four rows of up to 16
// columns.
class CarryNoise : public Rounding<double> {
 public:
  explicit CarryNoise(const Perturbation& how)
      : stream_(how.seed ^ 0x6361727279u, "state"),
        high_(how.high() << 16),
        interval_(how.interval),
        epsilon_(how.epsilon) {}

  auto carry(Index time, Index row, Index column) {
    if ((time + 1) % interval_ != 0) return Sign{0, 0};
    if (row % 4 == 0)
      words_ =
          stream_.bits(static_cast<std::uint64_t>(time) << 24 | static_cast<std::uint64_t>(row / 4),
                       high_ | static_cast<std::uint64_t>(column / 16));
    return Sign{words_[static_cast<std::size_t>(row % 4)], epsilon_};
  }

 private:
  struct Sign {
    std::uint32_t bits;
    double epsilon;
    double operator()(double x, Index j) const {
      const double sign = static_cast<double>(static_cast<int>(bits >> j & 1) * 2 - 1);
      return x * (1 + sign * epsilon);
    }
  };
  RandomStream stream_;
  std::uint64_t high_;
  Index interval_;
  double epsilon_;
  Philox::Counter words_{};
};

}  // namespace groundstate::harness
