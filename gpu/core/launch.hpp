// What every entry point takes besides its tensors and options. Entry points allocate nothing, wait
// for nothing and can be captured in a graph: the memory that a kernel works in is the caller's.
#pragma once

#include <cstddef>

#include "gpu/core/stream.hpp"

namespace groundstate::gpu {

// The workspace is device memory aligned to 256 bytes, of at least the size that the entry point's
// ..._workspace() gives. It holds nothing between two launches, and two launches that may overlap
// need one each.
struct Launch {
  Stream stream;
  std::byte* workspace = nullptr;
  std::size_t workspace_bytes = 0;
};

}  // namespace groundstate::gpu
