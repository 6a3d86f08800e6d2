// Disturbances of the double oracle, from which the sensitivities of a case are measured
// (harness/judge).
//
//   input   every element of every non-gate input times (1 + eps xi)
//   carry   after the write of each `interval`-th token every element of the state times (1 +- eps)
//   gate    g_t += eps (1 + |G_t|) xi_t, G the cumulative log gate restarted every `interval`
//   tokens open    input, with all gates 0 (the underflow floor of fp16 operands)
// eps = 2^-26, xi of mean 0 and variance 1; signs for the state, where thousands of terms
// contribute. Every xi is a pure function of (seed, field, run, tensor, index), never of the order
// of computation. Source: judging_scale, sections 1 and 9.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>

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
  double epsilon = 0x1p-26;  // 0: the centre of the field `open`

  // The stream's high counter word keeps runs and pairs apart.
  std::uint64_t high() const { return static_cast<std::uint64_t>(pair) << 8 | run; }
};

// x := x (1 + eps xi), all elements.
inline void perturb_input(const Perturbation& how, std::string_view tensor, Matrix<double>& x) {
  const RandomStream stream(how.seed ^ 0x696e707574u, tensor);
  for (Index i = 0; i < x.size(); ++i)
    x.data()[i] *=
        1 + how.epsilon * stream.normal(static_cast<std::uint64_t>(i), how.high());
}

// The gates of one sequence, in order of processing. -infinity stays what it is.
inline void perturb_gate(const Perturbation& how, std::string_view tensor, Vector<double>& g) {
  const RandomStream stream(how.seed ^ 0x67617465u, tensor);
  double cumulative = 0;
  for (Index t = 0; t < g.size(); ++t) {
    if (t % how.interval == 0) cumulative = 0;
    cumulative += std::max(g[t], log_decay_floor<double>());
    g[t] += how.epsilon * (1 + std::abs(cumulative)) *
            stream.normal(static_cast<std::uint64_t>(t), how.high());
  }
}

// The oracle's recipe with a disturbed state. One Philox block serves four rows of up to 16 columns.
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
