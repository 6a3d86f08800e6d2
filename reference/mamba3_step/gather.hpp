// From tensors of any storage type and layout to one independent problem, and what it leaves in the
// pools.
//
// Lanes, slots, groups of heads, strides and storage types exist here and nowhere in the maths.
// Widening is exact; how a state is stored: reference/core/state_pool.hpp.
#pragma once

#include <cstddef>
#include <cstring>
#include <vector>

#include "reference/core/matrix.hpp"
#include "reference/core/parallel.hpp"
#include "reference/core/state_pool.hpp"
#include "reference/mamba3_step/contract.hpp"

namespace groundstate::mamba3_step {

using HostInputs = Inputs<Space::host, AnyElements>;
using HostOutputs = Outputs<Space::host, AnyElements>;

// What goes from one token to the next.
template <class Scalar>
struct Carried {
  Matrix<Scalar> state;  // [value, state]
  Matrix<Scalar> k;      // [rank, state]
  Vector<Scalar> x;      // [value]
  Vector<Scalar> angle;  // [frequency]; empty without a prologue
};

// One lane and head. Rows of B and C are (token, rank).
template <class Scalar>
struct Problem {
  Matrix<Scalar> x, z;                   // [time, value]; z is empty where there is no gate
  Vector<Scalar> A, dt, trap;            // [time]
  Matrix<Scalar> B, C;                   // [time * rank, state]
  Vector<Scalar> D;                      // [1]; empty where there is none
  Matrix<Scalar> xproj, outproj, zproj;  // [rank, value]; the last two empty where there is none
  bool prologue = false;
  Matrix<Scalar> theta;           // [time, frequency]
  Matrix<Scalar> B_bias, C_bias;  // [rank, state]; empty where there is none
  Vector<Scalar> B_norm, C_norm;  // [state]; empty where there is none
  Rotation rotation = Rotation::pairwise;
  bool wrap_angle = true;
  Carried<Scalar> before;

  Index time() const { return x.rows(); }
  Index value() const { return x.cols(); }
  Index states() const { return B.cols(); }
  Index ranks() const { return xproj.rows(); }
  Index outputs() const { return outproj.size() > 0 ? value() : ranks() * value(); }
};

// ---- places in the pools

inline StatePlace slot_of(const HostOutputs& y, Index slot, Index head) {
  return place_of(y.state, HostView<Any, Slot, Head, Value>(), Slot{slot}, Head{head});
}
inline StatePlace intermediate_of(const HostOutputs& y, Index row, Index t, Index head) {
  return place_of(y.intermediate, HostView<Any, Slot, Time, Head, Value>(), Slot{row}, Time{t},
                  Head{head});
}
inline StatePlace state_out_of(const HostOutputs& y, Index sequence, Index head) {
  return place_of(y.state_out, HostView<Any, Sequence, Head, Value>(), Sequence{sequence},
                  Head{head});
}
// The offset of the state's first element as stochastic rounding counts elements of the pool.
inline Index rounding_offset(const HostOutputs& y, Index slot, Index head) {
  return slot * y.state.stride<Slot>() + head * y.state.extent<Value>() * y.state.extent<State>();
}
inline double rounded_to(ElementType type, double x) {
  alignas(8) std::byte element[8];
  store_element(type, element, 0, x);
  return load_element(type, element, 0);
}

// The state as the pool would give it back.
template <class Scalar>
Matrix<Scalar> as_stored(const Matrix<Scalar>& state, ElementType type,
                         const std::optional<StochasticRounding>& rounding, Index offset) {
  std::vector<std::byte> memory(static_cast<std::size_t>(state.size()) * size_of(type));
  const StatePlace place{
      {type, memory.data(), {state.rows(), state.cols()}, {state.cols(), Index{1}}}, {}};
  store_state(state, place, rounding, offset);
  return load_state<Scalar>(place);
}

// What pools of these types keep of the values that a token leaves.
template <class Scalar>
void round_to_storage(Carried<Scalar>& own, const HostOutputs& y,
                      const std::optional<StochasticRounding>& rounding, Index offset) {
  own.state = as_stored(own.state, y.state.type(), rounding, offset);
  for (Index i = 0; i < own.k.size(); ++i)
    own.k.data()[i] =
        static_cast<Scalar>(rounded_to(y.k_state.type(), static_cast<double>(own.k.data()[i])));
  for (Index f = 0; f < own.angle.size(); ++f)
    own.angle[f] =
        static_cast<Scalar>(rounded_to(y.angle_state.type(), static_cast<double>(own.angle[f])));
}

// ---- tensors to one problem

template <class Scalar>
Vector<Scalar> gather_numbers(const HostView<const Any, Batch, Time, Head>& x, const Lane& at,
                              Index head) {
  Vector<Scalar> result(at.length);
  for (Index t = 0; t < at.length; ++t)
    result[t] = static_cast<Scalar>(x.load(Batch{at.batch}, Time{at.begin + t}, Head{head}));
  return result;
}
template <class Scalar, class Channel>
Matrix<Scalar> gather_rows(const HostView<const Any, Batch, Time, Head, Channel>& x, const Lane& at,
                           Index head) {
  if (!x) return {};
  Matrix<Scalar> rows(at.length, x.template extent<Channel>());
  for (Index t = 0; t < rows.rows(); ++t)
    for (Index j = 0; j < rows.cols(); ++j)
      rows(t, j) =
          static_cast<Scalar>(x.load(Batch{at.batch}, Time{at.begin + t}, Head{head}, Channel{j}));
  return rows;
}
template <class Scalar>
Matrix<Scalar> gather_keys(const HostView<const Any, Batch, Time, Rank, Group, State>& x,
                           const Lane& at, Group group) {
  const Index ranks = x.extent<Rank>();
  Matrix<Scalar> rows(at.length * ranks, x.extent<State>());
  for (Index i = 0; i < rows.rows(); ++i)
    for (Index n = 0; n < rows.cols(); ++n)
      rows(i, n) = static_cast<Scalar>(
          x.load(Batch{at.batch}, Time{at.begin + i / ranks}, Rank{i % ranks}, group, State{n}));
  return rows;
}
template <class Scalar, class Channel>
Matrix<Scalar> gather_ranks(const HostView<const Any, Rank, Head, Channel>& x, Index head) {
  if (!x) return {};
  Matrix<Scalar> rows(x.template extent<Rank>(), x.template extent<Channel>());
  for (Index r = 0; r < rows.rows(); ++r)
    for (Index j = 0; j < rows.cols(); ++j)
      rows(r, j) = static_cast<Scalar>(x.load(Rank{r}, Head{head}, Channel{j}));
  return rows;
}
template <class Scalar>
Vector<Scalar> gather_weight(const HostView<const Any, State>& x) {
  Vector<Scalar> result(x ? x.extent<State>() : 0);
  for (Index n = 0; n < result.size(); ++n) result[n] = static_cast<Scalar>(x.load(State{n}));
  return result;
}

// The pools at one slot and head.
template <class Scalar>
Matrix<Scalar> load_k(const HostOutputs& y, Index slot, Index head) {
  Matrix<Scalar> k(y.k_state.extent<Rank>(), y.k_state.extent<State>());
  for (Index r = 0; r < k.rows(); ++r)
    for (Index n = 0; n < k.cols(); ++n)
      k(r, n) = static_cast<Scalar>(y.k_state.load(Slot{slot}, Rank{r}, Head{head}, State{n}));
  return k;
}
template <class Scalar>
Vector<Scalar> load_x(const HostOutputs& y, Index slot, Index head) {
  Vector<Scalar> x(y.x_state.extent<Value>());
  for (Index p = 0; p < x.size(); ++p)
    x[p] = static_cast<Scalar>(y.x_state.load(Slot{slot}, Head{head}, Value{p}));
  return x;
}
template <class Scalar>
Vector<Scalar> load_angle(const HostOutputs& y, Index slot, Index head) {
  Vector<Scalar> angle(y.angle_state ? y.angle_state.extent<Frequency>() : 0);
  for (Index f = 0; f < angle.size(); ++f)
    angle[f] = static_cast<Scalar>(y.angle_state.load(Slot{slot}, Head{head}, Frequency{f}));
  return angle;
}
template <class Scalar>
Carried<Scalar> load_carried(const HostOutputs& y, Index slot, Index head) {
  return {load_state<Scalar>(slot_of(y, slot, head)), load_k<Scalar>(y, slot, head),
          load_x<Scalar>(y, slot, head), load_angle<Scalar>(y, slot, head)};
}

template <class Scalar>
Problem<Scalar> gather(const HostInputs& x, const HostOutputs& y, const Options& options,
                       const Lane& at, Index head) {
  const Shape n = shape(x, y);
  const Group group{head / (n.heads / n.groups)};
  Problem<Scalar> p;
  p.x = gather_rows<Scalar>(x.x, at, head);
  p.z = gather_rows<Scalar>(x.z, at, head);
  p.A = gather_numbers<Scalar>(x.A, at, head);
  p.dt = gather_numbers<Scalar>(x.dt, at, head);
  p.trap = gather_numbers<Scalar>(x.trap, at, head);
  p.B = gather_keys<Scalar>(x.B, at, group);
  p.C = gather_keys<Scalar>(x.C, at, group);
  if (x.D) p.D = Vector<Scalar>::Constant(1, static_cast<Scalar>(x.D.load(Head{head})));
  p.xproj = x.xproj ? gather_ranks<Scalar>(x.xproj, head)
                    : Matrix<Scalar>(Matrix<Scalar>::Ones(n.ranks, n.value));
  p.outproj = gather_ranks<Scalar>(x.outproj, head);
  p.zproj = gather_ranks<Scalar>(x.zproj, head);
  p.prologue = static_cast<bool>(x.theta);
  p.theta = gather_rows<Scalar>(x.theta, at, head);
  p.B_bias = gather_ranks<Scalar>(x.B_bias, head);
  p.C_bias = gather_ranks<Scalar>(x.C_bias, head);
  p.B_norm = gather_weight<Scalar>(x.B_norm);
  p.C_norm = gather_weight<Scalar>(x.C_norm);
  p.rotation = options.rotation;
  p.wrap_angle = options.wrap_angle;
  p.before = load_carried<Scalar>(y, at.source, head);
  return p;
}

// ---- one problem to the pools

namespace detail {

// The bits where the types are the same, else the value.
template <class From, class To>
void copy_element(const From& from, Index from_offset, const To& to, Index to_offset) {
  const auto size = static_cast<Index>(size_of(to.type()));
  auto* const target = static_cast<std::byte*>(to.data()) + to_offset * size;
  const auto* const source = static_cast<const std::byte*>(from.data());
  if (from.type() == to.type())
    std::memcpy(target, source + from_offset * size, static_cast<std::size_t>(size));
  else
    store_element(to.type(), to.data(), to_offset,
                  load_element(from.type(), from.data(), from_offset));
}

}  // namespace detail

// K and X after the lane's token t.
template <class Scalar>
void store_kv(const HostInputs& x, const HostOutputs& y, const Lane& at, Index t, Index head,
              Index slot, const Carried<Scalar>& own) {
  const Shape n = shape(x, y);
  const Group group{head / (n.heads / n.groups)};
  for (Index r = 0; r < n.ranks; ++r)
    for (Index k = 0; k < n.state; ++k) {
      const Index to = y.k_state.offset(Slot{slot}, Rank{r}, Head{head}, State{k});
      if (x.theta)
        store_element(y.k_state.type(), y.k_state.data(), to, static_cast<double>(own.k(r, k)));
      else
        detail::copy_element(
            x.B, x.B.offset(Batch{at.batch}, Time{at.begin + t}, Rank{r}, group, State{k}),
            y.k_state, to);
    }
  for (Index p = 0; p < n.value; ++p)
    detail::copy_element(x.x, x.x.offset(Batch{at.batch}, Time{at.begin + t}, Head{head}, Value{p}),
                         y.x_state, y.x_state.offset(Slot{slot}, Head{head}, Value{p}));
}
template <class Scalar>
void store_angle(const HostOutputs& y, Index slot, Index head, const Vector<Scalar>& angle) {
  for (Index f = 0; f < angle.size(); ++f)
    y.angle_state.store(static_cast<double>(angle[f]), Slot{slot}, Head{head}, Frequency{f});
}

inline void store_outputs(const HostOutputs& y, const Lane& at, Index t, Index head,
                          const auto& row) {
  const Index values = y.state.extent<Value>();
  for (Index j = 0; j < row.size(); ++j) {
    const auto value = static_cast<double>(row[j]);
    if (y.out)
      y.out.store(value, Batch{at.batch}, Time{at.begin + t}, Head{head}, Value{j});
    else
      y.rank_out.store(value, Batch{at.batch}, Time{at.begin + t}, Rank{j / values}, Head{head},
                       Value{j % values});
  }
}

// ---- every lane and head of the tensors

// Calls body(lane number, head) for each, in parallel unless one may read what another wrote.
template <class Body>
void for_each_lane_and_head(const Shape& n, const Options& options, Body&& body) {
  const bool worthwhile = n.sequences * n.time * n.heads * n.ranks * n.value * n.state > 1'000'000;
  if (options.sequential)
    parallel_for(
        n.heads,
        [&](Index head) {
          for (Index sequence = 0; sequence < n.sequences; ++sequence) body(sequence, head);
        },
        worthwhile);
  else
    parallel_for(
        n.sequences * n.heads, [&](Index i) { body(i / n.heads, i % n.heads); }, worthwhile);
}

// Runs `path(problem, keep) -> outputs [time, Problem::outputs()]` for every lane that is no
// padding and every head; `path` calls keep(t, Carried) after each token, which may change it.
template <class Scalar, class Path>
void for_each_problem(const HostInputs& x, const Options& options, const HostOutputs& y,
                      Path&& path) {
  validate(x, y, options);
  validate_indices(x, y, options);
  const Shape n = shape(x, y);
  for_each_lane_and_head(n, options, [&](Index sequence, Index head) {
    const Lane at = lane(x.lanes, options, n.time, sequence, load_index);
    const Index outputs = x.outproj ? n.value : n.ranks * n.value;
    Matrix<Scalar> out = Matrix<Scalar>::Zero(at.given, outputs);
    if (!at.padding && at.length > 0) {
      const Index offset = rounding_offset(y, at.source, head);
      const auto keep = [&](Index t, Carried<Scalar>& own) {
        const std::optional<StochasticRounding> rounding = rounding_after(options, t);
        if (options.carry == Carry::storage) round_to_storage(own, y, rounding, offset);
        if (y.intermediate)
          store_state(own.state, intermediate_of(y, at.row, t, head), rounding, offset);
        if (y.state_out) {
          if (t + 1 == at.length)
            store_state(own.state, state_out_of(y, sequence, head), rounding, offset);
          return;
        }
        const Index slot = destination(x.lanes, options, sequence, at, t, load_index);
        if (slot == nowhere) return;
        store_state(own.state, slot_of(y, slot, head), rounding, offset);
        store_angle(y, slot, head, own.angle);
        if (options.update_kv_state) store_kv(x, y, at, t, head, slot, own);
      };
      out.topRows(at.length) = path(gather<Scalar>(x, y, options, at, head), keep);
    }
    for (Index t = 0; t < at.given; ++t) store_outputs(y, at, t, head, out.row(t));
  });
}

}  // namespace groundstate::mamba3_step
