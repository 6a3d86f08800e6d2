// simple_gla: gated linear attention with one scalar decay per token and head.
//
//   d_t = g_t + g_gamma                        log decay (natural); either, both or none of the two
//   S_t = exp(d_t) S_{t-1} + k_t v_t^T         S: [key, value]; S_{-1} = h0 or 0
//   o_t = scale * S_t^T q_t                    the state is read after the update
//   ht  = S after the last token
//
// B batch, T tokens, H heads of q and k, HV = r H heads of v, g and the state (head hv uses q, k of
// head hv / r), K key size, V value size, N sequences. Packed sequences: `cu_seqlens` [N + 1]
// starts at 0, does not decrease, ends at T; then B = 1. An empty sequence is legal: its ht is its
// h0. Without cu_seqlens N = B. reverse: each sequence is processed from its last token to its
// first; ht is the state after token 0.
//
//   name        shape            default              meaning
//   q, k        [B, T, H, K]     required             any finite value
//   v           [B, T, HV, V]    required             any finite value
//   g           [B, T, HV]       0                    log decay; > 0 grows, -infinity forgets
//   g_gamma     [HV]             0                    constant log decay of a head
//   h0          [N, HV, K, V]    0                    initial state
//   cu_seqlens  [N + 1]          one sequence a row   offsets of packed sequences
//   o           [B, T, HV, V]                         output
//   ht          [N, HV, K, V]                         final state
//   scale       scalar           K^-1/2               multiplies q
//
// Backward, of a loss with the gradients do and dht (absent: 0), S_t as above:
//   dS := dht;  for t = T-1 .. 0:
//     dS := dS + scale q_t do_t^T                dS: [key, value]
//     dq_t = scale S_t do_t,  dk_t = dS v_t,  dv_t = dS^T k_t
//     dg_t = exp(d_t) <dS, S_{t-1}>              <,>: sum over key and value
//     dS := exp(d_t) dS
//   dh0 = dS
//   dq, dk are summed over the r value heads of their head, dg_gamma = sum of dg_t over all tokens
//   and sequences of its value head.
//
//   do          [B, T, HV, V]    required             gradient of o
//   dht         [N, HV, K, V]    0                    gradient of ht
//   dq, dk, dv  as q, k, v                            gradients of the inputs
//   dg          as g                                  dg_t = 0 where exp(d_t) = 0
//   dg_gamma    as g_gamma
//   dh0         as h0                                 of an empty sequence: its dht
//
// Errors: validate() throws std::invalid_argument naming the tensor, what it is and what is
// accepted. Source: Yang et al. 2024, "Gated Linear Attention Transformers", section 4, with the
// gate reduced to a scalar; RetNet (2307.08621) and Lightning Attention-2 are g_gamma alone,
// Mamba-2's SSD is g alone.
#pragma once

#include <stdexcept>
#include <string>

#include "reference/core/tensor_list.hpp"
#include "reference/core/view.hpp"

namespace groundstate::simple_gla {

// Which storage types a set of tensors has.
template <class Activation_, class Gate_, class State_, class Index_>
struct Elements {
  using Activation = Activation_;
  using Gate = Gate_;
  using State = State_;
  using IndexType = Index_;
};
using AnyElements = Elements<Any, Any, Any, Any>;

template <Space space, class E>
struct Inputs {
  View<space, const typename E::Activation, Batch, Time, Head, Key> query, key;
  View<space, const typename E::Activation, Batch, Time, ValueHead, Value> value;
  View<space, const typename E::Gate, Batch, Time, ValueHead> log_decay;
  View<space, const typename E::Gate, ValueHead> constant_log_decay;
  View<space, const typename E::State, Sequence, ValueHead, Key, Value> initial_state;
  View<space, const typename E::IndexType, Offset> offsets;
};

template <Space space, class E>
struct Outputs {
  View<space, typename E::Activation, Batch, Time, ValueHead, Value> output;
  View<space, typename E::State, Sequence, ValueHead, Key, Value> final_state;
};

template <Space space, class E>
struct BackwardInputs : Inputs<space, E> {
  View<space, const typename E::Activation, Batch, Time, ValueHead, Value> output_gradient;
  View<space, const typename E::State, Sequence, ValueHead, Key, Value> final_state_gradient;
};

// Gradients of the inputs of the same names.
template <Space space, class E>
struct BackwardOutputs {
  View<space, typename E::Activation, Batch, Time, Head, Key> query, key;
  View<space, typename E::Activation, Batch, Time, ValueHead, Value> value;
  View<space, typename E::Gate, Batch, Time, ValueHead> log_decay;
  View<space, typename E::Gate, ValueHead> constant_log_decay;
  View<space, typename E::State, Sequence, ValueHead, Key, Value> initial_state;
};

// How a chunked path keeps states and their gradients between its passes: as they are computed, or
// as operands of products, which may be narrower.
enum class StateStorage { accumulator, operand };

struct Options {
  double scale;
  bool reverse = false;
};

// The one list of tensors: visit(name, view, class of element type, presence).
template <Space space, class E, class Visit>
void input_tensors(Inputs<space, E>& x, Visit&& visit) {
  visit("q", x.query, ElementClass::activation, Presence::required);
  visit("k", x.key, ElementClass::activation, Presence::required);
  visit("v", x.value, ElementClass::activation, Presence::required);
  visit("g", x.log_decay, ElementClass::gate, Presence::optional);
  visit("g_gamma", x.constant_log_decay, ElementClass::gate, Presence::optional);
  visit("h0", x.initial_state, ElementClass::state, Presence::optional);
  visit("cu_seqlens", x.offsets, ElementClass::index, Presence::optional);
}
template <Space space, class E, class Visit>
void output_tensors(Outputs<space, E>& y, Visit&& visit) {
  visit("o", y.output, ElementClass::activation, Presence::required);
  visit("ht", y.final_state, ElementClass::state, Presence::optional);
}
template <Space space, class E, class Visit>
void input_tensors(BackwardInputs<space, E>& x, Visit&& visit) {
  input_tensors(static_cast<Inputs<space, E>&>(x), visit);
  visit("do", x.output_gradient, ElementClass::activation, Presence::required);
  visit("dht", x.final_state_gradient, ElementClass::state, Presence::optional);
}
template <Space space, class E, class Visit>
void output_tensors(BackwardOutputs<space, E>& y, Visit&& visit) {
  visit("dq", y.query, ElementClass::activation, Presence::required);
  visit("dk", y.key, ElementClass::activation, Presence::required);
  visit("dv", y.value, ElementClass::activation, Presence::required);
  visit("dg", y.log_decay, ElementClass::gate, Presence::optional);
  visit("dg_gamma", y.constant_log_decay, ElementClass::gate, Presence::optional);
  visit("dh0", y.initial_state, ElementClass::state, Presence::optional);
}

struct Shape {
  Index batch, time, heads, value_heads, key, value, sequences;
};

template <Space space, class E>
Shape shape(const Inputs<space, E>& x) {
  const Index batch = x.query.template extent<Batch>();
  return {batch,
          x.query.template extent<Time>(),
          x.query.template extent<Head>(),
          x.value.template extent<ValueHead>(),
          x.query.template extent<Key>(),
          x.value.template extent<Value>(),
          x.offsets ? x.offsets.template extent<Offset>() - 1 : batch};
}

inline void require(bool good, const std::string& message) {
  if (!good) throw std::invalid_argument("simple_gla: " + message);
}

// Shapes agree with each other and, on the host, offsets are legal.
template <Space space, class E>
void validate(const Inputs<space, E>& x) {
  const auto text = [](Index i) { return std::to_string(i); };
  require(x.query && x.key && x.value, "q, k and v are required");
  const Shape n = shape(x);
  require(x.key.extents() == x.query.extents(), "k must have the shape of q");
  require(x.value.template extent<Batch>() == n.batch && x.value.template extent<Time>() == n.time,
          "v must have the batch and time of q");
  require(n.heads > 0 && n.value_heads > 0 && n.value_heads % n.heads == 0,
          "heads of v (" + text(n.value_heads) + ") must be a multiple of the heads of q (" +
              text(n.heads) + ")");
  if (x.log_decay)
    require(x.log_decay.extents() == std::array{n.batch, n.time, n.value_heads},
            "g must be [batch, time, value_head] = [" + text(n.batch) + ", " + text(n.time) + ", " +
                text(n.value_heads) + "]");
  if (x.constant_log_decay)
    require(x.constant_log_decay.template extent<ValueHead>() == n.value_heads,
            "g_gamma must have one value per value head, " + text(n.value_heads));
  if (x.offsets) {
    require(n.batch == 1, "packed sequences (cu_seqlens) need batch = 1, got " + text(n.batch));
    require(n.sequences >= 0, "cu_seqlens needs at least one entry");
    if constexpr (space == Space::host) {
      const auto offset = [&](Index i) { return static_cast<Index>(x.offsets.load(Offset{i})); };
      require(offset(0) == 0, "cu_seqlens must start at 0, got " + text(offset(0)));
      for (Index i = 0; i < n.sequences; ++i)
        require(offset(i) <= offset(i + 1), "cu_seqlens must not decrease: entry " + text(i + 1) +
                                                " is " + text(offset(i + 1)) + " after " +
                                                text(offset(i)));
      require(offset(n.sequences) == n.time, "cu_seqlens must end at the number of tokens, " +
                                                 text(n.time) + ", got " +
                                                 text(offset(n.sequences)));
    }
  }
  if (x.initial_state)
    require(x.initial_state.extents() == std::array{n.sequences, n.value_heads, n.key, n.value},
            "h0 must be [sequence, value_head, key, value] = [" + text(n.sequences) + ", " +
                text(n.value_heads) + ", " + text(n.key) + ", " + text(n.value) + "]");
}

// Outputs have the shapes that follow from the inputs; ht may be absent.
template <Space space, class E>
void validate(const Inputs<space, E>& x, const Outputs<space, E>& y) {
  const Shape n = shape(x);
  if (!y.output || y.output.extents() != std::array{n.batch, n.time, n.value_heads, n.value})
    throw std::invalid_argument("simple_gla: o must be [batch, time, value_head, value] of v");
  if (y.final_state &&
      y.final_state.extents() != std::array{n.sequences, n.value_heads, n.key, n.value})
    throw std::invalid_argument("simple_gla: ht must be [sequence, value_head, key, value]");
}

template <Space space, class E>
void validate(const BackwardInputs<space, E>& x) {
  validate(static_cast<const Inputs<space, E>&>(x));
  const Shape n = shape(x);
  require(x.output_gradient && x.output_gradient.extents() == x.value.extents(),
          "do is required and must have the shape of v");
  require(!x.final_state_gradient || x.final_state_gradient.extents() ==
                                         std::array{n.sequences, n.value_heads, n.key, n.value},
          "dht must be [sequence, value_head, key, value]");
}

// Gradients have the shapes of what they are gradients of; dg, dg_gamma and dh0 may be absent.
template <Space space, class E>
void validate(const BackwardInputs<space, E>& x, const BackwardOutputs<space, E>& y) {
  const Shape n = shape(x);
  require(y.query && y.query.extents() == x.query.extents(), "dq must have the shape of q");
  require(y.key && y.key.extents() == x.key.extents(), "dk must have the shape of k");
  require(y.value && y.value.extents() == x.value.extents(), "dv must have the shape of v");
  require(!y.log_decay || y.log_decay.extents() == std::array{n.batch, n.time, n.value_heads},
          "dg must be [batch, time, value_head]");
  require(
      !y.constant_log_decay || y.constant_log_decay.template extent<ValueHead>() == n.value_heads,
      "dg_gamma must have one value per value head");
  require(!y.initial_state ||
              y.initial_state.extents() == std::array{n.sequences, n.value_heads, n.key, n.value},
          "dh0 must be [sequence, value_head, key, value]");
}

}  // namespace groundstate::simple_gla
