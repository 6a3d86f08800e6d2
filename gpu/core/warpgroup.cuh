// Warps and warpgroups (four warps, the unit that issues wgmma) of a CTA.
#pragma once

namespace groundstate::gpu {

constexpr int warp_threads = 32, warpgroup_threads = 128;

__device__ inline int lane_index() { return static_cast<int>(threadIdx.x) % warp_threads; }
// The same for all threads of a warp, and known as such to the compiler.
__device__ inline int warp_index() {
  return __shfl_sync(~0u, static_cast<int>(threadIdx.x) / warp_threads, 0);
}

// A barrier of `threads` threads; 0 is that of __syncthreads.
template <int threads>
__device__ inline void named_barrier(int id) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "n"(threads) : "memory");
}

__device__ inline void named_barrier(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// In all lanes, in a fixed order.
__device__ inline float sum_of_warp(float x) {
  for (int distance = warp_threads / 2; distance > 0; distance /= 2)
    x += __shfl_xor_sync(~0u, x, distance);
  return x;
}

// Eight sums over groups of `lanes` lanes, a power of two of at least 8: that of y[i] in lane
// i lanes / 8 of the group and those behind it. Each lane's y is added to that of the lane half a
// group away, then a quarter, and so on.
__device__ inline float sum_of_eight(float (&y)[8], int lanes) {
  int distance = lanes / 2;
#pragma unroll
  for (int half = 4; half > 0; half /= 2, distance /= 2) {
    const bool upper = (lane_index() & distance) != 0;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const float mine = upper ? y[i + half] : y[i], other = upper ? y[i] : y[i + half];
      y[i] = mine + __shfl_xor_sync(~0u, other, distance);
    }
  }
  for (; distance > 0; distance /= 2) y[0] += __shfl_xor_sync(~0u, y[0], distance);
  return y[0];
}

// A kernel parameter that is to stay in a register: the compiler would load it at every use.
__device__ inline float in_register(float x) { return __shfl_sync(~0u, x, 0); }

// The same value, of which the compiler knows nothing: what is made of it is made here.
__device__ inline int unknown_to_compiler(int x) {
  asm volatile("" : "+r"(x));
  return x;
}

// Moves registers between warpgroups: the kernel needs __launch_bounds__(threads, 1), and each role
// is one branch.
template <int registers>
__device__ inline void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
}
template <int registers>
__device__ inline void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
}

}  // namespace groundstate::gpu
