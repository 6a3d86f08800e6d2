// Copies from device to shared memory that a thread does not wait for (cp.async): they are there
// for it after wait_copies(), for others after a barrier behind that.
#pragma once

#include <cstdint>

namespace groundstate::gpu {

// Copies `count` of `bytes` bytes (4 or 16, the alignment of both addresses) and fills up with
// zeros. Without any, `from` is not read.
template <int bytes>
__device__ inline void copy_async(void* to, const void* from, int count) {
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  if constexpr (bytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
                 "r"(count)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(address), "l"(from),
                 "n"(bytes), "r"(count)
                 : "memory");
}
// Until all of the thread's copies are there.
__device__ inline void wait_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

}  // namespace groundstate::gpu
