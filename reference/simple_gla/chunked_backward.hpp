// The chunked backward, in two passes: state gradients first, chunk after chunk from the last to
// the first, then everything else, each chunk on its own.
//
// In a chunk of n tokens, i and j local tokens, L = n - 1, G and S = h[c] as in chunked.hpp:
//   first pass, dS := dht before it
//     dh[c] = dS                                            the gradient of the state after chunk c
//     A_ij  = score(scale (q_i . k_j) exp(G_i - G_j)), i >= j
//     dv_j  = sum_{i>=j} A_ij do_i + decayed_key(k_j exp(G_L - G_j)) state(dS)
//     q'_i  = gradient_update(scale exp(G_i) q_i)
//     dS   := carry(exp(G_L) dS + q'^T do)                  dh0 = dS in the end
//   second pass, dS = dh[c]
//     dA_ij = score(scale (do_i . v_j) exp(G_i - G_j)), i >= j
//     dq_i  = sum_{j<=i} dA_ij k_j + scale exp(G_i) (state(S) do_i)
//     dk'_j = exp(G_L - G_j) (state(dS) v_j)
//     dk_j  = sum_{i>=j} dA_ij q_i + dk'_j
//     raw_i = q_i . dq_i - k_i . dk_i
//     dg_t  = sum_{t<=i<n} raw_i + exp(G_L) <S, dS> + sum_j k_j . dk'_j        0 where exp(d_t) = 0
// The global form of dg takes the sum to the end of the sequence and <ht, dht> in place of the last
// two terms: the same number, and the rounding errors of every later token with it (a random walk:
// 5 % in bf16 at T = 8192, against 0.2 %). Other libraries use it; here it is there to be seen.
//
// The chunk form may be taken over groups of chunks, dg_t summed to the end of the group and its
// last chunk in place of the last two terms: more noise, and S is needed of one chunk in a group
// only.
//
// h and dh may be stored in the format of the operands: S and dS enter products rounded to it
// anyway, so dq, dk, dv and dh0 keep their bits, and only <S, dS> sees it.
// Recipes may order three steps as other libraries do (profiles.hpp):
//   scale_query_first      q'_i = gradient_update(exp(G_i) operand(scale q_i))
//   decay_after_product    dv_j = .. + exp(G_L - G_j) (k_j state(dS))
//   decay_output_gradient  do'_i = gradient_update(scale exp(G_i) do_i) in the update of dS and in
//                          dq: dS := .. + q^T do', dq_i = .. + state(S) do'_i
// A run can hand out what is named here as `BackwardStages`: G, h, A, dh and dA.
// Source: Yang et al. 2024, section 4.3; Mamba-2's SSD backward. 2 C (3 K + 2 V) + 10 K V flop a
// token and head with the states recomputed.
#pragma once

#include "reference/simple_gla/backward.hpp"
#include "reference/simple_gla/chunked.hpp"

namespace groundstate::simple_gla {

enum class GateGradient { chunk, global };  // form of dg

struct BackwardForm {
  Index chunk;
  StateStorage dh = StateStorage::accumulator;
  GateGradient gate_gradient = GateGradient::chunk;
  Index dg_chunks = 1;  // of a group
  StateStorage h = StateStorage::accumulator;
};

template <class Recipe>
struct BackwardChunk : Chunk<Recipe> {
  using Scalar = ScalarOf<Recipe>;
  Matrix<Scalar> d_o;

  BackwardChunk(const BackwardProblem<Scalar>& p, Index begin, Index count)
      : Chunk<Recipe>(p, begin, count),
        d_o(p.d_o.middleRows(begin, count).unaryExpr(&Recipe::operand)) {}
};

// ---- phases

// score(scale (a_i . b_j) exp(G_i - G_j)), zero above the diagonal: A of q and k, dA of do and v.
template <class Recipe>
Matrix<ScalarOf<Recipe>> scaled_scores(const BackwardChunk<Recipe>& c,
                                       const ConstMatrixRef<ScalarOf<Recipe>>& a,
                                       const ConstMatrixRef<ScalarOf<Recipe>>& b) {
  using Scalar = ScalarOf<Recipe>;
  Matrix<Scalar> product = Matrix<Scalar>::Zero(c.count(), c.count());
  add_row_products<Scalar>(product, a, b);
  Matrix<Scalar> result = Matrix<Scalar>::Zero(c.count(), c.count());
  for (Index i = 0; i < c.count(); ++i)
    for (Index j = 0; j <= i; ++j)
      result(i, j) = Recipe::score(product(i, j) * c.decay.between(j, i) * c.scale);
  return result;
}

template <class Recipe>
Matrix<ScalarOf<Recipe>> decayed_output_gradient(const BackwardChunk<Recipe>& c) {
  Matrix<ScalarOf<Recipe>> result = c.d_o;
  for (Index i = 0; i < c.count(); ++i)
    result.row(i) = (c.d_o.row(i) * c.decay.until(i) * c.scale).unaryExpr(&Recipe::gradient_update);
  return result;
}

// dv of the chunk from the gradient of the state after it.
template <class Recipe>
Matrix<ScalarOf<Recipe>> value_gradient(const BackwardChunk<Recipe>& c,
                                        const ConstMatrixRef<ScalarOf<Recipe>>& state_gradient) {
  using Scalar = ScalarOf<Recipe>;
  const Index last = c.count() - 1;
  const Matrix<Scalar> operand = state_gradient.unaryExpr(&Recipe::state);
  Matrix<Scalar> dv = Matrix<Scalar>::Zero(c.count(), c.v.cols());
  if constexpr (Recipe::decay_after_product) {
    add_product<Scalar>(dv, c.k, operand);
    for (Index j = 0; j <= last; ++j) dv.row(j) *= c.decay.between(j, last);
  } else {
    Matrix<Scalar> decayed = c.k;
    for (Index j = 0; j <= last; ++j)
      decayed.row(j) = (c.k.row(j) * c.decay.between(j, last)).unaryExpr(&Recipe::decayed_key);
    add_product<Scalar>(dv, decayed, operand);
  }
  add_causal_outer_products<Scalar>(dv, scaled_scores<Recipe>(c, c.q, c.k), c.d_o);
  return dv;
}

// dS := carry(exp(G_L) dS + q'^T do)
template <class Recipe>
void update_state_gradient(const BackwardChunk<Recipe>& c,
                           MatrixRef<ScalarOf<Recipe>> state_gradient, const Recipe& recipe = {}) {
  using Scalar = ScalarOf<Recipe>;
  state_gradient *= c.decay.until(c.count() - 1);
  if constexpr (Recipe::decay_output_gradient) {
    add_outer_products<Scalar>(state_gradient, c.q, decayed_output_gradient(c));
  } else {
    Matrix<Scalar> decayed = c.q;
    for (Index i = 0; i < c.count(); ++i)
      if constexpr (Recipe::scale_query_first)
        decayed.row(i) = ((c.q.row(i) * c.scale).unaryExpr(&Recipe::operand) * c.decay.until(i))
                             .unaryExpr(&Recipe::gradient_update);
      else
        decayed.row(i) =
            (c.q.row(i) * (c.scale * c.decay.until(i))).unaryExpr(&Recipe::gradient_update);
    add_outer_products<Scalar>(state_gradient, decayed, c.d_o);
  }
  for (Index k = 0; k < state_gradient.rows(); ++k) {
    const auto carry = recipe.carry(c.first_time, k, 0);
    for (Index j = 0; j < state_gradient.cols(); ++j)
      state_gradient(k, j) = carry(state_gradient(k, j), j);
  }
}

template <class Scalar>
struct ChunkGradients {
  Matrix<Scalar> dq, dk;
  Vector<Scalar> raw;  // q_i . dq_i - k_i . dk_i
  Scalar bracket;      // exp(G_L) <S, dS> + sum_j k_j . dk'_j
};

// From the state before the chunk and the gradient of the state after it.
template <class Recipe>
ChunkGradients<ScalarOf<Recipe>> query_key_gradients(
    const BackwardChunk<Recipe>& c, const ConstMatrixRef<ScalarOf<Recipe>>& state,
    const ConstMatrixRef<ScalarOf<Recipe>>& state_gradient) {
  using Scalar = ScalarOf<Recipe>;
  const Index last = c.count() - 1, keys = c.q.cols();
  ChunkGradients<Scalar> r{Matrix<Scalar>::Zero(c.count(), keys),
                           Matrix<Scalar>::Zero(c.count(), keys), Vector<Scalar>::Zero(c.count()),
                           c.decay.until(last) * inner_product<Scalar>(state, state_gradient)};
  const Matrix<Scalar> dA = scaled_scores<Recipe>(c, c.d_o, c.v);
  const Matrix<Scalar> state_operand = state.unaryExpr(&Recipe::state);
  if constexpr (Recipe::decay_output_gradient) {
    add_row_products<Scalar>(r.dq, decayed_output_gradient(c), state_operand);
  } else {
    add_row_products<Scalar>(r.dq, c.d_o, state_operand);
    for (Index i = 0; i <= last; ++i) r.dq.row(i) *= c.scale * c.decay.until(i);
  }
  add_causal_product<Scalar>(r.dq, dA, c.k);

  add_row_products<Scalar>(r.dk, c.v, state_gradient.unaryExpr(&Recipe::state));
  for (Index j = 0; j <= last; ++j) r.dk.row(j) *= c.decay.between(j, last);
  r.bracket += inner_product<Scalar>(c.k, r.dk);
  add_causal_outer_products<Scalar>(r.dk, dA, c.q);
  for (Index i = 0; i <= last; ++i)
    r.raw[i] = inner_product<Scalar>(c.q.row(i), r.dq.row(i)) -
               inner_product<Scalar>(c.k.row(i), r.dk.row(i));
  return r;
}

// dg of tokens [begin, begin + raw.size()): the sum of raw to the end of the range plus `rest`.
template <class Scalar>
void gate_gradient(const Vector<Scalar>& raw, Scalar rest, const Vector<Scalar>& log_decay,
                   Index begin, Vector<Scalar>& dg) {
  Scalar sum(0);
  for (Index i = raw.size() - 1; i >= 0; --i) {
    sum += raw[i];
    const Scalar factor = decay(LogDecay<Scalar>{log_decay[begin + i]}).factor;
    dg[begin + i] = factor == Scalar(0) ? Scalar(0) : sum + rest;
  }
}

// ---- the two passes

// The states at chunk boundaries as a kernel keeps them in memory. Whatever they hold before is
// overwritten; nothing is read before it is written.
template <class Scalar>
struct BoundaryStates {
  std::vector<Matrix<Scalar>> h, dh;
};

// S before every chunk, as it is kept; `state` is h0 before and ht after.
template <class Recipe>
std::vector<Matrix<ScalarOf<Recipe>>> kept_states(const BackwardProblem<ScalarOf<Recipe>>& p,
                                                  const BackwardForm& form,
                                                  Matrix<ScalarOf<Recipe>>& state,
                                                  const Recipe& recipe = {}) {
  auto h = chunk_states<Recipe>(p, form.chunk, state, recipe);
  if (form.h == StateStorage::operand)
    for (auto& each : h) each = each.unaryExpr(&Recipe::state).eval();
  return h;
}

// Collects the gradients of single chunks.
template <class Scalar>
class GradientBuilder {
 public:
  GradientBuilder(const BackwardProblem<Scalar>& p, const BackwardForm& form)
      : p_(p), form_(form), raw_(p.time()), brackets_(number_of_chunks(p.time(), form.chunk)) {
    r_.dq.resize(p.time(), p.key());
    r_.dk.resize(p.time(), p.key());
    r_.dv.resize(p.time(), p.value());
    r_.dg.resize(p.time());
  }
  void set_value_gradient(Index begin, const Matrix<Scalar>& dv) {
    r_.dv.middleRows(begin, dv.rows()) = dv;
  }
  void set(Index begin, const ChunkGradients<Scalar>& own) {
    r_.dq.middleRows(begin, own.dq.rows()) = own.dq;
    r_.dk.middleRows(begin, own.dk.rows()) = own.dk;
    raw_.segment(begin, own.raw.size()) = own.raw;
    brackets_[begin / form_.chunk] = own.bracket;
  }
  Gradients<Scalar> finish(const Matrix<Scalar>& final_state, const Matrix<Scalar>& dh0) {
    if (form_.gate_gradient == GateGradient::global) {
      gate_gradient(raw_, inner_product<Scalar>(final_state, p_.dht), p_.log_decay, 0, r_.dg);
    } else {
      const Index group = form_.chunk * form_.dg_chunks;
      for (Index begin = 0; begin < p_.time(); begin += group) {
        const Index count = std::min(group, p_.time() - begin);
        gate_gradient<Scalar>(raw_.segment(begin, count),
                              brackets_[(begin + count - 1) / form_.chunk], p_.log_decay, begin,
                              r_.dg);
      }
    }
    r_.dg_gamma = total_gate_gradient(r_.dg);
    r_.dh0 = dh0;
    return std::move(r_);
  }

 private:
  const BackwardProblem<Scalar>& p_;
  const BackwardForm form_;
  Vector<Scalar> raw_, brackets_;
  Gradients<Scalar> r_;
};

// The named intermediates of a run, in the order in which they follow from each other. Other than
// in the forward, A has the scale.
template <class Scalar>
struct BackwardStages : Stages<Scalar> {
  std::vector<Matrix<Scalar>> dh_states;  // [chunks] dh[c], each [key, value]
  Matrix<Scalar> dscores;                 // [time, chunk length] dA_ij, 0 for j > i
};

template <class Recipe>
BackwardStages<ScalarOf<Recipe>> stages(const BackwardProblem<ScalarOf<Recipe>>& p, Index length,
                                        const BoundaryStates<ScalarOf<Recipe>>& boundaries) {
  using Scalar = ScalarOf<Recipe>;
  BackwardStages<Scalar> r{
      {Vector<Scalar>(p.time()), boundaries.h, Matrix<Scalar>::Zero(p.time(), length)},
      boundaries.dh,
      Matrix<Scalar>::Zero(p.time(), length)};
  for (Index begin = 0; begin < p.time(); begin += length) {
    const BackwardChunk<Recipe> c(p, begin, std::min(length, p.time() - begin));
    const Index n = c.count();
    for (Index i = 0; i < n; ++i) r.cumulative_decay[begin + i] = c.decay.logarithm(i);
    r.scores.block(begin, 0, n, n) = scaled_scores<Recipe>(c, c.q, c.k);
    r.dscores.block(begin, 0, n, n) = scaled_scores<Recipe>(c, c.d_o, c.v);
  }
  return r;
}

template <class Scalar>
void append(BackwardStages<Scalar>& all, const BackwardStages<Scalar>& later) {
  append(static_cast<Stages<Scalar>&>(all), static_cast<const Stages<Scalar>&>(later));
  all.dh_states.insert(all.dh_states.end(), later.dh_states.begin(), later.dh_states.end());
  append_rows(all.dscores, later.dscores);
}

// S and dS are carried as `recipe` and `of_gradient` say.
template <class Recipe>
Gradients<ScalarOf<Recipe>> chunked_backward(const BackwardProblem<ScalarOf<Recipe>>& p,
                                             const BackwardForm& form,
                                             BoundaryStates<ScalarOf<Recipe>>& workspace,
                                             BackwardStages<ScalarOf<Recipe>>* keep = nullptr,
                                             const Recipe& recipe = {},
                                             const Recipe& of_gradient = {}) {
  using Scalar = ScalarOf<Recipe>;
  const Index chunks = number_of_chunks(p.time(), form.chunk);
  const auto chunk = [&](Index c) {
    return BackwardChunk<Recipe>(p, c * form.chunk,
                                 std::min(form.chunk, p.time() - c * form.chunk));
  };
  Matrix<Scalar> final_state = p.h0, dS = p.dht;
  workspace.h = kept_states<Recipe>(p, form, final_state, recipe);
  workspace.dh.resize(static_cast<std::size_t>(chunks));
  GradientBuilder<Scalar> gradients(p, form);
  for (Index c = chunks - 1; c >= 0; --c) {
    Matrix<Scalar>& dh = workspace.dh[static_cast<std::size_t>(c)];
    dh = dS;
    if (form.dh == StateStorage::operand) dh = dS.unaryExpr(&Recipe::state);
    const BackwardChunk<Recipe> own = chunk(c);
    gradients.set_value_gradient(c * form.chunk, value_gradient<Recipe>(own, dS));
    update_state_gradient<Recipe>(own, dS, of_gradient);
  }
  if (keep != nullptr) *keep = stages<Recipe>(p, form.chunk, workspace);
  for (Index c = 0; c < chunks; ++c)
    gradients.set(c * form.chunk,
                  query_key_gradients<Recipe>(chunk(c), workspace.h[static_cast<std::size_t>(c)],
                                              workspace.dh[static_cast<std::size_t>(c)]));
  return gradients.finish(final_state, dS);
}

template <class Recipe>
Gradients<ScalarOf<Recipe>> chunked_backward(const BackwardProblem<ScalarOf<Recipe>>& p,
                                             const BackwardForm& form,
                                             BackwardStages<ScalarOf<Recipe>>* keep = nullptr) {
  BoundaryStates<ScalarOf<Recipe>> workspace;
  return chunked_backward<Recipe>(p, form, workspace, keep);
}

}  // namespace groundstate::simple_gla
