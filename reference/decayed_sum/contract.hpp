// decayed_sum: a running sum that forgets. The smallest operator, and the pattern of every other
// one.
//
//   S_t = exp(g_t) S_{t-1} + x_t       S: [value]; S_{-1} = h0 or 0
//   y_t = S_t,  ht = S after the last token
//
// Backward, of a loss with the gradients dy and dht (absent: 0):
//   dS := dht;  for t = T-1 .. 0:
//     dS := dS + dy_t,  dx_t = dS,  dg_t = sum_v dS exp(g_t) S_{t-1},  dS := exp(g_t) dS
//   dh0 = dS
//
// B batch, T tokens, H heads, V value size. Sequences are the rows of the batch.
//
//   name        shape            default     meaning
//   x           [B, T, H, V]     required    terms, any finite value
//   g           [B, T, H]        required    natural log decay; > 0 grows, -infinity forgets
//   h0          [B, H, V]        0           initial state
//   y           [B, T, H, V]                 the sum after each token
//   ht          [B, H, V]                    final state
//   dy, dht     as y, ht         required, 0 gradients of the outputs
//   dx, dg, dh0 as x, g, h0                  gradients of the inputs; dg_t = 0 where exp(g_t) = 0
//
// Errors: validate() throws std::invalid_argument naming the tensor and what is accepted.
// Source: the recurrence that simple_gla, Mamba-2 and RetNet share, without keys and queries.
#pragma once

#include <stdexcept>
#include <string>

#include "reference/core/tensor_list.hpp"
#include "reference/core/view.hpp"

namespace groundstate::decayed_sum {

// Which storage types a set of tensors has.
template <class Activation_, class Gate_, class State_>
struct Elements {
  using Activation = Activation_;
  using Gate = Gate_;
  using State = State_;
};
using AnyElements = Elements<Any, Any, Any>;

template <Space space, class T>
using Tokens = View<space, T, Batch, Time, Head, Value>;
template <Space space, class T>
using Gates = View<space, T, Batch, Time, Head>;
template <Space space, class T>
using States = View<space, T, Sequence, Head, Value>;

template <Space space, class E>
struct Inputs {
  Tokens<space, const typename E::Activation> terms;
  Gates<space, const typename E::Gate> log_decay;
  States<space, const typename E::State> initial_state;
};

template <Space space, class E>
struct Outputs {
  Tokens<space, typename E::Activation> sums;
  States<space, typename E::State> final_state;
};

template <Space space, class E>
struct BackwardInputs : Inputs<space, E> {
  Tokens<space, const typename E::Activation> sums_gradient;
  States<space, const typename E::State> final_state_gradient;
};

template <Space space, class E>
struct BackwardOutputs {
  Tokens<space, typename E::Activation> terms;
  Gates<space, typename E::Gate> log_decay;
  States<space, typename E::State> initial_state;
};

// The one list of tensors: visit(name, view, class of element type, presence).
template <Space space, class E, class Visit>
void input_tensors(Inputs<space, E>& x, Visit&& visit) {
  visit("x", x.terms, ElementClass::activation, Presence::required);
  visit("g", x.log_decay, ElementClass::gate, Presence::required);
  visit("h0", x.initial_state, ElementClass::state, Presence::optional);
}
template <Space space, class E, class Visit>
void output_tensors(Outputs<space, E>& y, Visit&& visit) {
  visit("y", y.sums, ElementClass::activation, Presence::required);
  visit("ht", y.final_state, ElementClass::state, Presence::optional);
}
template <Space space, class E, class Visit>
void input_tensors(BackwardInputs<space, E>& x, Visit&& visit) {
  input_tensors(static_cast<Inputs<space, E>&>(x), visit);
  visit("dy", x.sums_gradient, ElementClass::activation, Presence::required);
  visit("dht", x.final_state_gradient, ElementClass::state, Presence::optional);
}
template <Space space, class E, class Visit>
void output_tensors(BackwardOutputs<space, E>& y, Visit&& visit) {
  visit("dx", y.terms, ElementClass::activation, Presence::required);
  visit("dg", y.log_decay, ElementClass::gate, Presence::required);
  visit("dh0", y.initial_state, ElementClass::state, Presence::optional);
}

struct Shape {
  Index batch, time, heads, value;
};

template <Space space, class E>
Shape shape(const Inputs<space, E>& x) {
  const auto [batch, time, heads, value] = x.terms.extents();
  return {batch, time, heads, value};
}

inline void require(bool good, const std::string& message) {
  if (!good) throw std::invalid_argument("decayed_sum: " + message);
}

template <Space space, class E>
void validate(const Inputs<space, E>& x) {
  require(x.terms && x.log_decay, "x and g are required");
  const Shape n = shape(x);
  require(x.log_decay.extents() == std::array{n.batch, n.time, n.heads},
          "g must be [batch, time, head] of x");
  require(!x.initial_state || x.initial_state.extents() == std::array{n.batch, n.heads, n.value},
          "h0 must be [batch, head, value] of x");
}
template <Space space, class E>
void validate(const BackwardInputs<space, E>& x) {
  validate(static_cast<const Inputs<space, E>&>(x));
  const Shape n = shape(x);
  require(x.sums_gradient && x.sums_gradient.extents() == x.terms.extents(),
          "dy is required and must have the shape of x");
  require(!x.final_state_gradient ||
              x.final_state_gradient.extents() == std::array{n.batch, n.heads, n.value},
          "dht must be [batch, head, value] of x");
}

}  // namespace groundstate::decayed_sum
