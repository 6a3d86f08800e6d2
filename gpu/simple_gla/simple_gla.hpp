#pragma once
#include <cuda_runtime_api.h>
#include "gpu/core/element_stub.cuh"
#include "reference/simple_gla/contract.hpp"
namespace groundstate::simple_gla::gpu {
template <class T>
using Storage = Elements<T, Any, Any, Any>;
struct FusedForm { int num_steps = 4, value_tile = 0, segments = 1; };
struct Launch { cudaStream_t stream = nullptr; std::byte* workspace = nullptr; std::size_t workspace_bytes = 0; };
template <class T>
int fused(const Inputs<Space::device, Storage<T>>& x, const Options& o, const Outputs<Space::device, Storage<T>>& y, const FusedForm&, const Launch&);
std::size_t fused_workspace(const Shape&, const FusedForm&);
}
