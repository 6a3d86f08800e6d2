#include <algorithm>

#include "gpu/core/check.hpp"
#include "gpu/core/generate.hpp"
#include "reference/core/philox.hpp"
#include "reference/core/scalar.hpp"

namespace groundstate::gpu {
namespace {

template <class T>
__global__ void fill(DeviceView<T, Offset> x, RandomStream stream) {
  const Index threads = Index{gridDim.x} * blockDim.x;
  for (Index i = Index{blockIdx.x} * blockDim.x + threadIdx.x; i < x.template extent<Offset>();
       i += threads)
    x(Offset{i}) = T(stream.normal(static_cast<std::uint64_t>(i)));
}

}  // namespace

template <class T>
void fill_normal(const DeviceView<T, Offset>& x, std::uint64_t seed, std::string_view name) {
  const Index elements = x.template extent<Offset>();
  if (elements == 0) return;  // a grid without blocks is an error to CUDA
  constexpr Index block = 256, most_blocks = 1 << 16;
  const auto blocks = static_cast<unsigned>(std::min((elements + block - 1) / block, most_blocks));
  fill<<<blocks, block>>>(x, RandomStream(seed, name));
  check(cudaGetLastError());
}

template void fill_normal(const DeviceView<double, Offset>&, std::uint64_t, std::string_view);
template void fill_normal(const DeviceView<float, Offset>&, std::uint64_t, std::string_view);
template void fill_normal(const DeviceView<bf16, Offset>&, std::uint64_t, std::string_view);
template void fill_normal(const DeviceView<fp16, Offset>&, std::uint64_t, std::string_view);

}  // namespace groundstate::gpu
