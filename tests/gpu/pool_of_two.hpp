// A pool of two slots, for offsets of more than 32 bits: the second begins `stride` elements behind
// the first and has numbers that every type of states has; all else is 0.
#pragma once

#include <vector>

#include "gpu/core/buffer.hpp"
#include "gpu/core/check.hpp"
#include "reference/core/scalar.hpp"

namespace groundstate::gpu {

// A multiple of 16 bytes. In 32 bits it is negative, its bytes are those of a place near the first
// slot.
inline constexpr Index beyond_31_bits = (Index{1} << 31) + 4096;

class PoolOfTwo {
 public:
  PoolOfTwo(ElementType type, Index elements, Index stride)
      : slot_bytes_(static_cast<std::size_t>(elements) * size_of(type)),
        stride_bytes_(static_cast<std::size_t>(stride) * size_of(type)),
        memory_("pool", stride_bytes_ + slot_bytes_, 0) {
    std::vector<std::byte> host(slot_bytes_);
    for (Index i = 0; i < elements; ++i)
      store_element(type, host.data(), i, static_cast<double>(i % 37 - 18));
    check(cudaMemcpy(memory_.data() + stride_bytes_, host.data(), slot_bytes_,
                     cudaMemcpyHostToDevice));
    synchronize();
  }
  std::byte* data() const { return memory_.data(); }
  std::vector<std::byte> slot(std::size_t i) const {
    std::vector<std::byte> host(slot_bytes_);
    check(cudaMemcpy(host.data(), data() + i * stride_bytes_, slot_bytes_, cudaMemcpyDeviceToHost));
    return host;
  }

 private:
  std::size_t slot_bytes_, stride_bytes_;
  Buffer memory_;
};

}  // namespace groundstate::gpu
