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
using HostBackwardInputs = BackwardInputs<Space::host, AnyElements>;
using HostBackwardOutputs = BackwardOutputs<Space::host, AnyElements>;

// How a chunked path keeps its cumulative gates: clamped and in two floats (ours), as a plain
// running sum, as most kernels do, or as a running sum times 1 / ln 2 for exp2.
enum class GateSum { two_float, plain, base2 };

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

template <class Scalar>
struct BackwardProblem : Problem<Scalar> {
  Matrix<Scalar> d_o;  // [time, value]
  Matrix<Scalar> dht;  // [key, value]; 0 where it is not given

  BackwardProblem tokens(Index first, Index count) const {
    return {Problem<Scalar>::tokens(first, count), d_o.middleRows(first, count), {}};
  }
};

template <class Scalar>
struct Gradients {
  Matrix<Scalar> dq, dk;  // [time, key]
  Matrix<Scalar> dv;      // [time, value]
  Vector<Scalar> dg;      // [time]
  Scalar dg_gamma;        // of this sequence
  Matrix<Scalar> dh0;     // [key, value]
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

// ---- tensors to matrices

template <class Scalar, class HeadAxis, class Channel>
Matrix<Scalar> gather_tokens(const HostView<const Any, Batch, Time, HeadAxis, Channel>& x,
                             const Place& at, HeadAxis head) {
  Matrix<Scalar> rows(at.length, x.template extent<Channel>());
  for (Index t = 0; t < rows.rows(); ++t)
    for (Index j = 0; j < rows.cols(); ++j)
      rows(t, j) = static_cast<Scalar>(x.load(Batch{at.batch}, at.token(t), head, Channel{j}));
  return rows;
}

template <class Scalar>
Matrix<Scalar> gather_state(const HostView<const Any, Sequence, ValueHead, Key, Value>& state,
                            const Place& at, const Shape& n) {
  Matrix<Scalar> result = Matrix<Scalar>::Zero(n.key, n.value);
  for (Index i = 0; state && i < n.key; ++i)
    for (Index j = 0; j < n.value; ++j)
      result(i, j) = static_cast<Scalar>(
          state.load(Sequence{at.sequence}, ValueHead{at.value_head}, Key{i}, Value{j}));
  return result;
}

// The gates are added in the scalar of the recipe, then exponentiated once.
template <class Scalar>
Vector<Scalar> gather_gates(const HostInputs& x, const Place& at) {
  const ValueHead head{at.value_head};
  const Scalar constant =
      x.constant_log_decay ? static_cast<Scalar>(x.constant_log_decay.load(head)) : Scalar(0);
  Vector<Scalar> result(at.length);
  for (Index t = 0; t < at.length; ++t) {
    const Scalar g = x.log_decay
                         ? static_cast<Scalar>(x.log_decay.load(Batch{at.batch}, at.token(t), head))
                         : Scalar(0);
    result[t] = g + constant;
  }
  return result;
}

template <class Scalar>
Problem<Scalar> gather(const HostInputs& x, const Options& options, const Place& at) {
  return {gather_tokens<Scalar>(x.query, at, Head{at.head}),
          gather_tokens<Scalar>(x.key, at, Head{at.head}),
          gather_tokens<Scalar>(x.value, at, ValueHead{at.value_head}),
          gather_gates<Scalar>(x, at),
          gather_state<Scalar>(x.initial_state, at, shape(x)),
          static_cast<Scalar>(options.scale),
          GateSum::two_float};
}

template <class Scalar>
BackwardProblem<Scalar> gather(const HostBackwardInputs& x, const Options& options,
                               const Place& at) {
  return {gather<Scalar>(static_cast<const HostInputs&>(x), options, at),
          gather_tokens<Scalar>(x.output_gradient, at, ValueHead{at.value_head}),
          gather_state<Scalar>(x.final_state_gradient, at, shape(x))};
}

// ---- and back

template <class Scalar, class HeadAxis, class Channel>
void scatter_tokens(const Matrix<Scalar>& rows, const Place& at, HeadAxis head,
                    const HostView<Any, Batch, Time, HeadAxis, Channel>& y) {
  for (Index t = 0; t < rows.rows(); ++t)
    for (Index j = 0; j < rows.cols(); ++j)
      y.store(static_cast<double>(rows(t, j)), Batch{at.batch}, at.token(t), head, Channel{j});
}

template <class Scalar>
void scatter_state(const Matrix<Scalar>& state, const Place& at,
                   const HostView<Any, Sequence, ValueHead, Key, Value>& y) {
  for (Index i = 0; y && i < state.rows(); ++i)
    for (Index j = 0; j < state.cols(); ++j)
      y.store(static_cast<double>(state(i, j)), Sequence{at.sequence}, ValueHead{at.value_head},
              Key{i}, Value{j});
}

// ---- every problem of the tensors

// Runs `path(problem) -> Result` for every sequence and value head.
template <class Scalar, class Path>
void for_each_problem(const HostInputs& x, const Options& options, const HostOutputs& y,
                      Path&& path) {
  validate(x);
  validate(x, y);
  const Shape n = shape(x);
  const auto body = [&](Index i) {
    const Place at = place(x, options, i / n.value_heads, i % n.value_heads);
    const Result<Scalar> r = path(gather<Scalar>(x, options, at));
    scatter_tokens(r.o, at, ValueHead{at.value_head}, y.output);
    scatter_state(r.ht, at, y.final_state);
  };
  parallel_for(n.sequences * n.value_heads, body,
               n.time * n.value_heads * n.key * n.value > 1'000'000);
}

// Runs `path(problem) -> Gradients` for every sequence and value head. What belongs to several of
// them is summed in the scalar of the recipe, in ascending order: dq and dk over the value heads of
// a head, dg_gamma over the sequences.
template <class Scalar, class Path>
void for_each_problem(const HostBackwardInputs& x, const Options& options,
                      const HostBackwardOutputs& y, Path&& path) {
  validate(x);
  validate(x, y);
  const Shape n = shape(x);
  const Index group = n.value_heads / n.heads;
  Matrix<Scalar> dg_gamma(n.sequences, n.value_heads);
  const auto body = [&](Index i) {
    const Index sequence = i / n.heads, head = i % n.heads;
    Matrix<Scalar> dq, dk;
    for (Index value_head = head * group; value_head < (head + 1) * group; ++value_head) {
      const Place at = place(x, options, sequence, value_head);
      const Gradients<Scalar> r = path(gather<Scalar>(x, options, at));
      if (value_head == head * group) {
        dq = r.dq;
        dk = r.dk;
      } else {
        dq += r.dq;
        dk += r.dk;
      }
      scatter_tokens(r.dv, at, ValueHead{value_head}, y.value);
      for (Index t = 0; y.log_decay && t < at.length; ++t)
        y.log_decay.store(static_cast<double>(r.dg[t]), Batch{at.batch}, at.token(t),
                          ValueHead{value_head});
      dg_gamma(sequence, value_head) = r.dg_gamma;
      scatter_state(r.dh0, at, y.initial_state);
    }
    const Place at = place(x, options, sequence, head * group);
    scatter_tokens(dq, at, Head{head}, y.query);
    scatter_tokens(dk, at, Head{head}, y.key);
  };
  parallel_for(n.sequences * n.heads, body, n.time * n.value_heads * n.key * n.value > 1'000'000);
  for (Index head = 0; y.constant_log_decay && head < n.value_heads; ++head) {
    Scalar sum(0);
    for (Index sequence = 0; sequence < n.sequences; ++sequence) sum += dg_gamma(sequence, head);
    y.constant_log_decay.store(static_cast<double>(sum), ValueHead{head});
  }
}

}  // namespace groundstate::simple_gla
