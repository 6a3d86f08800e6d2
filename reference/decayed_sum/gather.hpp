// From tensors of any storage type and layout to one independent problem, and back.
//
// Batch, heads, strides and storage types exist here and nowhere in the maths. Widening is exact;
// scatter rounds once to the type of the output and skips outputs that are absent.
#pragma once

#include "reference/core/matrix.hpp"
#include "reference/core/parallel.hpp"
#include "reference/decayed_sum/contract.hpp"

namespace groundstate::decayed_sum {

using HostInputs = Inputs<Space::host, AnyElements>;
using HostOutputs = Outputs<Space::host, AnyElements>;
using HostBackwardInputs = BackwardInputs<Space::host, AnyElements>;
using HostBackwardOutputs = BackwardOutputs<Space::host, AnyElements>;

// One sequence and head. A state is a matrix of one row.
template <class Scalar>
struct Problem {
  Matrix<Scalar> x;          // [time, value]
  Vector<Scalar> log_decay;  // [time]
  Matrix<Scalar> h0;         // [1, value]; 0 where the case has no initial state

  Index time() const { return x.rows(); }
  Index value() const { return x.cols(); }
};

template <class Scalar>
struct Result {
  Matrix<Scalar> y;   // [time, value]
  Matrix<Scalar> ht;  // [1, value]
};

template <class Scalar>
struct BackwardProblem : Problem<Scalar> {
  Matrix<Scalar> dy;   // [time, value]
  Matrix<Scalar> dht;  // [1, value]; 0 where it is not given
};

template <class Scalar>
struct Gradients {
  Matrix<Scalar> dx;   // [time, value]
  Vector<Scalar> dg;   // [time]
  Matrix<Scalar> dh0;  // [1, value]
};

// Where a problem lies in the tensors.
struct Place {
  Index sequence, head;
};

template <class Scalar>
Matrix<Scalar> gather(const Tokens<Space::host, const Any>& x, const Place& at) {
  Matrix<Scalar> result(x.extent<Time>(), x.extent<Value>());
  for (Index t = 0; t < result.rows(); ++t)
    for (Index j = 0; j < result.cols(); ++j)
      result(t, j) =
          static_cast<Scalar>(x.load(Batch{at.sequence}, Time{t}, Head{at.head}, Value{j}));
  return result;
}

template <class Scalar>
Matrix<Scalar> gather(const States<Space::host, const Any>& state, const Place& at, Index value) {
  Matrix<Scalar> result = Matrix<Scalar>::Zero(1, value);
  for (Index j = 0; state && j < value; ++j)
    result(0, j) = static_cast<Scalar>(state.load(Sequence{at.sequence}, Head{at.head}, Value{j}));
  return result;
}

template <class Scalar>
Problem<Scalar> gather(const HostInputs& x, const Place& at) {
  const Shape n = shape(x);
  Problem<Scalar> p{gather<Scalar>(x.terms, at), Vector<Scalar>(n.time),
                    gather<Scalar>(x.initial_state, at, n.value)};
  for (Index t = 0; t < n.time; ++t)
    p.log_decay[t] =
        static_cast<Scalar>(x.log_decay.load(Batch{at.sequence}, Time{t}, Head{at.head}));
  return p;
}

template <class Scalar>
BackwardProblem<Scalar> gather(const HostBackwardInputs& x, const Place& at) {
  return {gather<Scalar>(static_cast<const HostInputs&>(x), at),
          gather<Scalar>(x.sums_gradient, at),
          gather<Scalar>(x.final_state_gradient, at, shape(x).value)};
}

template <class Scalar>
void scatter(const Matrix<Scalar>& rows, const Place& at, const Tokens<Space::host, Any>& y) {
  for (Index t = 0; y && t < rows.rows(); ++t)
    for (Index j = 0; j < rows.cols(); ++j)
      y.store(static_cast<double>(rows(t, j)), Batch{at.sequence}, Time{t}, Head{at.head},
              Value{j});
}

template <class Scalar>
void scatter(const Matrix<Scalar>& row, const Place& at, const States<Space::host, Any>& state) {
  for (Index j = 0; state && j < row.cols(); ++j)
    state.store(static_cast<double>(row(0, j)), Sequence{at.sequence}, Head{at.head}, Value{j});
}

template <class Scalar>
void scatter(const Result<Scalar>& r, const Place& at, const HostOutputs& y) {
  scatter(r.y, at, y.sums);
  scatter(r.ht, at, y.final_state);
}

template <class Scalar>
void scatter(const Gradients<Scalar>& r, const Place& at, const HostBackwardOutputs& y) {
  scatter(r.dx, at, y.terms);
  for (Index t = 0; y.log_decay && t < r.dg.size(); ++t)
    y.log_decay.store(static_cast<double>(r.dg[t]), Batch{at.sequence}, Time{t}, Head{at.head});
  scatter(r.dh0, at, y.initial_state);
}

// Runs `path(problem)` for every sequence and head. HostInputs give a Problem and take a Result,
// HostBackwardInputs give a BackwardProblem and take Gradients.
template <class Scalar, class In, class Out, class Path>
void for_each_problem(const In& x, const Out& y, Path&& path) {
  validate(x);
  const Shape n = shape(x);
  parallel_for(n.batch * n.heads, [&](Index i) {
    const Place at{i / n.heads, i % n.heads};
    scatter(path(gather<Scalar>(x, at)), at, y);
  });
}

}  // namespace groundstate::decayed_sum
