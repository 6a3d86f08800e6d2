// The recurrence as an associative scan.
//
// What a stretch of time does to a state is a pair (a, U): S -> exp(a) S + U. Stretches compose:
//   (a, U) then (b, W) = (a + b, exp(b) U + W)          associative, identity (0, 0)
// One token is (d_t, k_t v_t^T). The inclusive scan gives S_t = exp(a_t) h0 + U_t and o_t = scale
// S_t^T q_t. Decays are carried as logarithms: a product of factors would underflow and lose what
// lies between two tokens.
//
//   pairwise        recursive up- and down-sweep, about 2 T combines
//   hillis_steele   T log2 T combines, every element against the one 2^m before it
//   chunk_scan      pairwise over chunks; states and outputs inside a chunk as in chunked.hpp. This
//   is
//                   the form that segments and context parallelism use.
// The first two hold T states at once; value columns are independent, so they are scanned in strips
// of as many columns as fit 64 MiB.
#pragma once

#include "reference/simple_gla/chunked.hpp"

namespace groundstate::simple_gla {

template <class Scalar>
struct Stretch {
  Scalar log_decay;
  Matrix<Scalar> state;  // [key, value]
};

template <class Scalar>
Stretch<Scalar> then(const Stretch<Scalar>& earlier, const Stretch<Scalar>& later) {
  return {earlier.log_decay + later.log_decay,
          decay(LogDecay<Scalar>{later.log_decay}).factor * earlier.state + later.state};
}

// Inclusive, in place: pairs are combined, the half-length sequence is scanned, and the elements
// between are filled in.
template <class Scalar>
void pairwise_scan(std::vector<Stretch<Scalar>>& x) {
  if (x.size() < 2) return;
  std::vector<Stretch<Scalar>> pairs;
  for (std::size_t i = 0; i + 1 < x.size(); i += 2) pairs.push_back(then(x[i], x[i + 1]));
  pairwise_scan(pairs);
  for (std::size_t i = 1; i < x.size(); i += 2) {
    if (i + 1 < x.size()) x[i + 1] = then(pairs[i / 2], x[i + 1]);
    x[i] = std::move(pairs[i / 2]);
  }
}

template <class Scalar>
void hillis_steele_scan(std::vector<Stretch<Scalar>>& x) {
  for (std::size_t distance = 1; distance < x.size(); distance *= 2)
    for (std::size_t i = x.size(); i-- > distance;) x[i] = then(x[i - distance], x[i]);
}

template <class Recipe, class Scan>
Result<ScalarOf<Recipe>> token_scan(const Problem<ScalarOf<Recipe>>& p, Scan&& scan) {
  using Scalar = ScalarOf<Recipe>;
  Result<Scalar> r{Matrix<Scalar>(p.time(), p.value()), p.h0};
  const Index budget = (Index{64} << 20) / static_cast<Index>(sizeof(Scalar));
  const Index width = std::clamp<Index>(budget / std::max<Index>(p.time() * p.key(), 1), 1,
                                        std::max<Index>(p.value(), 1));
  const Matrix<Scalar> scaled_q = p.scale * p.q;
  for (Index column = 0; column < p.value(); column += width) {
    const Index columns = std::min(width, p.value() - column);
    const Stretch<Scalar> initial{Scalar(0), p.h0.middleCols(column, columns)};
    std::vector<Stretch<Scalar>> x;
    for (Index t = 0; t < p.time(); ++t)
      x.push_back({p.log_decay[t], p.k.row(t).transpose() * p.v.row(t).segment(column, columns)});
    scan(x);
    for (Index t = 0; t < p.time(); ++t) {
      const Matrix<Scalar> state = then(initial, x[static_cast<std::size_t>(t)]).state;
      r.o.block(t, column, 1, columns).setZero();
      add_product<Scalar>(r.o.block(t, column, 1, columns), scaled_q.row(t), state);
      if (t + 1 == p.time()) r.ht.middleCols(column, columns) = state;
    }
  }
  return r;
}

template <class Recipe>
Result<ScalarOf<Recipe>> pairwise(const Problem<ScalarOf<Recipe>>& p) {
  return token_scan<Recipe>(p, pairwise_scan<ScalarOf<Recipe>>);
}

template <class Recipe>
Result<ScalarOf<Recipe>> hillis_steele(const Problem<ScalarOf<Recipe>>& p) {
  return token_scan<Recipe>(p, hillis_steele_scan<ScalarOf<Recipe>>);
}

// The stretch of tokens [begin, begin + count) as a chunk makes it from a zero state.
template <class Recipe>
Stretch<ScalarOf<Recipe>> chunk_stretch(const Problem<ScalarOf<Recipe>>& p, Index begin,
                                        Index count) {
  const Chunk<Recipe> chunk(p, begin, count);
  Matrix<ScalarOf<Recipe>> state = Matrix<ScalarOf<Recipe>>::Zero(p.key(), p.value());
  update_state<Recipe>(chunk, state);
  return {chunk.decay.total(), std::move(state)};
}

template <class Recipe>
Result<ScalarOf<Recipe>> chunk_scan(const Problem<ScalarOf<Recipe>>& p, Index length) {
  using Scalar = ScalarOf<Recipe>;
  std::vector<Stretch<Scalar>> x{
      {Scalar(0), p.h0}};  // the initial state as a stretch before the first
  for (Index begin = 0; begin < p.time(); begin += length)
    x.push_back(chunk_stretch<Recipe>(p, begin, std::min(length, p.time() - begin)));
  pairwise_scan(x);
  Result<Scalar> r{Matrix<Scalar>(p.time(), p.value()), x.back().state};
  std::vector<Matrix<Scalar>> h;
  for (const Stretch<Scalar>& stretch : x) h.push_back(stretch.state);
  chunk_outputs<Recipe>(p, length, h, r.o);
  return r;
}

}  // namespace groundstate::simple_gla
