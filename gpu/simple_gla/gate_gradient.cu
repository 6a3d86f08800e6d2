#include "gpu/core/check.hpp"
#include "gpu/simple_gla/gate_gradient.hpp"

namespace groundstate::gpu::simple_gla {
namespace {

constexpr int slices_of_chunk = 8, most_slices = slices_of_chunk * most_group, heads_of_block = 32;

// A block has one group of chunks and 32 heads, a thread 8 of its tokens.
__global__ void group_gradient(const __grid_constant__ GateGradient a) {
  __shared__ float later_sums[most_slices][heads_of_block];
  __shared__ double partial[most_slices][heads_of_block];
  const Index slot = blockIdx.x, head = Index{blockIdx.y} * heads_of_block + threadIdx.x;
  const int slice = static_cast<int>(threadIdx.y), slices = static_cast<int>(blockDim.y);
  // The sequence whose slots include this one: the last that does not begin behind it.
  const auto first_slot = [&](int n) {
    return group_slot(a.key.group, n, a.offsets ? load_integer(a.offsets, Offset{n}) : n * a.time,
                      0);
  };
  int low = 0, high = static_cast<int>(a.sequences);
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (first_slot(middle) <= slot ? low : high) = middle;
  }
  const TokenRange range = token_range(a.order, a.time, a.offsets, low, 0, 1);
  const int first = static_cast<int>(slot - first_slot(low)) * a.key.group * chunk_length;
  const bool used = first < range.length && head < a.heads;
  const int tokens = used ? min(range.length - first, a.key.group * chunk_length) : 0;
  const int last_chunk = (tokens - 1) / chunk_length * chunk_length;
  // Token `place` of the group in the order of the forward.
  const auto token_at = [&](int place) {
    const int t = first + place;
    return a.order.reverse ? range.begin + range.length - 1 - t : range.begin + t;
  };
  const auto sum_of = [&](const float* dots, int token) {
    float sum = 0;
    for (Index b = 0; b < a.blocks; ++b)
      sum += dots[((b * a.batch + range.batch) * a.time + token) * a.heads + head];
    return sum;
  };
  constexpr int each = chunk_length / slices_of_chunk;
  float raw[each], later = 0;
  bool forgets[each];  // such a token passes no gradient to its gate
#pragma unroll
  for (int i = 0; i < each; ++i) {
    const int place = slice * each + i;
    raw[i] = 0;
    forgets[i] = false;
    if (place >= tokens) continue;
    const int token = token_at(place);
    raw[i] = sum_of(a.query.dots, token) - sum_of(a.key.dots, token);
    forgets[i] = expf(clamped_log_decay(a.gates, range.batch, token, head)) == 0;
  }
#pragma unroll
  for (int i = 0; i < each; ++i) later += raw[i];
  later_sums[slice][threadIdx.x] = later;
  float product = 0, dots = 0;
  if (used) {
    const Index count = a.blocks * a.warps;
    for (Index b = 0; b < count; ++b) {
      const float2 own = a.key.products[(slot * a.heads + head) * count + b];
      product += own.x;
      dots += own.y;
    }
    // Late gates of the chunk leave out that of its first token.
    product *= expf(clamped_log_decay(a.gates, range.batch, token_at(last_chunk), head));
  }
  __syncthreads();
  later = product + dots;
  for (int s = slices - 1; s > slice; --s) later += later_sums[s][threadIdx.x];
  double total = 0;
#pragma unroll
  for (int i = each - 1; i >= 0; --i) {
    const int place = slice * each + i;
    later += raw[i];
    if (place >= tokens) continue;
    const float gradient = forgets[i] ? 0 : later;
    total += gradient;
    if (a.log_decay)
      store(a.log_decay, gradient, Batch{range.batch}, Time{token_at(place)}, ValueHead{head});
  }
  partial[slice][threadIdx.x] = total;
  __syncthreads();
  if (slice > 0 || head >= a.heads) return;
  for (int s = 1; s < slices; ++s) total += partial[s][threadIdx.x];
  a.partials[slot * a.heads + head] = total;
}

// A block has one head. The order of the sum depends on nothing but the number of slots.
constexpr int summing_threads = 128;
__global__ void sum_partials(const double* partials, Index slots, Index heads,
                             DeviceView<Any, ValueHead> gradient) {
  __shared__ double sums[summing_threads];
  double sum = 0;
#pragma unroll 8
  for (Index slot = threadIdx.x; slot < slots; slot += summing_threads)
    sum += partials[slot * heads + blockIdx.x];
  sums[threadIdx.x] = sum;
  for (unsigned half = summing_threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x == 0) store(gradient, sums[0], ValueHead{blockIdx.x});
}

}  // namespace

void gate_gradient(const GateGradient& x, cudaStream_t stream) {
  const Index slots = x.slots();
  if (slots > 0 && x.heads > 0) {
    const dim3 grid(static_cast<unsigned>(slots),
                    static_cast<unsigned>((x.heads + heads_of_block - 1) / heads_of_block));
    const dim3 block(heads_of_block, static_cast<unsigned>(slices_of_chunk * x.key.group));
    group_gradient<<<grid, block, 0, stream>>>(x);
    check(cudaGetLastError());
  }
  if (x.constant && x.heads > 0) {
    sum_partials<<<static_cast<unsigned>(x.heads), summing_threads, 0, stream>>>(
        x.partials, slots, x.heads, x.constant);
    check(cudaGetLastError());
  }
}

}  // namespace groundstate::gpu::simple_gla
