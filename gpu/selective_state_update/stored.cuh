// What both kernels read: elements of a pool, widened exactly.
#pragma once

#include <cuda_fp8.h>

#include "gpu/core/load_index.cuh"
#include "gpu/selective_state_update/selective_state_update.hpp"

namespace groundstate::gpu::selective_state_update {

template <class Scalar, class Stored>
__device__ Scalar widen(const Stored& x) {
  if constexpr (std::is_same_v<Stored, fp8>)
    return __half2float(__half(__nv_cvt_fp8_to_halfraw(x.bits(), __NV_E4M3)));
  else if constexpr (std::is_integral_v<Stored>)
    return static_cast<Scalar>(x);
  else
    return load<Scalar>(x);
}

}  // namespace groundstate::gpu::selective_state_update
