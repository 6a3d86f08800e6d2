// The quadratic form: attention with a decay mask over the whole sequence.
//
//   W_ij = scale (q_i . k_j) exp(G_i - G_j), i >= j       G over the sequence, two-float
//   o_i  = sum_{j<=i} W_ij v_j + scale exp(G_i) q_i h0
//   ht   = exp(G_{T-1}) h0 + sum_j exp(G_{T-1} - G_j) k_j v_j^T
// O(T^2); a check of the other forms and the only one that has the attention weights W. No rounding
// points.
#pragma once

#include "reference/simple_gla/chunked.hpp"

namespace groundstate::simple_gla {

// Rows [begin, begin + count) of W, columns 0 .. begin + count - 1; zero above the diagonal.
template <class Recipe>
Matrix<ScalarOf<Recipe>> attention(const Problem<ScalarOf<Recipe>>& p,
                                   const CumulativeDecay<ScalarOf<Recipe>>& cumulative, Index begin,
                                   Index count) {
  using Scalar = ScalarOf<Recipe>;
  Matrix<Scalar> w = Matrix<Scalar>::Zero(count, begin + count);
  add_row_products<Scalar>(w, p.scale * p.q.middleRows(begin, count), p.k.topRows(begin + count));
  for (Index i = 0; i < count; ++i)
    for (Index j = 0; j < begin + count; ++j)
      w(i, j) = j <= begin + i ? w(i, j) * cumulative.between(j, begin + i) : Scalar(0);
  return w;
}

template <class Recipe>
Result<ScalarOf<Recipe>> parallel(const Problem<ScalarOf<Recipe>>& p) {
  using Scalar = ScalarOf<Recipe>;
  constexpr Index rows = 64;
  const CumulativeDecay<Scalar> cumulative(p.log_decay, 0, p.time(), p.gate_sum);
  Result<Scalar> r{Matrix<Scalar>::Zero(p.time(), p.value()), p.h0};
  for (Index begin = 0; begin < p.time(); begin += rows) {
    const Index count = std::min(rows, p.time() - begin);
    auto o = r.o.middleRows(begin, count);
    add_product<Scalar>(o, p.scale * p.q.middleRows(begin, count), p.h0);
    for (Index i = 0; i < count; ++i) o.row(i) *= cumulative.until(begin + i);
    const Matrix<Scalar> w = attention<Recipe>(p, cumulative, begin, count);
    add_product<Scalar>(o, w.leftCols(begin), p.v.topRows(begin));
    add_causal_product<Scalar>(o, w.rightCols(count), p.v.middleRows(begin, count));
  }
  if (p.time() == 0) return r;
  const Index last = p.time() - 1;
  Matrix<Scalar> decayed = p.v;
  for (Index j = 0; j <= last; ++j) decayed.row(j) *= cumulative.between(j, last);
  r.ht *= cumulative.until(last);
  add_outer_products<Scalar>(r.ht, p.k, decayed);
  return r;
}

}  // namespace groundstate::simple_gla
