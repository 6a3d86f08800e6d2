// Barriers in shared memory (mbarrier) between the warps of a CTA and the copy engine, and the
// position of a warp in a ring of stages.
//
// A ring of n stages has a `full` and an `empty` barrier a stage. The one that fills waits for
// empty, the one that reads waits for full; both walk the ring with a RingPosition of their own.
#pragma once

#include <cstdint>
#include <cuda/ptx>

#include "gpu/core/warpgroup.cuh"

namespace groundstate::gpu {

class Barrier {
 public:
  // By one thread, before a fence_barrier_init() and a __syncthreads().
  __device__ void init(unsigned arrivals) { cuda::ptx::mbarrier_init(&word_, arrivals); }
  __device__ void arrive() { cuda::ptx::mbarrier_arrive(&word_); }
  // Arrives, and makes the phase wait for `bytes` of the copy engine as well.
  __device__ void arrive_expecting(unsigned bytes) {
    cuda::ptx::mbarrier_arrive_expect_tx(cuda::ptx::sem_release, cuda::ptx::scope_cta,
                                         cuda::ptx::space_shared, &word_, bytes);
  }
  // Until the phase of this parity is complete. A fresh barrier is in phase 0: waiting for parity 1
  // returns at once.
  __device__ void wait(unsigned parity) {
    while (!cuda::ptx::mbarrier_try_wait_parity(&word_, parity)) {
    }
  }
  __device__ std::uint64_t* word() { return &word_; }

 private:
  std::uint64_t word_;
};

__device__ inline void fence_barrier_init() {
  cuda::ptx::fence_mbarrier_init(cuda::ptx::sem_release, cuda::ptx::scope_cluster);
}

// Ordinary stores to shared memory of this thread become visible to the tensor cores and the copy
// engine; every writing thread needs it before the barrier that hands the data over.
__device__ inline void fence_async_proxy() {
  cuda::ptx::fence_proxy_async(cuda::ptx::space_shared);
}

struct RingPosition {
  int stage = 0;
  unsigned phase = 0;

  __device__ void advance(int stages) {
    if (++stage == stages) {
      stage = 0;
      phase ^= 1;
    }
  }
  __device__ unsigned full() const { return phase; }
  __device__ unsigned empty() const { return phase ^ 1; }
};

}  // namespace groundstate::gpu
