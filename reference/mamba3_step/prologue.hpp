// What comes before the step, as maths: the angle, RMSNorm, bias and rotation of B and C.
//
// Order of operations, each rounded in the scalar of the recipe (fma where it is written):
//   advance[f] = (pi tanh(theta[f])) dt
//   phi[f] = phi[f] + advance[f];  wrapped_angle(phi[f]) where that is wanted
//   norm: (u[n] (1 / sqrt(sum / N + 1e-5))) w[n], sum of u[n]^2 in ascending n, one fma a term
//   u[n] + bias[n]
//   rotation: (fma(u, cos phi, -(w sin phi)), fma(u, sin phi, w cos phi))
// tanh, sin, cos, wrapped_angle: reference/core/trigonometric.hpp.
#pragma once

#include <cmath>

#include "reference/core/trigonometric.hpp"
#include "reference/mamba3_step/gather.hpp"

namespace groundstate::mamba3_step {

template <class Scalar>
void advance_angle(const Problem<Scalar>& p, const Scalar* advance, Vector<Scalar>& angle) {
  for (Index f = 0; f < angle.size(); ++f) {
    const Scalar next = angle[f] + advance[f];
    angle[f] = p.wrap_angle ? wrapped_angle(next) : next;
  }
}

// Sines and cosines of the angles of one token.
template <class Scalar>
struct Turn {
  Vector<Scalar> sine, cosine;
};
template <class Scalar>
Turn<Scalar> turn_by(const Vector<Scalar>& angle) {
  Turn<Scalar> result{Vector<Scalar>(angle.size()), Vector<Scalar>(angle.size())};
  for (Index f = 0; f < angle.size(); ++f) {
    const auto [sine, cosine] = sine_and_cosine(Scalar(angle[f]));
    result.sine[f] = sine;
    result.cosine[f] = cosine;
  }
  return result;
}

// One row over the state axis, in place.
template <class Scalar>
void rotate(Scalar* row, Index columns, Rotation rotation, const Turn<Scalar>& turn) {
  using std::fma;
  for (Index f = 0; f < turn.sine.size(); ++f) {
    const auto [first, second] = pair_of(rotation, f, columns);
    const Scalar u = row[first], w = row[second], s = turn.sine[f], c = turn.cosine[f];
    row[first] = fma(u, c, -(w * s));
    row[second] = fma(u, s, w * c);
  }
}

// RMSNorm and bias of the rows of one token: B or C.
template <class Scalar>
Matrix<Scalar> biased(const Matrix<Scalar>& rows, const Vector<Scalar>& norm,
                      const Matrix<Scalar>& bias) {
  using std::fma;
  using std::sqrt;
  Matrix<Scalar> result = rows;
  const Index columns = rows.cols();
  for (Index r = 0; r < rows.rows(); ++r) {
    if (norm.size() > 0) {
      Scalar sum(0);
      for (Index n = 0; n < columns; ++n) sum = fma(rows(r, n), rows(r, n), sum);
      const Scalar inverse =
          Scalar(1) / sqrt(Scalar(sum / Scalar(columns) + static_cast<Scalar>(norm_epsilon)));
      for (Index n = 0; n < columns; ++n) result(r, n) = (rows(r, n) * inverse) * norm[n];
    }
    for (Index n = 0; bias.size() > 0 && n < columns; ++n) result(r, n) += bias(r, n);
  }
  return result;
}

// B and C of one token, [rank, state].
template <class Scalar>
struct Keys {
  Matrix<Scalar> b, c;
};
template <class Scalar>
Keys<Scalar> keys_of(const Problem<Scalar>& p, Index t) {
  const Index R = p.ranks();
  Keys<Scalar> keys{p.B.middleRows(t * R, R), p.C.middleRows(t * R, R)};
  if (p.prologue) {
    keys.b = biased(keys.b, p.B_norm, p.B_bias);
    keys.c = biased(keys.c, p.C_norm, p.C_bias);
  }
  return keys;
}
template <class Scalar>
void rotate(Matrix<Scalar>& rows, Rotation rotation, const Turn<Scalar>& turn) {
  for (Index r = 0; r < rows.rows(); ++r) rotate(rows.row(r).data(), rows.cols(), rotation, turn);
}

}  // namespace groundstate::mamba3_step
