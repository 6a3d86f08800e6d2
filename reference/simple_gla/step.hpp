// One or several tokens on a state: the equation, token by token.
//
//   S[k,v] := exp(d_t) S[k,v]                 rounded
//   S[k,v] := fma(k_t[k], v_t[v], S[k,v])     token t's own term is not decayed
//   o_t[v]  = sum_k (scale q_t[k]) S[k,v]     ascending k, one fma a term
//
// Columns of the state are independent, so they are processed in strips that stay in the
// first-level cache for the whole sequence; strips are the parallel unit inside one problem.
// Calling it with m tokens at once or m times with one gives the same bits. Rounding points: carry,
// after each token.
#pragma once

#include <vector>

#include "reference/core/gate.hpp"
#include "reference/core/recipe.hpp"
#include "reference/simple_gla/gather.hpp"

namespace groundstate::simple_gla {

// 128 bytes of columns: the sums of a strip stay in registers, the strip itself (16 KiB at K = 128)
// in L1.
template <class Scalar>
inline constexpr Index strip_width = std::max<Index>(1, 128 / sizeof(Scalar));

// One token on a strip [keys x strip_width]. Out of line, so that nothing but the strip's own sums
// and values competes for registers (measured inlined: fp32 at 0.55 of the speed, fp64 at 0.93).
template <class Recipe>
[[gnu::noinline]] void advance_token(const ScalarOf<Recipe>* scaled_q, const ScalarOf<Recipe>* k,
                                     ScalarOf<Recipe> decay, const ScalarOf<Recipe>* v, Index keys,
                                     ScalarOf<Recipe>* strip, ScalarOf<Recipe>* o, Recipe& recipe,
                                     Index time, Index column) {
  using std::fma;
  using Scalar = ScalarOf<Recipe>;
  constexpr Index width = strip_width<Scalar>;
  Scalar value[width], sum[width];
  for (Index j = 0; j < width; ++j) {
    value[j] = v[j];
    sum[j] = Scalar(0);
  }
  for (Index i = 0; i < keys; ++i) {
    Scalar* const row = strip + i * width;
    const auto carry = recipe.carry(time, i, column);
#pragma GCC ivdep
    for (Index j = 0; j < width; ++j) {
      const Scalar s = carry(fma(k[i], value[j], decay * row[j]), j);
      row[j] = s;
      sum[j] = fma(scaled_q[i], s, sum[j]);
    }
  }
  for (Index j = 0; j < width; ++j) o[j] = sum[j];
}

// Advances `state` [key, value] by the tokens of `p`, the first of which is number `first_time` of
// its sequence, and writes their outputs to `o` [time, value]. p.h0 is not read.
template <class Recipe>
void advance(const Problem<ScalarOf<Recipe>>& p, Index first_time,
             MatrixRef<ScalarOf<Recipe>> state, MatrixRef<ScalarOf<Recipe>> o,
             const Recipe& recipe = {}) {
  using Scalar = ScalarOf<Recipe>;
  constexpr Index width = strip_width<Scalar>;
  constexpr Index block = 128;  // tokens: their q and k stay in L2 while the strips take turns
  const Index keys = p.key(), strips = (p.value() + width - 1) / width;
  const bool worthwhile = p.time() * keys * p.value() > 1'000'000;
  const Index group = worthwhile ? (strips + threads() - 1) / threads() : strips;
  parallel_for(group == 0 ? 0 : (strips + group - 1) / group, [&](Index g) {
    const Index first = g * group * width, columns = std::min(group * width, p.value() - first);
    const Index own = (columns + width - 1) / width;
    // Columns beyond the last are zero, which is neutral.
    std::vector<Scalar> buffer(static_cast<std::size_t>(own * keys * width), Scalar(0));
    const auto strip = [&](Index column) {
      return buffer.data() + (column / width) * keys * width;
    };
    for (Index k = 0; k < keys; ++k)
      for (Index j = 0; j < columns; ++j) strip(j)[k * width + j % width] = state(k, first + j);
    std::vector<Recipe> disturbance(static_cast<std::size_t>(own), recipe);
    for (Index begin = 0; begin < p.time(); begin += block) {
      const Index count = std::min(block, p.time() - begin);
      const Matrix<Scalar> scaled_q = p.scale * p.q.middleRows(begin, count);
      const Vector<Scalar> factor = p.log_decay.segment(begin, count).unaryExpr([](Scalar d) {
        return decay(LogDecay<Scalar>{d}).factor;
      });
      for (Index column = 0; column < columns; column += width) {
        const Index used = std::min(width, columns - column);
        Scalar value[width]{}, output[width];
        for (Index t = 0; t < count; ++t) {
          for (Index j = 0; j < used; ++j) value[j] = p.v(begin + t, first + column + j);
          advance_token(scaled_q.row(t).data(), p.k.row(begin + t).data(), factor[t], value, keys,
                        strip(column), output,
                        disturbance[static_cast<std::size_t>(column / width)],
                        first_time + begin + t, first + column);
          for (Index j = 0; j < used; ++j) o(begin + t, first + column + j) = output[j];
        }
      }
    }
    for (Index k = 0; k < keys; ++k)
      for (Index j = 0; j < columns; ++j) state(k, first + j) = strip(j)[k * width + j % width];
  });
}

}  // namespace groundstate::simple_gla
