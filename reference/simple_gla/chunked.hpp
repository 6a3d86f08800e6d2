// The chunked form that kernels take, in two passes: states first, then outputs, chunk by chunk.
//
// In a chunk of n <= C tokens, i and j local tokens, S the state before the chunk:
//   G_i  = d_0 + .. + d_i                                cumulative log decay, from 0 in each chunk
//   h[c] = S                                             states pass
//   v~_j = update(v_j exp(G_{n-1} - G_j))
//   S   := carry(exp(G_{n-1}) S + k^T v~)
//   A_ij = score((q_i . k_j) exp(G_i - G_j)), i >= j     output pass
//   o_i  = scale (exp(G_i) (q_i state(h[c])) + sum_{j<=i} A_ij v_j)
// q, k, v are operand(.); the recipe's scalar accumulates. The last chunk may be short: its last
// row is n - 1, never C - 1.
//
// A run can hand out what is named here as `Stages`: G, h and A. It changes no bit of the result
// and costs nothing where nobody asks.
//
// Exponents of masked entries (i < j) are never formed, so growth gates cannot overflow there. Each
// raw log decay is clamped where its factor is already 0 and the cumulative sum is a two-float, so
// gates of -infinity and differences behind a hard reset are exact to the scalar. 2 C (K + V) + 4 K
// V flop a token and head.
#pragma once

#include <limits>
#include <vector>

#include "reference/core/gate.hpp"
#include "reference/core/recipe.hpp"
#include "reference/core/two_float.hpp"
#include "reference/simple_gla/gather.hpp"

namespace groundstate::simple_gla {

template <class Scalar>
class CumulativeDecay {
 public:
  // Over tokens [begin, begin + count) of the problem.
  CumulativeDecay(const Vector<Scalar>& log_decay, Index begin, Index count,
                  GateSum kind = GateSum::two_float)
      : base2_(kind == GateSum::base2) {
    sums_.reserve(static_cast<std::size_t>(count));
    TwoFloat<Scalar> sum;
    for (Index i = begin; i < begin + count; ++i) {
      if (log_decay[i] <= log_decay_floor<Scalar>()) forgotten_ = std::min(forgotten_, i - begin);
      if (kind == GateSum::two_float)
        sum += std::max(log_decay[i], log_decay_floor<Scalar>());
      else
        sum.high += log_decay[i];
      sums_.push_back(sum);
    }
    if (base2_)
      for (TwoFloat<Scalar>& own : sums_) own.high = to_base2(LogDecay<Scalar>{own.high}).base2;
  }
  Index count() const { return static_cast<Index>(sums_.size()); }
  // exp(G_to): from before the first token.
  Scalar until(Index to) const { return factor(at(to).high + at(to).low); }
  // exp(G_to - G_from), from <= to.
  Scalar between(Index from, Index to) const { return factor(at(to) - at(from)); }
  // G of the last token as one number.
  Scalar total() const { return sums_.empty() ? Scalar(0) : sum(count() - 1); }
  // G_to; -infinity from the first token on that forgets everything, however its gate is kept.
  Scalar logarithm(Index to) const {
    return to < forgotten_ ? sum(to) : -std::numeric_limits<Scalar>::infinity();
  }

 private:
  const TwoFloat<Scalar>& at(Index i) const { return sums_[static_cast<std::size_t>(i)]; }
  Scalar sum(Index i) const {
    const Scalar own = at(i).high + at(i).low;
    return base2_ ? to_natural(Log2Decay<Scalar>{own}).natural : own;
  }
  Scalar factor(Scalar difference) const {
    return base2_ ? decay(Log2Decay<Scalar>{difference}).factor
                  : decay(LogDecay<Scalar>{difference}).factor;
  }
  std::vector<TwoFloat<Scalar>> sums_;
  Index forgotten_ = std::numeric_limits<Index>::max();
  bool base2_;
};

// The operands of one chunk, a tile of its key columns and a tile of its value columns.
template <class Recipe>
struct Chunk {
  using Scalar = ScalarOf<Recipe>;
  Index first_time, first_key, first_value;
  Scalar scale;
  CumulativeDecay<Scalar> decay;
  Matrix<Scalar> q, k, v;

  Chunk(const Problem<Scalar>& p, Index begin, Index count, Index key, Index keys, Index value,
        Index values)
      : first_time(begin),
        first_key(key),
        first_value(value),
        scale(p.scale),
        decay(p.log_decay, begin, count, p.gate_sum),
        q(p.q.block(begin, key, count, keys).unaryExpr(&Recipe::operand)),
        k(p.k.block(begin, key, count, keys).unaryExpr(&Recipe::operand)),
        v(p.v.block(begin, value, count, values).unaryExpr(&Recipe::operand)) {}
  Chunk(const Problem<Scalar>& p, Index begin, Index count)
      : Chunk(p, begin, count, 0, p.key(), 0, p.value()) {}
  Index count() const { return q.rows(); }
};

// ---- phases

// S := carry(exp(G_{n-1}) S + k^T v~)
template <class Recipe>
void update_state(const Chunk<Recipe>& c, MatrixRef<ScalarOf<Recipe>> state,
                  const Recipe& recipe = {}) {
  const Index last = c.count() - 1;
  Matrix<ScalarOf<Recipe>> decayed = c.v;
  for (Index j = 0; j <= last; ++j)
    decayed.row(j) = (c.v.row(j) * c.decay.between(j, last)).unaryExpr(&Recipe::update);
  state *= c.decay.until(last);
  add_outer_products<ScalarOf<Recipe>>(state, c.k, decayed);
  for (Index k = 0; k < state.rows(); ++k) {
    const auto carry = recipe.carry(c.first_time + last, c.first_key + k, c.first_value);
    for (Index j = 0; j < state.cols(); ++j) state(k, j) = carry(state(k, j), j);
  }
}

// A: gated scores of a query operand, zero above the diagonal.
template <class Recipe>
Matrix<ScalarOf<Recipe>> scores(const Chunk<Recipe>& c, const ConstMatrixRef<ScalarOf<Recipe>>& q) {
  using Scalar = ScalarOf<Recipe>;
  Matrix<Scalar> product = Matrix<Scalar>::Zero(c.count(), c.count());
  add_row_products<Scalar>(product, q, c.k);
  Matrix<Scalar> result = Matrix<Scalar>::Zero(c.count(), c.count());
  for (Index i = 0; i < c.count(); ++i)
    for (Index j = 0; j <= i; ++j)
      result(i, j) = Recipe::score(product(i, j) * c.decay.between(j, i));
  return result;
}

// The factor that is left for unscaled_output to be o.
template <class Recipe>
ScalarOf<Recipe> output_scale(const Problem<ScalarOf<Recipe>>& p) {
  return Recipe::scale_query_first ? ScalarOf<Recipe>(1) : p.scale;
}

// The query as an operand.
template <class Recipe>
Matrix<ScalarOf<Recipe>> query(const Chunk<Recipe>& c) {
  if constexpr (Recipe::scale_query_first) return (c.scale * c.q).unaryExpr(&Recipe::operand);
  return c.q;
}

// o / output_scale of the chunk from the state before it.
template <class Recipe>
Matrix<ScalarOf<Recipe>> unscaled_output(const Chunk<Recipe>& c,
                                         const ConstMatrixRef<ScalarOf<Recipe>>& state) {
  using Scalar = ScalarOf<Recipe>;
  const Matrix<Scalar> q = query(c);
  Matrix<Scalar> o = Matrix<Scalar>::Zero(c.count(), c.v.cols());
  add_product<Scalar>(o, q, state.unaryExpr(&Recipe::state));
  for (Index i = 0; i < c.count(); ++i) o.row(i) *= c.decay.until(i);
  add_causal_product<Scalar>(o, scores<Recipe>(c, q), c.v);
  return o;
}

// ---- the two passes

inline Index number_of_chunks(Index time, Index length) { return (time + length - 1) / length; }

// h[c] for every chunk; `state` enters as the initial and leaves as the final state.
template <class Recipe>
std::vector<Matrix<ScalarOf<Recipe>>> chunk_states(const Problem<ScalarOf<Recipe>>& p, Index length,
                                                   MatrixRef<ScalarOf<Recipe>> state,
                                                   const Recipe& recipe = {}) {
  std::vector<Matrix<ScalarOf<Recipe>>> h;
  for (Index begin = 0; begin < p.time(); begin += length) {
    h.push_back(state);
    update_state(Chunk<Recipe>(p, begin, std::min(length, p.time() - begin)), state, recipe);
  }
  return h;
}

template <class Recipe>
void chunk_outputs(const Problem<ScalarOf<Recipe>>& p, Index length,
                   const std::vector<Matrix<ScalarOf<Recipe>>>& h, MatrixRef<ScalarOf<Recipe>> o) {
  for (Index c = 0; c < number_of_chunks(p.time(), length); ++c) {
    const Index begin = c * length, count = std::min(length, p.time() - begin);
    o.middleRows(begin, count) =
        output_scale<Recipe>(p) *
        unscaled_output(Chunk<Recipe>(p, begin, count), h[static_cast<std::size_t>(c)]);
  }
}

// ---- what lies between inputs and outputs

// The named intermediates of a run, in the order in which they follow from each other.
template <class Scalar>
struct Stages {
  Vector<Scalar> cumulative_decay;           // [time] G_i, -infinity behind a reset
  std::vector<Matrix<Scalar>> chunk_states;  // [chunks] h[c], each [key, value]
  Matrix<Scalar> scores;                     // [time, chunk length] A_ij, 0 for j > i
};

// `h` are the states before each chunk. Of a recipe that scales its queries first, the scale is
// taken out of A again.
template <class Recipe>
Stages<ScalarOf<Recipe>> stages(const Problem<ScalarOf<Recipe>>& p, Index length,
                                const std::vector<Matrix<ScalarOf<Recipe>>>& h) {
  using Scalar = ScalarOf<Recipe>;
  Stages<Scalar> r{Vector<Scalar>(p.time()), h, Matrix<Scalar>::Zero(p.time(), length)};
  for (Index begin = 0; begin < p.time(); begin += length) {
    const Chunk<Recipe> c(p, begin, std::min(length, p.time() - begin));
    for (Index i = 0; i < c.count(); ++i) r.cumulative_decay[begin + i] = c.decay.logarithm(i);
    auto own = r.scores.block(begin, 0, c.count(), c.count());
    own = scores<Recipe>(c, query(c));
    if constexpr (Recipe::scale_query_first) own /= p.scale;
  }
  return r;
}

// Those of a later stretch of the sequence, a whole number of chunks behind the first.
template <class Dense>  // Vector or Matrix
void append_rows(Dense& all, const Dense& later) {
  Dense both(all.rows() + later.rows(), later.cols());
  if (all.rows() > 0) both.topRows(all.rows()) = all;
  both.bottomRows(later.rows()) = later;
  all = std::move(both);
}
template <class Scalar>
void append(Stages<Scalar>& all, const Stages<Scalar>& later) {
  append_rows(all.cumulative_decay, later.cumulative_decay);
  all.chunk_states.insert(all.chunk_states.end(), later.chunk_states.begin(),
                          later.chunk_states.end());
  append_rows(all.scores, later.scores);
}

template <class Recipe>
Result<ScalarOf<Recipe>> chunked(const Problem<ScalarOf<Recipe>>& p, Index length,
                                 const Recipe& recipe = {},
                                 Stages<ScalarOf<Recipe>>* keep = nullptr) {
  Result<ScalarOf<Recipe>> r{Matrix<ScalarOf<Recipe>>(p.time(), p.value()), p.h0};
  const auto h = chunk_states<Recipe>(p, length, r.ht, recipe);
  chunk_outputs<Recipe>(p, length, h, r.o);
  if (keep != nullptr) *keep = stages<Recipe>(p, length, h);
  return r;
}

}  // namespace groundstate::simple_gla
