// A queue of device work. The handle is a cudaStream_t; CUDA's headers are not needed to hand one
// on.
#pragma once

namespace groundstate::gpu {

struct Stream {
  void* handle = nullptr;
};

}  // namespace groundstate::gpu
