// States where they are stored: a slot of a pool, or a token of a row of intermediate states; as a
// matrix [value, state] and back.
//
// Widening is exact, that of a code is code * scale in the scalar of the recipe. A state is stored
// as reference/core/encoding.hpp says, a slot of fp64 without rounding.
#pragma once

#include <cmath>
#include <optional>

#include "reference/core/encoding.hpp"
#include "reference/core/matrix.hpp"
#include "reference/core/view.hpp"

namespace groundstate {

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

}  // namespace groundstate
