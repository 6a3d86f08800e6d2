// The adjoint of the recurrence, token by token. With `Exact` this is the oracle of the backward.
//
//   S_t  = exp(d_t) S_{t-1} + k_t v_t^T                      forwards from h0
//   dS_t = exp(d_{t+1}) dS_{t+1} + scale q_t do_t^T          backwards from dht, d_T = 0
//   dq_t = scale S_t do_t     dk_t = dS_t v_t     dv_t = dS_t^T k_t     dh0 = exp(d_0) dS_0
//   dg_t = exp(d_t) <dS_t, S_{t-1}>                          0 where exp(d_t) = 0
//   dg_gamma = sum_t dg_t                                    in blocks of 64 tokens
//
// dS is the same recurrence as S: in reversed time, with scale q for k, do for v and the gate of
// the next token. So dv is its output for the query k; dq and dk are outputs of the transposed
// states, whose rows are values. All three are the step of the forward (step.hpp) with its order of
// operations, and no gradient is a difference of large sums.
//
// <dS_t, S_{t-1}> runs over strips of value columns, each as a tree (inner_product), the strips in
// ascending order. The states that it needs are recomputed block by block from
// checkpoints: memory is O(T / 128 + 128) states of a strip.
// Rounding points: carry, of S and of dS after each token. About 27 K V flop a token and head.
#pragma once

#include <array>

#include "reference/simple_gla/recurrent.hpp"

namespace groundstate::simple_gla {

// The recurrence of dS as a problem of its own: token 0 is the last one.
template <class Scalar>
Problem<Scalar> state_gradient_problem(const BackwardProblem<Scalar>& p) {
  Problem<Scalar> r{p.k.colwise().reverse(),
                    p.scale * p.q.colwise().reverse(),
                    p.d_o.colwise().reverse(),
                    Vector<Scalar>::Zero(p.time()),
                    p.dht,
                    Scalar(1),
                    p.gate_sum};
  for (Index t = 0; t + 1 < p.time(); ++t) r.log_decay[p.time() - 1 - t] = p.log_decay[t + 1];
  return r;
}

// The same recurrence on the transposed state [value, key], read with `query` [time, value].
template <class Scalar>
Problem<Scalar> transposed(const Problem<Scalar>& p, const Matrix<Scalar>& query, Scalar scale) {
  return {query, p.v, p.k, p.log_decay, p.h0.transpose(), scale, p.gate_sum};
}

// sum_t dg_t in two levels: single-precision sums over a long sequence would lose digits.
template <class Scalar>
Scalar total_gate_gradient(const Vector<Scalar>& dg) {
  constexpr Index block = 64;
  Scalar total(0);
  for (Index begin = 0; begin < dg.size(); begin += block) {
    Scalar sum(0);
    for (Index t = begin; t < std::min(begin + block, dg.size()); ++t) sum += dg[t];
    total += sum;
  }
  return total;
}

// A problem's recurrence on one strip of value columns (step.hpp), one token at a time.
template <class Recipe>
class StripRecurrence {
 public:
  using Scalar = ScalarOf<Recipe>;
  static constexpr Index width = strip_width<Scalar>;
  using Row = std::array<Scalar, static_cast<std::size_t>(width)>;
  using State = std::vector<Scalar>;  // [key][width], zero beyond the last column

  StripRecurrence(const Problem<Scalar>& p, Index column, Recipe recipe)
      : p_(p),
        column_(column),
        columns_(std::min(width, p.value() - column)),
        recipe_(std::move(recipe)) {}
  Index columns() const { return columns_; }
  State initial() const {
    State state(static_cast<std::size_t>(p_.key() * width), Scalar(0));
    for (Index k = 0; k < p_.key(); ++k)
      for (Index j = 0; j < columns_; ++j)
        state[static_cast<std::size_t>(k * width + j)] = p_.h0(k, column_ + j);
    return state;
  }
  // The state after token t, and S_t^T query_t with the unscaled query.
  Row advance(Index t, State& state) {
    Row value{}, output;
    for (Index j = 0; j < columns_; ++j) value[static_cast<std::size_t>(j)] = p_.v(t, column_ + j);
    advance_token(p_.q.row(t).data(), p_.k.row(t).data(),
                  decay(LogDecay<Scalar>{p_.log_decay[t]}).factor, value.data(), p_.key(),
                  state.data(), output.data(), recipe_, t, column_);
    return output;
  }

 private:
  const Problem<Scalar>& p_;
  Index column_, columns_;
  Recipe recipe_;
};

// dv, dg and dh0 on the strip that begins at `column`; its share of <dS_t, S_{t-1}> goes to
// `product` [time]. `reversed` is the problem of dS.
template <class Recipe>
void strip_backward(const Problem<ScalarOf<Recipe>>& p, const Problem<ScalarOf<Recipe>>& reversed,
                    Index column, const Recipe& of_state, const Recipe& of_gradient,
                    Eigen::Ref<Vector<ScalarOf<Recipe>>> product, Gradients<ScalarOf<Recipe>>& r) {
  using Scalar = ScalarOf<Recipe>;
  using Strip = StripRecurrence<Recipe>;
  constexpr Index block = 128;
  const auto strip = [&](const typename Strip::State& s) {
    return Eigen::Map<const Matrix<Scalar>>(s.data(), p.key(), Strip::width);
  };
  const Index time = p.time();
  Strip forward(p, column, of_state), backward(reversed, column, of_gradient);
  std::vector<typename Strip::State> checkpoints;  // before the first token of each block
  typename Strip::State state = forward.initial(), gradient = backward.initial();
  for (Index t = 0; t < time; ++t) {
    if (t % block == 0) checkpoints.push_back(state);
    forward.advance(t, state);
  }
  std::vector<typename Strip::State> before(block);  // each token of a block
  for (Index b = static_cast<Index>(checkpoints.size()) - 1; b >= 0; --b) {
    const Index begin = b * block, end = std::min(begin + block, time);
    state = checkpoints[static_cast<std::size_t>(b)];
    for (Index t = begin; t < end; ++t) {
      before[static_cast<std::size_t>(t - begin)] = state;
      forward.advance(t, state);
    }
    for (Index t = end - 1; t >= begin; --t) {
      const typename Strip::Row dv = backward.advance(time - 1 - t, gradient);
      for (Index j = 0; j < backward.columns(); ++j)
        r.dv(t, column + j) = dv[static_cast<std::size_t>(j)];
      product[t] = inner_product<Scalar>(strip(gradient),
                                         strip(before[static_cast<std::size_t>(t - begin)]));
    }
  }
  const Scalar first = time > 0 ? decay(LogDecay<Scalar>{p.log_decay[0]}).factor : Scalar(1);
  for (Index k = 0; k < p.key(); ++k)
    for (Index j = 0; j < backward.columns(); ++j)
      r.dh0(k, column + j) = first * gradient[static_cast<std::size_t>(k * Strip::width + j)];
}

// `of_state` rounds S, `of_gradient` dS: two recipes, so that the harness can disturb each
// independently of the other.
template <class Recipe>
Gradients<ScalarOf<Recipe>> backward(const BackwardProblem<ScalarOf<Recipe>>& p,
                                     const Recipe& of_state = {}, const Recipe& of_gradient = {}) {
  using Scalar = ScalarOf<Recipe>;
  const Index time = p.time(), width = strip_width<Scalar>;
  const Problem<Scalar> reversed = state_gradient_problem(p);
  Gradients<Scalar> r;
  r.dq = recurrent<Recipe>(transposed(p, p.d_o, p.scale), of_state).o;
  r.dk = recurrent<Recipe>(transposed<Scalar>(reversed, p.v.colwise().reverse(), Scalar(1)),
                           of_gradient)
             .o.colwise()
             .reverse();
  r.dv.resize(time, p.value());
  r.dh0.resize(p.key(), p.value());
  const Index strips = (p.value() + width - 1) / width;
  Matrix<Scalar> products = Matrix<Scalar>::Zero(time, strips);
  parallel_for(
      strips,
      [&](Index strip) {
        Vector<Scalar> product(time);
        strip_backward<Recipe>(p, reversed, strip * width, of_state, of_gradient, product, r);
        products.col(strip) = product;
      },
      time * p.key() * p.value() > 1'000'000);
  r.dg = Vector<Scalar>::Zero(time);
  for (Index t = 0; t < time; ++t) {
    const Scalar factor = decay(LogDecay<Scalar>{p.log_decay[t]}).factor;
    for (Index strip = 0; factor != Scalar(0) && strip < strips; ++strip)
      r.dg[t] += factor * products(t, strip);
  }
  r.dg_gamma = total_gate_gradient(r.dg);
  return r;
}

}  // namespace groundstate::simple_gla
