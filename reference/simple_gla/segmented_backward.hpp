// The backward of time split into segments that are processed independently, as in context
// parallelism.
//
// 1. each segment from a zero state gives delta_s, from a zero gradient of its final state
//    ddelta_s, and its total log decay a_s
// 2. S_{s+1} = carry(exp(a_s) S_s + delta_s), forwards;  dS_{s-1} = carry(exp(a_s) dS_s +
//    ddelta_s), backwards: the gradient of the state that leaves segment s - 1
// 3. each segment by chunked_backward from its S_s and dS_s
// A segment is a whole number of chunks, so one segment has the bits of `chunked_backward`.
#pragma once

#include "reference/simple_gla/chunked_backward.hpp"
#include "reference/simple_gla/scan.hpp"

namespace groundstate::simple_gla {

template <class Recipe>
Gradients<ScalarOf<Recipe>> segmented_backward(const BackwardProblem<ScalarOf<Recipe>>& p,
                                               Index segments, const BackwardForm& form,
                                               BackwardStages<ScalarOf<Recipe>>* keep = nullptr) {
  using Scalar = ScalarOf<Recipe>;
  if (p.time() == 0) return chunked_backward<Recipe>(p, form, keep);
  if (keep != nullptr) *keep = {};
  const Index chunks = number_of_chunks(p.time(), form.chunk);
  const Index tokens = number_of_chunks(chunks, std::max<Index>(segments, 1)) * form.chunk;
  std::vector<BackwardProblem<Scalar>> own;
  for (Index begin = 0; begin < p.time(); begin += tokens)
    own.push_back(p.tokens(begin, std::min(tokens, p.time() - begin)));

  const auto pass_on = [&](const BackwardProblem<Scalar>& segment, Matrix<Scalar> state,
                           Matrix<Scalar> own_part) {
    const CumulativeDecay<Scalar> decay(segment.log_decay, 0, segment.time(), segment.gate_sum);
    Matrix<Scalar> next = then(Stretch<Scalar>{Scalar(0), std::move(state)},
                               Stretch<Scalar>{decay.total(), std::move(own_part)})
                              .state;
    for (Index k = 0; k < p.key(); ++k) {
      const auto carry = Recipe::carry(0, k, 0);
      for (Index j = 0; j < p.value(); ++j) next(k, j) = carry(next(k, j), j);
    }
    return next;
  };
  own.front().h0 = p.h0;
  for (std::size_t s = 0; s + 1 < own.size(); ++s) {
    Matrix<Scalar> delta = Matrix<Scalar>::Zero(p.key(), p.value());
    chunk_states<Recipe>(own[s], form.chunk, delta);
    own[s + 1].h0 = pass_on(own[s], own[s].h0, std::move(delta));
  }
  own.back().dht = p.dht;
  for (std::size_t s = own.size() - 1; s > 0; --s) {
    Matrix<Scalar> delta = Matrix<Scalar>::Zero(p.key(), p.value());
    for (Index c = number_of_chunks(own[s].time(), form.chunk) - 1; c >= 0; --c) {
      const Index begin = c * form.chunk;
      update_state_gradient<Recipe>(
          BackwardChunk<Recipe>(own[s], begin, std::min(form.chunk, own[s].time() - begin)), delta);
    }
    own[s - 1].dht = pass_on(own[s], own[s].dht, std::move(delta));
  }

  Gradients<Scalar> r;
  r.dq.resize(p.time(), p.key());
  r.dk.resize(p.time(), p.key());
  r.dv.resize(p.time(), p.value());
  r.dg.resize(p.time());
  for (std::size_t s = 0; s < own.size(); ++s) {
    const Index begin = static_cast<Index>(s) * tokens, count = own[s].time();
    BackwardStages<Scalar> stages;
    const Gradients<Scalar> part =
        chunked_backward<Recipe>(own[s], form, keep != nullptr ? &stages : nullptr);
    if (keep != nullptr) append(*keep, stages);
    r.dq.middleRows(begin, count) = part.dq;
    r.dk.middleRows(begin, count) = part.dk;
    r.dv.middleRows(begin, count) = part.dv;
    r.dg.segment(begin, count) = part.dg;
    if (s == 0) r.dh0 = part.dh0;
  }
  r.dg_gamma = total_gate_gradient(r.dg);
  return r;
}

}  // namespace groundstate::simple_gla
