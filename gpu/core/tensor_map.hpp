// What the copy engine needs to know of a tensor in device memory.
#pragma once

#include <cuda.h>

#include <array>

#include "reference/core/axis.hpp"
#include "reference/core/scalar.hpp"

namespace groundstate::gpu {

// The copy engine takes rows whose elements are adjacent, from 16-byte aligned addresses, with
// positive strides that are multiples of 16 bytes.
bool copy_engine_takes(const void* data, ElementType type, const std::array<Index, 4>& extents,
                       const std::array<Index, 4>& strides);

// Blocks of 64 x 64 16-bit elements, swizzled as tensor_core.cuh wants them, of a tensor
// [batch, time, head, column]; coordinates are (column, head, time, batch). What lies outside of
// the tensor arrives as zeros. Throws std::runtime_error when the driver refuses.
CUtensorMap block_map(const void* data, ElementType type, const std::array<Index, 4>& extents,
                      const std::array<Index, 4>& strides);

}  // namespace groundstate::gpu
