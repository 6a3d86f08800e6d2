// A CUDA stream without the CUDA headers, so that whoever only passes one on needs no toolkit.
#pragma once

namespace groundstate::gpu {

struct Stream {
  void* handle = nullptr;  // a cudaStream_t; null is the default stream
};

}  // namespace groundstate::gpu
