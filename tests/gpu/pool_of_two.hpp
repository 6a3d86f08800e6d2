// A pool of two slots, for offsets of more than 32 bits: the second begins `stride` elements behind
// the first and has numbers that every type of states has; all else is 0.
#pragma once

#include <gtest/gtest.h>

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

inline std::vector<std::byte> bytes_of(const Buffer& memory) {
  std::vector<std::byte> host(memory.size());
  memory.download(host.data(), host.size());
  return host;
}

// Of a step on the second slot of a dense pool, and of one in which that is far behind the first:
// the slot and the output get the same bits, and the first slot keeps its own. step(pool, stride,
// output) brings the bytes of its output.
template <class Step>
void expect_a_far_slot_gets_the_same_bits(ElementType type, Index elements, const Step& step) {
  std::vector<std::vector<std::byte>> states, outputs(2);
  for (const Index stride : {elements, beyond_31_bits}) {
    const PoolOfTwo pool(type, elements, stride);
    const std::vector<std::byte> zeros = pool.slot(0), before = pool.slot(1);
    step(pool.data(), stride, outputs[states.size()]);
    states.push_back(pool.slot(1));
    EXPECT_EQ(pool.slot(0), zeros);
    EXPECT_NE(states.back(), before);
  }
  EXPECT_EQ(states[0], states[1]);
  EXPECT_EQ(outputs[0], outputs[1]);
}

}  // namespace groundstate::gpu
