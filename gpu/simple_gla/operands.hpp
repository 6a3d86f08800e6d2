// Tensors of the contract in the roles that they have in a sweep.
#pragma once

#include "gpu/core/workspace.hpp"
#include "gpu/simple_gla/simple_gla.hpp"
#include "gpu/simple_gla/sweep.hpp"

namespace groundstate::gpu::simple_gla {

template <class T, class HeadAxis, class Column>
Operand operand(const DeviceView<T, Batch, Time, HeadAxis, Column>& x, Index group = 1) {
  return {x.data(),
          x.template stride<Batch>(),
          x.template stride<Time>(),
          x.template stride<HeadAxis>(),
          x.template stride<Column>(),
          x.template extent<Column>(),
          group};
}

// A state with the axes `Row` and `Column` in the roles of rows and columns of R.
template <class Row, class Column, class T>
DeviceView<T, Sequence, ValueHead, Value, Key> state(
    const DeviceView<T, Sequence, ValueHead, Key, Value>& x) {
  if (!x) return {};
  return {x.type(),
          x.data(),
          {x.template extent<Sequence>(), x.template extent<ValueHead>(), x.template extent<Row>(),
           x.template extent<Column>()},
          {x.template stride<Sequence>(), x.template stride<ValueHead>(), x.template stride<Row>(),
           x.template stride<Column>()}};
}

// What all sweeps of a case have in common: sizes, gates, element type. Throws
// std::invalid_argument where tensors are not what the sweeps take: q, k, v of one type, bf16, fp16
// or fp32, K and V from 1 to 256.
Sweep common_sweep(const DeviceInputs& x, const Options& options);

// num_steps and value_tile of a path (FusedForm) for a sweep with `value_columns` of a.
SweepForm sweep_form(const Sweep& sweep, Index value_columns, Index num_steps, Index value_tile);

inline cudaStream_t cuda_stream(const Launch& launch) {
  return static_cast<cudaStream_t>(launch.stream.handle);
}

}  // namespace groundstate::gpu::simple_gla
