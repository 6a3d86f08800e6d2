// dq or dk where heads share value heads: the sum over the value heads of a group, in ascending
// order, in fp32.
#pragma once

#include <cuda_runtime_api.h>

#include "gpu/simple_gla/simple_gla.hpp"

namespace groundstate::gpu::simple_gla {

// `parts` is [batch, time, value head, key]; `group` value heads share a head. Queues one kernel.
void sum_heads(const float* parts, Index group,
               const DeviceView<Any, Batch, Time, Head, Key>& gradient, cudaStream_t stream);

}  // namespace groundstate::gpu::simple_gla
