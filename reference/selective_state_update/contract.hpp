// The decode step of state-space models on pools of states (Mamba-1, Mamba-2), in place.
//
//   d = dt_t + dt_bias;  d = softplus(d) where softplus is wanted and d <= 20
//   S := exp(A d) S + (d x_t) B_t^T       S: [value, state], one per slot and head
//   out_t = (S C_t + D x_t) silu(z_t)     of the S that is not rounded
//   store S
//
// P head dimension (value), N state dimension (state), H heads, G groups (head h reads B and C of
// group h / (H / G)). Dense: sequence n is row n of the batch. Packed (cu_seqlens): batch = 1 and
// sequence n has the tokens cu_seqlens[n] .. cu_seqlens[n + 1] - 1. One sequence of a call is a
// lane.
//
//   name                        shape                  default    meaning
//   x                           [batch, time, H, P]    required
//   dt                          [batch, time, H, P]    required   before bias and softplus
//   A                           [H, P, N]              required   A itself, usually negative
//   B, C                        [batch, time, G, N]    required
//   D                           [H, P]                 0          skip connection
//   z                           [batch, time, H, P]    no gate
//   dt_bias                     [H, P]                 0
//   state_batch_indices         [sequence, columns]    slot n     the slot that a lane reads
//   num_accepted_tokens         [sequence]             1          which column: max(this - 1, 0)
//   dst_state_batch_indices     [sequence, columns]    as read    the slots that a lane writes
//   cu_seqlens                  [sequence + 1]         dense
//   intermediate_state_indices  [sequence]             as read    row of intermediate_states
//   state                       [slot, H, P, N]        required   in place
//   state_scale                 [slot, H, P]           1          in place; of codes
//   intermediate_states         [row, steps, H, P, N]  none       written: the state after token t
//   intermediate_state_scales   [row, steps, H, P]     1          written; of codes
//   out                         [batch, time, H, P]    required   written
//
// An axis of extent 1 of dt, A, D, dt_bias stands for all of its positions, like stride 0: with
// A [H, 1, 1], dt [batch, time, H, 1], dt_bias [H, 1] the decay is one factor a head ("tied").
//
// Storage (reference/core/encoding.hpp). The state of a lane is in the arithmetic of the call from
// the first to the last token, and rounded where it is stored: after the last token in the slot;
// with several columns of dst_state_batch_indices after token t in column t; after every token in
// intermediate_states. Stochastic rounding draws by the slot that was read.
//
// Padding. Without pad_slot_id every negative slot is padding: nothing of the lane's slots is
// touched, none of its inputs has an effect, and out is +0. With pad_slot_id only that number is
// padding, and out of such a lane is not specified (here +0). A padded entry of
// dst_state_batch_indices is a state that is not stored. A lane without tokens stores nothing.
//
// Duplicates. A slot that one lane writes may not be read or written by another: refused, unless
// the lanes are to be processed one after the other (Options::sequential). Several lanes may read a
// slot that none writes, and one lane may write a slot twice.
//
// update_state = false writes no element of state and state_scale, whatever the destinations are.
//
// Errors: validate() and validate_indices() (lane.hpp) throw std::invalid_argument naming the
// tensor, the lanes and what is accepted.
// Source: state-spaces/mamba selective_state_update (tied and untied, negative indices); flashinfer
// selective_state_update (pad_slot_id, destinations, several tokens, codes).
#pragma once

#include <array>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "reference/core/encoding.hpp"
#include "reference/core/lane.hpp"
#include "reference/core/tensor_list.hpp"
#include "reference/core/view.hpp"

namespace groundstate::selective_state_update {

// Which storage types a set of tensors has. Scales are fp32.
template <class Activation_, class Parameter_, class State_, class Scale_, class Index_>
struct Elements {
  using Activation = Activation_;
  using Parameter = Parameter_;
  using State = State_;
  using Scale = Scale_;
  using Index = Index_;
};
using AnyElements = Elements<Any, Any, Any, Any, Any>;

struct Options : LaneRules {
  bool softplus = false;
  std::optional<StochasticRounding> stochastic = {};  // absent: to nearest
};

template <Space space, class E>
struct Inputs {
  View<space, const typename E::Activation, Batch, Time, Head, Value> x;
  View<space, const typename E::Parameter, Batch, Time, Head, Value> dt;
  View<space, const typename E::Parameter, Head, Value, State> A;
  View<space, const typename E::Activation, Batch, Time, Group, State> B, C;
  View<space, const typename E::Parameter, Head, Value> D;
  View<space, const typename E::Activation, Batch, Time, Head, Value> z;
  View<space, const typename E::Parameter, Head, Value> dt_bias;
  View<space, const typename E::Index, Sequence, Time> source;
  View<space, const typename E::Index, Sequence> accepted;
  View<space, const typename E::Index, Sequence, Time> destination;
  View<space, const typename E::Index, Offset> offsets;
  View<space, const typename E::Index, Sequence> intermediate_rows;
};

// States in a pool, and what their codes are multiplied by.
template <Space space, class E>
struct Outputs {
  View<space, typename E::Activation, Batch, Time, Head, Value> out;
  View<space, typename E::State, Slot, Head, Value, State> state;
  View<space, typename E::Scale, Slot, Head, Value> scale;
  View<space, typename E::State, Slot, Time, Head, Value, State> intermediate;
  View<space, typename E::Scale, Slot, Time, Head, Value> intermediate_scale;
};

// The one list of tensors: visit(name, view, class of element type, presence). The first two of
// in_place_tensors() are read and written, the others of output_tensors() written only.
template <Space space, class E, class Visit>
void input_tensors(Inputs<space, E>& x, Visit&& visit) {
  visit("x", x.x, ElementClass::activation, Presence::required);
  visit("dt", x.dt, ElementClass::gate, Presence::required);
  visit("A", x.A, ElementClass::gate, Presence::required);
  visit("B", x.B, ElementClass::activation, Presence::required);
  visit("C", x.C, ElementClass::activation, Presence::required);
  visit("D", x.D, ElementClass::gate, Presence::optional);
  visit("z", x.z, ElementClass::activation, Presence::optional);
  visit("dt_bias", x.dt_bias, ElementClass::gate, Presence::optional);
  visit("state_batch_indices", x.source, ElementClass::index, Presence::optional);
  visit("num_accepted_tokens", x.accepted, ElementClass::index, Presence::optional);
  visit("dst_state_batch_indices", x.destination, ElementClass::index, Presence::optional);
  visit("cu_seqlens", x.offsets, ElementClass::index, Presence::optional);
  visit("intermediate_state_indices", x.intermediate_rows, ElementClass::index, Presence::optional);
}
template <Space space, class E, class Visit>
void in_place_tensors(Outputs<space, E>& y, Visit&& visit) {
  visit("state", y.state, ElementClass::state, Presence::required);
  visit("state_scale", y.scale, ElementClass::scale, Presence::optional);
}
template <Space space, class E, class Visit>
void output_tensors(Outputs<space, E>& y, Visit&& visit) {
  visit("out", y.out, ElementClass::activation, Presence::required);
  in_place_tensors(y, visit);
  visit("intermediate_states", y.intermediate, ElementClass::state, Presence::optional);
  visit("intermediate_state_scales", y.intermediate_scale, ElementClass::scale, Presence::optional);
}

// ---- lanes

template <Space space, class E>
constexpr LaneIndices<space, typename E::Index> indices(const Inputs<space, E>& x) {
  return {x.source, x.accepted, x.destination, x.offsets, {}, x.intermediate_rows};
}

// ---- sizes

struct Shape {
  Index batch, time, sequences, heads, groups, value, state, slots;
};

template <Space space, class E>
Shape shape(const Inputs<space, E>& x, const Outputs<space, E>& y) {
  const auto [batch, time, heads, value] = x.x.extents();
  return {batch,
          time,
          sequences_of(indices(x), batch),
          heads,
          x.B.template extent<Group>(),
          value,
          x.B.template extent<State>(),
          y.state.template extent<Slot>()};
}

template <Space space, class E>
LaneSizes lane_sizes(const Shape& n, const Outputs<space, E>& y) {
  const bool has = static_cast<bool>(y.intermediate);
  return {n.batch,
          n.time,
          n.sequences,
          n.slots,
          has ? y.intermediate.template extent<Slot>() : 0,
          has ? y.intermediate.template extent<Time>() : 0,
          has};
}

// The view with every axis of extent 1 at the extents that are wanted.
template <Space space, class T, class... Axes>
View<space, T, Axes...> broadcast(const View<space, T, Axes...>& x,
                                  const std::array<Index, sizeof...(Axes)>& wanted) {
  if (!x) return x;
  auto extents = x.extents(), strides = x.strides();
  for (std::size_t i = 0; i < extents.size(); ++i)
    if (extents[i] == 1 && wanted[i] != 1) {
      extents[i] = wanted[i];
      strides[i] = 0;
    }
  if constexpr (std::is_same_v<std::remove_const_t<T>, Any>)
    return {x.type(), x.data(), extents, strides};
  else
    return {x.data(), extents, strides};
}
template <Space space, class E>
Inputs<space, E> broadcast(Inputs<space, E> x) {
  const auto [batch, time, heads, value] = x.x.extents();
  x.dt = broadcast(x.dt, {batch, time, heads, value});
  x.A = broadcast(x.A, {heads, value, x.B.template extent<State>()});
  x.D = broadcast(x.D, {heads, value});
  x.dt_bias = broadcast(x.dt_bias, {heads, value});
  return x;
}

// The decay is one factor a token and head. Of broadcast inputs.
template <Space space, class E>
bool is_tied(const Inputs<space, E>& x) {
  const auto constant = [](Index extent, Index stride) { return extent == 1 || stride == 0; };
  return constant(x.A.template extent<Value>(), x.A.template stride<Value>()) &&
         constant(x.A.template extent<State>(), x.A.template stride<State>()) &&
         constant(x.dt.template extent<Value>(), x.dt.template stride<Value>()) &&
         (!x.dt_bias ||
          constant(x.dt_bias.template extent<Value>(), x.dt_bias.template stride<Value>()));
}

constexpr bool has_codes(ElementType state) {
  return state == ElementType::int16 || state == ElementType::int8 || state == ElementType::float8;
}

inline constexpr const char* operator_name = "selective_state_update";
inline void require(bool good, const std::string& message) {
  if (!good) throw std::invalid_argument(std::string(operator_name) + ": " + message);
}

// Shapes and types; contents of the index tensors: lane.hpp.
template <Space space>
void validate(const Inputs<space, AnyElements>& given, const Outputs<space, AnyElements>& y,
              const Options& options) {
  require(given.x && given.dt && given.A && given.B && given.C, "x, dt, A, B and C are required");
  require(y.out && y.state, "out and state are required");
  const Inputs<space, AnyElements> x = broadcast(given);
  const Shape n = shape(x, y);
  const std::string of_x = " of x";
  require(n.groups > 0 && n.heads % n.groups == 0, "the groups of B must divide the heads of x, " +
                                                       std::to_string(n.heads) + "; got " +
                                                       std::to_string(n.groups));
  const auto require_shape = [](const auto& view, const auto& extents, const std::string& what) {
    require(!view || view.extents() == extents, what);
  };
  require_shape(x.dt, x.x.extents(), "dt must be [batch, time, head, value or 1]" + of_x);
  require_shape(x.A, std::array{n.heads, n.value, n.state},
                "A must be [head, value or 1, state or 1] of x and B");
  require_shape(x.B, std::array{n.batch, n.time, n.groups, n.state},
                "B must be [batch, time, group, state], batch and time as those" + of_x);
  require_shape(x.C, x.B.extents(), "C must have the shape of B");
  require_shape(x.D, std::array{n.heads, n.value}, "D must be [head, value or 1]" + of_x);
  require_shape(x.z, x.x.extents(), "z must have the shape" + of_x);
  require_shape(x.dt_bias, std::array{n.heads, n.value},
                "dt_bias must be [head, value or 1]" + of_x);
  require_shape(y.out, x.x.extents(), "out must have the shape" + of_x);
  require_shape(y.state, std::array{n.slots, n.heads, n.value, n.state},
                "state must be [slot, head, value, state] of x and B");
  const auto require_scale = [&](const auto& states, const auto& scale, const std::string& name,
                                 const auto& extents) {
    if (!states) return;
    require(has_codes(states.type()) == static_cast<bool>(scale),
            name + " must be given exactly where its states are int16, int8 or fp8");
    require_shape(scale, extents,
                  name + " must have the shape of its states without the last axis");
  };
  require_scale(y.state, y.scale, "state_scale", std::array{n.slots, n.heads, n.value});
  const bool wide =
      y.state.type() == ElementType::float32 || y.state.type() == ElementType::float64;
  require(!options.stochastic || !wide, "stochastic rounding needs a state of 16 or 8 bits");
  require(!options.stochastic || options.stochastic->rounds > 0, "philox rounds must be 1 or more");

  validate_index_shapes(operator_name, indices(x), lane_sizes(n, y));
  if (y.intermediate) {
    require(y.intermediate.type() == y.state.type(),
            "intermediate_states must have the type of state");
    const auto extents = y.intermediate.extents();
    require(extents[2] == n.heads && extents[3] == n.value && extents[4] == n.state,
            "intermediate_states must be [row, step, head, value, state] of x and B");
    require_scale(y.intermediate, y.intermediate_scale, "intermediate_state_scales",
                  std::array{extents[0], extents[1], extents[2], extents[3]});
  }
}

}  // namespace groundstate::selective_state_update
