// The one way to call CUDA: check(cudaMalloc(...)) throws std::runtime_error that names the failure
// and the place of the call.
#pragma once

#include <cuda_runtime_api.h>

#include <source_location>
#include <stdexcept>
#include <string>

namespace groundstate::gpu {

inline void check(cudaError_t status,
                  std::source_location where = std::source_location::current()) {
  if (status == cudaSuccess) return;
  throw std::runtime_error(std::string(where.file_name()) + ":" + std::to_string(where.line()) +
                           ": CUDA: " + cudaGetErrorName(status) + ": " +
                           cudaGetErrorString(status));
}

}  // namespace groundstate::gpu
