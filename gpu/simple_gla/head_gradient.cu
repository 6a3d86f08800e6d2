#include "gpu/core/check.hpp"
#include "gpu/core/element.cuh"
#include "gpu/simple_gla/head_gradient.hpp"

namespace groundstate::gpu::simple_gla {
namespace {

template <class Scalar>
__global__ void sum_value_heads(const Scalar* parts, Index group,
                                DeviceView<Any, Batch, Time, Head, Key> gradient) {
  const Index keys = gradient.extent<Key>(), heads = gradient.extent<Head>(),
              time = gradient.extent<Time>();
  const Index i = Index{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= gradient.extent<Batch>() * time * heads * keys) return;
  const Index key = i % keys, head = i / keys % heads, token = i / keys / heads;
  const Scalar* const own = parts + (token * heads + head) * group * keys + key;
  Scalar sum = own[0];
  for (Index r = 1; r < group; ++r) sum += own[r * keys];
  store(gradient, sum, Batch{token / time}, Time{token % time}, Head{head}, Key{key});
}

}  // namespace

template <class Scalar>
void sum_heads(const Scalar* parts, Index group,
               const DeviceView<Any, Batch, Time, Head, Key>& gradient, cudaStream_t stream) {
  const Index elements = gradient.extent<Batch>() * gradient.extent<Time>() *
                         gradient.extent<Head>() * gradient.extent<Key>();
  if (elements == 0) return;
  constexpr Index threads = 256;
  sum_value_heads<<<static_cast<unsigned>((elements + threads - 1) / threads), threads, 0,
                    stream>>>(parts, group, gradient);
  check(cudaGetLastError());
}

template void sum_heads(const float*, Index, const DeviceView<Any, Batch, Time, Head, Key>&,
                        cudaStream_t);
template void sum_heads(const double*, Index, const DeviceView<Any, Batch, Time, Head, Key>&,
                        cudaStream_t);

}  // namespace groundstate::gpu::simple_gla
