#include "harness/operators/simple_gla/gate_gradient_error.hpp"

#include <cmath>

namespace groundstate::harness::simple_gla_binding {
namespace {

using namespace groundstate::simple_gla;

double square(double x) { return x * x; }

// Squares of the errors of one chunk: of dg at its tokens, and of the sum of dg.
struct ChunkErrors {
  Vector<double> dg;
  double sum = 0;
};

// `raw` [n] are the a_i^2, `bracket` is b^2.
ChunkErrors of_sums(const Vector<double>& raw, double bracket) {
  const Index n = raw.size();
  ChunkErrors r{Vector<double>(n), square(static_cast<double>(n)) * bracket};
  double rest = bracket;
  for (Index i = n - 1; i >= 0; --i) {
    rest += raw[i];
    r.dg[i] = rest;
    r.sum += square(static_cast<double>(i + 1)) * raw[i];
  }
  return r;
}

// Of a rounding of one part in 1.
ChunkErrors of_operands(const BackwardChunk<Exact>& c, const Matrix<double>& state,
                        const Matrix<double>& state_gradient) {
  const Index n = c.count(), last = n - 1;
  ChunkErrors r{Vector<double>::Zero(n)};
  Matrix<double> all = Matrix<double>::Zero(state.rows(), state.cols()), weighted = all;
  for (Index i = last; i >= 0; --i) {
    const Matrix<double> own = c.scale * c.decay.until(i) * c.q.row(i).transpose() * c.d_o.row(i);
    all += own;
    weighted += static_cast<double>(i + 1) * own;
    r.dg[i] += state.cwiseProduct(all).squaredNorm();
  }
  r.sum += state.cwiseProduct(weighted).squaredNorm();
  all.setZero();
  weighted.setZero();
  for (Index j = 0; j <= last; ++j) {
    r.dg[j] += state_gradient.cwiseProduct(all).squaredNorm();
    const Matrix<double> own = c.decay.between(j, last) * c.k.row(j).transpose() * c.v.row(j);
    all += own;
    weighted += static_cast<double>(last - j) * own;
  }
  r.sum += state_gradient.cwiseProduct(weighted).squaredNorm();

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

GateGradientError chunk_form_error(const BackwardProblem<double>& p, Index chunk,
                                   const Matrix<double>& dq_units, const Matrix<double>& dk_units,
                                   double operand, double bracket) {
  const Vector<double> query = row_squares(p.q, dq_units), key = row_squares(p.k, dk_units);
  Matrix<double> final_state = p.h0, gradient = p.dht;
  const auto states = chunk_states<Exact>(p, chunk, final_state);
  GateGradientError r{Vector<double>(p.time()), 0};
  for (Index c = number_of_chunks(p.time(), chunk) - 1; c >= 0; --c) {
    const Index begin = c * chunk, count = std::min(chunk, p.time() - begin);
    const Matrix<double>& state = states[static_cast<std::size_t>(c)];
    const BackwardChunk<Exact> own(p, begin, count);
    const double product = own.decay.until(count - 1) * state.cwiseProduct(gradient).norm();
    const ChunkErrors sums = of_sums(query.segment(begin, count) + key.segment(begin, count),
                                     key.segment(begin, count).sum() + square(bracket * product));
    const ChunkErrors operands = of_operands(own, state, gradient);
    r.dg.segment(begin, count) = (sums.dg + square(operand) * operands.dg).cwiseSqrt();
    r.dg_gamma += sums.sum + square(operand) * operands.sum;
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
      of_sums(query + key, key.sum() + square(bracket * final_state.cwiseProduct(p.dht).norm()));
  return {spread * sums.dg.cwiseSqrt(), spread * std::sqrt(sums.sum)};
}

}  // namespace groundstate::harness::simple_gla_binding
