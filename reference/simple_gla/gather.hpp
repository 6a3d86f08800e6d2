// From tensors of any storage type and layout to one independent problem, and back.
//
// Batch, sequences, heads, groups of heads, packed offsets, reversal, strides and storage types
// exist here and nowhere in the maths. Widening is exact; scatter rounds once to the type of the
// output.
#pragma once

#include <algorithm>

#include "reference/core/matrix.hpp"
#include "reference/core/parallel.hpp"
#include "reference/simple_gla/contract.hpp"

namespace groundstate::simple_gla {

using HostInputs = Inputs<Space::host, AnyElements>;
using HostOutputs = Outputs<Space::host, AnyElements>;

// How a chunked path keeps its cumulative gates: clamped and in two floats (ours), or as a plain
// running sum, as most kernels do.
enum class GateSum { two_float, plain };

// One sequence and value head, tokens in the order of processing.
template <class Scalar>
struct Problem {
  Matrix<Scalar> q, k;       // [time, key]
  Matrix<Scalar> v;          // [time, value]
  Vector<Scalar> log_decay;  // [time]; 0 where the case has no gate
  Matrix<Scalar> h0;         // [key, value]; 0 where the case has no initial state
  Scalar scale;
  GateSum gate_sum = GateSum::two_float;

  Index time() const { return q.rows(); }
  Index key() const { return q.cols(); }
  Index value() const { return v.cols(); }
  // `count` tokens from `first` on; the state they start from is the caller's.
  Problem tokens(Index first, Index count) const {
    return {q.middleRows(first, count),
            k.middleRows(first, count),
            v.middleRows(first, count),
            log_decay.segment(first, count),
            {},
            scale,
            gate_sum};
  }
};

template <class Scalar>
struct Result {
  Matrix<Scalar> o;   // [time, value]
  Matrix<Scalar> ht;  // [key, value]
};

// Where a problem lies in the tensors.
struct Place {
  Index batch, sequence, head, value_head;
  Index begin, length;  // tokens
  bool reverse;
  Time token(Index t) const { return Time{reverse ? begin + length - 1 - t : begin + t}; }
};

template <Space space, class E>
Place place(const Inputs<space, E>& x, const Options& options, Index sequence, Index value_head) {
  const Shape n = shape(x);
  const Index begin = x.offsets ? static_cast<Index>(x.offsets.load(Offset{sequence})) : 0;
  const Index end = x.offsets ? static_cast<Index>(x.offsets.load(Offset{sequence + 1})) : n.time;
  return {x.offsets ? 0 : sequence,
          sequence,
          value_head / (n.value_heads / n.heads),
          value_head,
          begin,
          end - begin,
          options.reverse};
}

// The gates are added in the scalar of the recipe, then exponentiated once.
template <class Scalar>
Problem<Scalar> gather(const HostInputs& x, const Options& options, const Place& at) {
  const Shape n = shape(x);
  Problem<Scalar> p{Matrix<Scalar>(at.length, n.key),
                    Matrix<Scalar>(at.length, n.key),
                    Matrix<Scalar>(at.length, n.value),
                    Vector<Scalar>::Zero(at.length),
                    Matrix<Scalar>::Zero(n.key, n.value),
                    static_cast<Scalar>(options.scale),
                    GateSum::two_float};
  const Scalar constant =
      x.constant_log_decay
          ? static_cast<Scalar>(x.constant_log_decay.load(ValueHead{at.value_head}))
          : Scalar(0);
  for (Index t = 0; t < at.length; ++t) {
    const Time token = at.token(t);
    for (Index i = 0; i < n.key; ++i) {
      p.q(t, i) = static_cast<Scalar>(x.query.load(Batch{at.batch}, token, Head{at.head}, Key{i}));
      p.k(t, i) = static_cast<Scalar>(x.key.load(Batch{at.batch}, token, Head{at.head}, Key{i}));
    }
    for (Index j = 0; j < n.value; ++j)
      p.v(t, j) = static_cast<Scalar>(
          x.value.load(Batch{at.batch}, token, ValueHead{at.value_head}, Value{j}));
    const Scalar g = x.log_decay ? static_cast<Scalar>(x.log_decay.load(Batch{at.batch}, token,
                                                                        ValueHead{at.value_head}))
                                 : Scalar(0);
    p.log_decay[t] = g + constant;
  }
  if (x.initial_state)
    for (Index i = 0; i < n.key; ++i)
      for (Index j = 0; j < n.value; ++j)
        p.h0(i, j) = static_cast<Scalar>(x.initial_state.load(
            Sequence{at.sequence}, ValueHead{at.value_head}, Key{i}, Value{j}));
  return p;
}

template <class Scalar>
void scatter(const Result<Scalar>& r, const Place& at, const HostOutputs& y) {
  for (Index t = 0; t < r.o.rows(); ++t)
    for (Index j = 0; j < r.o.cols(); ++j)
      y.output.store(static_cast<double>(r.o(t, j)), Batch{at.batch}, at.token(t),
                     ValueHead{at.value_head}, Value{j});
  if (y.final_state)
    for (Index i = 0; i < r.ht.rows(); ++i)
      for (Index j = 0; j < r.ht.cols(); ++j)
        y.final_state.store(static_cast<double>(r.ht(i, j)), Sequence{at.sequence},
                            ValueHead{at.value_head}, Key{i}, Value{j});
}

// Runs `path(problem) -> Result` for every sequence and value head.
template <class Scalar, class Path>
void for_each_problem(const HostInputs& x, const Options& options, const HostOutputs& y,
                      Path&& path) {
  validate(x);
  validate(x, y);
  const Shape n = shape(x);
  const auto body = [&](Index i) {
    const Place at = place(x, options, i / n.value_heads, i % n.value_heads);
    scatter(path(gather<Scalar>(x, options, at)), at, y);
  };
  parallel_for(n.sequences * n.value_heads, body,
               n.time * n.value_heads * n.key * n.value > 1'000'000);
}

}  // namespace groundstate::simple_gla
