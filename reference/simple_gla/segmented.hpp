// Segments: time split into parts that are processed independently, as in context parallelism.
//
// 1. each segment from a zero state gives delta_s and its total log decay a_s
// 2. S_{s+1} = carry(exp(a_s) S_s + delta_s), in order
// 3. each segment from its S_s, chunk by chunk
// A segment is a whole number of chunks, so one segment has the bits of `chunked`.
#pragma once

#include "reference/simple_gla/scan.hpp"

namespace groundstate::simple_gla {

template <class Recipe>
Result<ScalarOf<Recipe>> segmented(const Problem<ScalarOf<Recipe>>& p, Index segments, Index length,
                                   Stages<ScalarOf<Recipe>>* keep = nullptr) {
  using Scalar = ScalarOf<Recipe>;
  if (keep != nullptr) *keep = {};
  if (p.time() == 0) return {Matrix<Scalar>(0, p.value()), p.h0};
  const Index chunks = number_of_chunks(p.time(), length);
  const Index tokens = number_of_chunks(chunks, std::max<Index>(segments, 1)) * length;
  Result<Scalar> r{Matrix<Scalar>(p.time(), p.value()), p.h0};
  Stretch<Scalar> before{Scalar(0), p.h0};
  for (Index begin = 0; begin < p.time(); begin += tokens) {
    const Problem<Scalar> own = p.tokens(begin, std::min(tokens, p.time() - begin));
    Matrix<Scalar> state = before.state;  // 3.
    const auto h = chunk_states<Recipe>(own, length, state);
    chunk_outputs<Recipe>(own, length, h, r.o.middleRows(begin, own.time()));
    if (keep != nullptr) append(*keep, stages<Recipe>(own, length, h));
    if (begin + own.time() == p.time()) {
      r.ht = state;
      break;
    }
    Matrix<Scalar> delta = Matrix<Scalar>::Zero(p.key(), p.value());  // 1.
    chunk_states<Recipe>(own, length, delta);
    const CumulativeDecay<Scalar> total(own.log_decay, 0, own.time(), p.gate_sum);
    before = then(before, {total.total(), std::move(delta)});  // 2.
    for (Index k = 0; k < p.key(); ++k) {
      const auto carry = Recipe::carry(begin + own.time() - 1, k, 0);
      for (Index j = 0; j < p.value(); ++j) before.state(k, j) = carry(before.state(k, j), j);
    }
  }
  return r;
}

}  // namespace groundstate::simple_gla
