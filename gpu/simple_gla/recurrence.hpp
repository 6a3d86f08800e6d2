// The recurrence that the forward and the adjoint of simple_gla consist of, for every sequence and
// value head:
//
//   S_t = decay_t S_{t-1} + key_t value_t^T,   output_t = S_t^T query_t        S: [row, column]
//
// Tensors are given by strides: the adjoint exchanges keys and values, so that a row of S is a key
// of one recurrence and a value of another, and which axis is which is forgotten here on purpose.
#pragma once

#include <utility>

#include "gpu/core/launch.hpp"
#include "gpu/core/workspace.hpp"
#include "gpu/simple_gla/simple_gla.hpp"

namespace groundstate::gpu::simple_gla {

// A tensor [batch, time, head, channel]; `scale` multiplies what is read of it.
template <class Data>
struct TokenTensor {
  Data* data = nullptr;
  ElementType type = ElementType::float32;
  Index batch = 0, time = 0, head = 0, channel = 0;  // strides
  int group = 1;                                     // value heads that share a head of it
  double scale = 1;
};
using TokenInput = TokenTensor<const void>;
using TokenOutput = TokenTensor<void>;

// A tensor [sequence, value head, row, column]; absent where data is null.
template <class Data>
struct StateTensor {
  Data* data = nullptr;
  ElementType type = ElementType::float32;
  Index sequence = 0, head = 0, row = 0, column = 0;  // strides
};
using StateInput = StateTensor<const void>;
using StateOutput = StateTensor<void>;

struct Gates {
  DeviceView<const Any, Batch, Time, ValueHead> token;
  DeviceView<const Any, ValueHead> constant;
};

struct Recurrence {
  Index sequences, heads, time, rows, columns;
  DeviceView<const Any, Offset> offsets;
  Gates gates;
  bool reverse;  // from the last token of a sequence to its first
  // The decay of a token acts when the next one is processed, and on the final state: the order of
  // the adjoint.
  bool decay_later;
  TokenInput query, key, value;
  StateInput initial;
  TokenOutput output;
  StateOutput final;
};

// Takes its part of the workspace; on an empty one only its size. Scalar is the type of arithmetic
// and state, float or double.
template <class Scalar>
Scalar* take_recurrence(Workspace& workspace, const Recurrence& r);
template <class Scalar>
void launch_recurrence(const Recurrence& r, Scalar* workspace, Stream stream);

// ---- from the views of the contract

// The tensors of arithmetic in fp64 make it fp64.
inline bool is_double(ElementType type) { return type == ElementType::float64; }

template <class View>
TokenInput token_input(const View& x, Index value_heads, double scale = 1) {
  const auto& stride = x.strides();
  return {x.data(),
          x.type(),
          stride[0],
          stride[1],
          stride[2],
          stride[3],
          static_cast<int>(value_heads / x.extents()[2]),
          scale};
}
template <class View>
TokenOutput token_output(const View& x) {
  const auto& stride = x.strides();
  return {x.data(), x.type(), stride[0], stride[1], stride[2], stride[3]};
}

template <class Data, class View>
StateTensor<Data> state_tensor(const View& x) {
  const auto& stride = x.strides();
  return {x.data(), x.type(), stride[0], stride[1], stride[2], stride[3]};
}
template <class Data>
StateTensor<Data> transposed(StateTensor<Data> x) {
  std::swap(x.row, x.column);
  return x;
}

// The parts that all recurrences of one set of inputs share.
inline Recurrence recurrence_of(const DeviceInputs& x, const Options& options) {
  const Shape n = shape(x);
  Recurrence r{};
  r.sequences = n.sequences;
  r.heads = n.value_heads;
  r.time = n.time;
  r.rows = n.key;
  r.columns = n.value;
  r.offsets = x.offsets;
  r.gates = {x.log_decay, x.constant_log_decay};
  r.reverse = options.reverse;
  return r;
}

}  // namespace groundstate::gpu::simple_gla
