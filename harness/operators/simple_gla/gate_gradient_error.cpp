#include "harness/operators/simple_gla/gate_gradient_error.hpp"

#include <cmath>

namespace groundstate::harness::simple_gla_binding {
namespace {

using namespace groundstate::simple_gla;

double square(double x) { return x * x; }

// Squares of the errors that come of one chunk: of dg at its tokens, of dg at every token before it
// in its group, and of the sum of dg.
struct ChunkErrors {
  Vector<double> dg;
  double before = 0, sum = 0;

  void add(const ChunkErrors& other, double factor) {
    dg += factor * other.dg;
    before += factor * other.before;
    sum += factor * other.sum;
  }
};

// `raw` [n] are the a_i^2, `bracket` is b^2; `first` tokens of the group come before the chunk.
ChunkErrors of_sums(const Vector<double>& raw, double bracket, Index first) {
  const Index n = raw.size();
  ChunkErrors r{Vector<double>(n)};
  r.sum = square(static_cast<double>(first + n)) * bracket;
  r.before = bracket;
  for (Index i = n - 1; i >= 0; --i) {
    r.before += raw[i];
    r.dg[i] = r.before;
    r.sum += square(static_cast<double>(first + i + 1)) * raw[i];
  }
  return r;
}

// Of a rounding of one part in 1. `last_of_group`: the bracket is of this chunk.
ChunkErrors of_operands(const BackwardChunk<Exact>& c, const Matrix<double>& state,
                        const Matrix<double>& state_gradient, Index first, bool last_of_group) {
  const Index n = c.count(), last = n - 1;
  ChunkErrors r{Vector<double>::Zero(n)};
  // What enters at token i enters every token up to i.
  const auto add_from = [&](const Matrix<double>& rounded, const auto& outer_product) {
    Matrix<double> all = Matrix<double>::Zero(rounded.rows(), rounded.cols()), weighted = all;
    for (Index i = last; i >= 0; --i) {
      const Matrix<double> own = outer_product(i);
      all += own;
      weighted += static_cast<double>(first + i + 1) * own;
      r.dg[i] += rounded.cwiseProduct(all).squaredNorm();
    }
    r.before += rounded.cwiseProduct(all).squaredNorm();
    r.sum += rounded.cwiseProduct(weighted).squaredNorm();
  };
  const auto query_part = [&](Index i) -> Matrix<double> {
    return c.scale * c.decay.until(i) * c.q.row(i).transpose() * c.d_o.row(i);
  };
  const auto key_part = [&](Index j) -> Matrix<double> {
    return c.decay.between(j, last) * c.k.row(j).transpose() * c.v.row(j);
  };
  add_from(state, query_part);
  if (last_of_group) {
    Matrix<double> all = Matrix<double>::Zero(state.rows(), state.cols()), weighted = all;
    for (Index j = 0; j <= last; ++j) {
      r.dg[j] += state_gradient.cwiseProduct(all).squaredNorm();
      const Matrix<double> own = key_part(j);
      all += own;
      weighted += static_cast<double>(last - j) * own;
    }
    r.sum += state_gradient.cwiseProduct(weighted).squaredNorm();
  } else {
    add_from(state_gradient, key_part);
  }

  const Matrix<double> pairs =
      scaled_scores<Exact>(c, c.d_o, c.v).cwiseProduct(c.q * c.k.transpose()).cwiseAbs2();
  Vector<double> below = Vector<double>::Zero(n);  // sum over i >= t, for each j
  for (Index t = last; t >= 0; --t) {
    below += pairs.row(t).transpose();
    r.dg[t] += below.head(t).sum();
    for (Index j = 0; j < t; ++j) r.sum += square(static_cast<double>(t - j)) * pairs(t, j);
  }
  return r;
}

Vector<double> row_squares(const Matrix<double>& x, const Matrix<double>& units) {
  return x.cwiseProduct(units).rowwise().squaredNorm();
}

}  // namespace

GateGradientError chunk_form_error(const BackwardProblem<double>& p, Index chunk, Index dg_chunks,
                                   const Matrix<double>& dq_units, const Matrix<double>& dk_units,
                                   double operand, double bracket) {
  const Vector<double> query = row_squares(p.q, dq_units), key = row_squares(p.k, dk_units);
  Matrix<double> final_state = p.h0, gradient = p.dht;
  const auto states = chunk_states<Exact>(p, chunk, final_state);
  GateGradientError r{Vector<double>(p.time()), 0};
  const Index chunks = number_of_chunks(p.time(), chunk);
  double later = 0;  // of the group
  for (Index c = chunks - 1; c >= 0; --c) {
    const Index begin = c * chunk, count = std::min(chunk, p.time() - begin),
                first = c % dg_chunks * chunk;
    const bool last_of_group = c + 1 == chunks || (c + 1) % dg_chunks == 0;
    const Matrix<double>& state = states[static_cast<std::size_t>(c)];
    const BackwardChunk<Exact> own(p, begin, count);
    const double product = own.decay.until(count - 1) * state.cwiseProduct(gradient).norm();
    ChunkErrors errors = of_sums(
        query.segment(begin, count) + key.segment(begin, count),
        last_of_group ? key.segment(begin, count).sum() + square(bracket * product) : 0, first);
    errors.add(of_operands(own, state, gradient, first, last_of_group), square(operand));
    if (last_of_group) later = 0;
    r.dg.segment(begin, count) = (errors.dg.array() + later).sqrt();
    r.dg_gamma += errors.sum;
    later += errors.before;
    update_state_gradient<Exact>(own, gradient);
  }
  r.dg_gamma = std::sqrt(r.dg_gamma);
  return r;
}

GateGradientError global_form_error(const BackwardProblem<double>& p,
                                    const Matrix<double>& dq_units, const Matrix<double>& dk_units,
                                    double bracket) {
  constexpr double spread = 2;
  const Vector<double> query = row_squares(p.q, dq_units), key = row_squares(p.k, dk_units);
  Matrix<double> final_state = p.h0;
  chunk_states<Exact>(p, std::max<Index>(p.time(), 1), final_state);
  const ChunkErrors sums =
      of_sums(query + key, key.sum() + square(bracket * final_state.cwiseProduct(p.dht).norm()), 0);
  return {spread * sums.dg.cwiseSqrt(), spread * std::sqrt(sums.sum)};
}

}  // namespace groundstate::harness::simple_gla_binding
