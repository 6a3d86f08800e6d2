// From tensors of any storage type and layout to one independent problem, and the states of its
// lane from a slot and back.
//
// Lanes, slots, groups of heads, strides, broadcast axes and storage types exist here and nowhere
// in the maths. Widening is exact; how a state is stored: reference/core/state_pool.hpp.
#pragma once

#include "reference/core/matrix.hpp"
#include "reference/core/parallel.hpp"
#include "reference/core/state_pool.hpp"
#include "reference/selective_state_update/lane.hpp"

namespace groundstate::selective_state_update {

using HostInputs = Inputs<Space::host, AnyElements>;
using HostOutputs = Outputs<Space::host, AnyElements>;

// One lane and head.
template <class Scalar>
struct Problem {
  Matrix<Scalar> x, dt, z;  // [time, value]; z is empty where there is no gate
  Matrix<Scalar> A;         // [value, state]; [1, 1] where the decay is tied
  Matrix<Scalar> B, C;      // [time, state]
  Vector<Scalar> D;         // [value]; empty where there is none
  Vector<Scalar> dt_bias;   // [value]; 0 where there is none
  Matrix<Scalar> state;     // [value, state], as it was read
  bool softplus = false;

  Index time() const { return x.rows(); }
  Index value() const { return x.cols(); }
  Index states() const { return B.cols(); }
};

// ---- states

inline StatePlace slot_of(const HostOutputs& y, Index slot, Index head) {
  return place_of(y.state, y.scale, Slot{slot}, Head{head});
}
inline StatePlace intermediate_of(const HostOutputs& y, Index row, Index t, Index head) {
  return place_of(y.intermediate, y.intermediate_scale, Slot{row}, Time{t}, Head{head});
}

inline Index rounding_offset(const HostOutputs& y, Index slot, Index head) {
  return slot * y.state.stride<Slot>() + head * y.state.extent<Value>() * y.state.extent<State>();
}

// ---- tensors to one problem. `x` is broadcast.

template <class Scalar, class Own, class Channel>
Matrix<Scalar> gather_tokens(const HostView<const Any, Batch, Time, Own, Channel>& x,
                             const Lane& at, Own own) {
  if (!x) return {};
  Matrix<Scalar> rows(at.length, x.template extent<Channel>());
  for (Index t = 0; t < rows.rows(); ++t)
    for (Index j = 0; j < rows.cols(); ++j)
      rows(t, j) =
          static_cast<Scalar>(x.load(Batch{at.batch}, Time{at.begin + t}, own, Channel{j}));
  return rows;
}
template <class Scalar>
Vector<Scalar> gather_channels(const HostView<const Any, Head, Value>& x, Index head) {
  Vector<Scalar> result(x ? x.extent<Value>() : 0);
  for (Index p = 0; p < result.size(); ++p)
    result[p] = static_cast<Scalar>(x.load(Head{head}, Value{p}));
  return result;
}

template <class Scalar>
Problem<Scalar> gather(const HostInputs& x, const HostOutputs& y, const Options& options,
                       const Lane& at, Index head) {
  const Shape n = shape(x, y);
  const Group group{head / (n.heads / n.groups)};
  Problem<Scalar> p;
  p.x = gather_tokens<Scalar>(x.x, at, Head{head});
  p.dt = gather_tokens<Scalar>(x.dt, at, Head{head});
  p.z = gather_tokens<Scalar>(x.z, at, Head{head});
  p.B = gather_tokens<Scalar>(x.B, at, group);
  p.C = gather_tokens<Scalar>(x.C, at, group);
  p.D = gather_channels<Scalar>(x.D, head);
  p.dt_bias = x.dt_bias ? gather_channels<Scalar>(x.dt_bias, head) : Vector<Scalar>::Zero(n.value);
  const bool tied = is_tied(x) && n.value * n.state > 0;
  p.A.resize(tied ? 1 : n.value, tied ? 1 : n.state);
  for (Index i = 0; i < p.A.rows(); ++i)
    for (Index j = 0; j < p.A.cols(); ++j)
      p.A(i, j) = static_cast<Scalar>(x.A.load(Head{head}, Value{i}, State{j}));
  p.state = load_state<Scalar>(slot_of(y, at.source, head));
  p.softplus = options.softplus;
  return p;
}

// ---- every lane and head of the tensors

// Runs `path(problem, store) -> outputs [time, value]` for every lane that is no padding and every
// head; `path` calls store(t, S) after each token. Lanes share nothing and run in parallel, unless
// one may read what another wrote.
template <class Scalar, class Path>
void for_each_problem(const HostInputs& given, const Options& options, const HostOutputs& y,
                      Path&& path) {
  validate(given, y, options);
  validate_indices(given, y, options);
  const HostInputs x = broadcast(given);
  const Shape n = shape(x, y);
  const auto run = [&](Index sequence, Index head) {
    const Lane at = lane(x, options, sequence, load_index);
    Matrix<Scalar> out = Matrix<Scalar>::Zero(at.length, n.value);
    if (!at.padding && at.length > 0) {
      const Index offset = rounding_offset(y, at.source, head);
      out =
          path(gather<Scalar>(x, y, options, at, head), [&](Index t, const Matrix<Scalar>& state) {
            const Index slot = destination(x, options, sequence, at, t, load_index);
            if (slot != nowhere)
              store_state(state, slot_of(y, slot, head), options.stochastic, offset);
            if (y.intermediate)
              store_state(state, intermediate_of(y, at.row, t, head), options.stochastic, offset);
          });
    }
    for (Index t = 0; t < at.length; ++t)
      for (Index p = 0; p < n.value; ++p)
        y.out.store(static_cast<double>(out(t, p)), Batch{at.batch}, Time{at.begin + t}, Head{head},
                    Value{p});
  };
  const bool worthwhile = n.batch * n.time * n.heads * n.value * n.state > 1'000'000;
  if (options.sequential) {
    parallel_for(
        n.heads,
        [&](Index head) {
          for (Index sequence = 0; sequence < n.sequences; ++sequence) run(sequence, head);
        },
        worthwhile);
  } else {
    parallel_for(
        n.sequences * n.heads, [&](Index i) { run(i / n.heads, i % n.heads); }, worthwhile);
  }
}

}  // namespace groundstate::selective_state_update
