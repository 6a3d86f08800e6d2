// From tensors of any storage type and layout to one independent problem, and the states of its
// lane from a slot and back.
//
// Lanes, slots, groups of heads, strides, broadcast axes and storage types exist here and nowhere
// in the maths. Widening is exact, that of a code is code * scale in the scalar of the recipe. A
// state is stored as reference/core/encoding.hpp says, a slot of fp64 without rounding.
#pragma once

#include <cmath>

#include "reference/core/matrix.hpp"
#include "reference/core/parallel.hpp"
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

// Where the states of one lane and head lie: a slot of a pool, or a token of a row of
// intermediate_states.
struct StatePlace {
  HostView<Any, Value, State> state;
  HostView<Any, Value> scale;  // absent where the elements are no codes
};

template <class States, class Scales, class... Lead>
StatePlace place_of(const States& states, const Scales& scales, Lead... lead) {
  const auto address = [](const auto& x, auto... at) {
    return static_cast<std::byte*>(x.data()) +
           x.offset(at...) * static_cast<Index>(size_of(x.type()));
  };
  const Index rows = states.template extent<Value>(), columns = states.template extent<State>();
  StatePlace place{{states.type(),
                    address(states, lead..., Value{0}, State{0}),
                    {rows, columns},
                    {states.template stride<Value>(), states.template stride<State>()}},
                   {}};
  if (scales)
    place.scale = {scales.type(),
                   address(scales, lead..., Value{0}),
                   {rows},
                   {scales.template stride<Value>()}};
  return place;
}
inline StatePlace slot_of(const HostOutputs& y, Index slot, Index head) {
  return place_of(y.state, y.scale, Slot{slot}, Head{head});
}
inline StatePlace intermediate_of(const HostOutputs& y, Index row, Index t, Index head) {
  return place_of(y.intermediate, y.intermediate_scale, Slot{row}, Time{t}, Head{head});
}

template <class Scalar>
Matrix<Scalar> load_state(const StatePlace& from) {
  Matrix<Scalar> state(from.state.extent<Value>(), from.state.extent<State>());
  for (Index p = 0; p < state.rows(); ++p) {
    const Scalar scale = from.scale ? static_cast<Scalar>(from.scale.load(Value{p})) : Scalar(1);
    for (Index n = 0; n < state.cols(); ++n) {
      const auto stored = static_cast<Scalar>(from.state.load(Value{p}, State{n}));
      state(p, n) = from.scale ? Scalar(stored * scale) : stored;
    }
  }
  return state;
}

namespace detail {

template <class Stored, class Scalar>
void store_row(const Scalar* row, Index p, const StatePlace& to,
               const std::optional<StochasticRounding>& rounding, Index offset) {
  const Index columns = to.state.extent<State>();
  RowScale scale;
  if constexpr (is_code<Stored>) {
    float amax = 0;
    for (Index n = 0; n < columns; ++n) {
      const float magnitude = std::abs(static_cast<float>(static_cast<double>(row[n])));
      if (magnitude > amax) amax = magnitude;
    }
    scale = row_scale<Stored>(amax);
    to.scale.store(scale.decode, Value{p});
  }
  Philox::Counter words{};
  for (Index n = 0; n < columns; ++n) {
    if (rounding && n % 4 == 0) words = rounding_words(*rounding, offset + n);
    const auto value = static_cast<float>(static_cast<double>(row[n])) * scale.encode;
    const Stored stored = rounding
                              ? stochastic<Stored>(value, words[static_cast<std::size_t>(n % 4)])
                              : nearest<Stored>(value);
    to.state.store(static_cast<double>(stored), Value{p}, State{n});
  }
}

}  // namespace detail

// `offset` is that of the element (p = 0, n = 0) of the slot that was read, in elements of the pool
// as stochastic rounding counts them.
template <class Scalar>
void store_state(const Matrix<Scalar>& state, const StatePlace& to,
                 const std::optional<StochasticRounding>& rounding, Index offset) {
  const auto rows = [&]<class Stored>(Stored) {
    for (Index p = 0; p < state.rows(); ++p)
      detail::store_row<Stored>(state.row(p).data(), p, to, rounding, offset + p * state.cols());
  };
  const ElementType type = to.state.type();
  if (type == ElementType::int16) return rows(std::int16_t{});
  if (type == ElementType::int8) return rows(std::int8_t{});
  if (type == ElementType::float8) return rows(fp8{});
  if (rounding && type == ElementType::bfloat16) return rows(bf16{});
  if (rounding && type == ElementType::float16) return rows(fp16{});
  for (Index p = 0; p < state.rows(); ++p)
    for (Index n = 0; n < state.cols(); ++n)
      to.state.store(static_cast<double>(state(p, n)), Value{p}, State{n});
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
