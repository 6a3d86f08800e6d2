// dq or dk where value heads share a head: the sum over those of a group, in ascending order, in
// the type of the parts.
#pragma once

#include <cuda_runtime_api.h>

#include "gpu/simple_gla/simple_gla.hpp"

namespace groundstate::gpu::simple_gla {

// `parts` is [batch, time, value head, key]; `group` value heads share a head. Queues one kernel.
template <class Scalar>
void sum_heads(const Scalar* parts, Index group,
               const DeviceView<Any, Batch, Time, Head, Key>& gradient, cudaStream_t stream);

}  // namespace groundstate::gpu::simple_gla
