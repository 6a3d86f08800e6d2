// A slot whose offset has more than 32 bits, in a pool whose slots are `stride` elements apart: it
// has numbers that every type of states has; all else is 0.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "gpu/core/buffer.hpp"
#include "gpu/core/check.hpp"
#include "reference/core/scalar.hpp"

namespace groundstate::gpu {

inline constexpr Index far_slot = 17, slots_to_far = far_slot + 1;
// A multiple of 16 bytes, of fewer than 2^31. In 32 bits the slot's offset is negative, its bytes
// are those of a place near the first slot.
inline constexpr Index far_stride = ((Index{1} << 31) + 4096 * far_slot) / far_slot / 16 * 16;
static_assert(far_slot * far_stride > Index{1} << 31 && 4 * far_stride < Index{1} << 31);

class FarSlot {
 public:
  FarSlot(ElementType type, Index elements, Index stride)
      : slot_bytes_(static_cast<std::size_t>(elements) * size_of(type)),
        offset_(static_cast<std::size_t>(far_slot * stride) * size_of(type)),
        pool_("pool", offset_ + slot_bytes_, 0) {
    std::vector<std::byte> host(slot_bytes_);
    for (Index i = 0; i < elements; ++i)
      store_element(type, host.data(), i, static_cast<double>(i % 37 - 18));
    check(cudaMemcpy(pool() + offset_, host.data(), slot_bytes_, cudaMemcpyHostToDevice));
    synchronize();
  }
  std::byte* pool() const { return pool_.data(); }
  std::vector<std::byte> bytes() const { return bytes_at(offset_); }
  std::vector<std::byte> first_slot() const { return bytes_at(0); }

 private:
  std::vector<std::byte> bytes_at(std::size_t offset) const {
    std::vector<std::byte> host(slot_bytes_);
    check(cudaMemcpy(host.data(), pool() + offset, slot_bytes_, cudaMemcpyDeviceToHost));
    return host;
  }

  std::size_t slot_bytes_, offset_;
  Buffer pool_;
};

inline std::vector<std::byte> bytes_of(const Buffer& memory) {
  std::vector<std::byte> host(memory.size());
  memory.download(host.data(), host.size());
  return host;
}

// Of a step on far_slot of a dense pool, and of one where it is beyond 2^31 elements: it and the
// output get the same bits, and the first slot keeps its own. step(pool, stride, output) brings the
// bytes of its output.
template <class Step>
void expect_a_far_slot_gets_the_same_bits(ElementType type, Index elements, const Step& step) {
  std::vector<std::vector<std::byte>> states, outputs(2);
  for (const Index stride : {elements, far_stride}) {
    const FarSlot slot(type, elements, stride);
    const std::vector<std::byte> zeros = slot.first_slot(), before = slot.bytes();
    step(slot.pool(), stride, outputs[states.size()]);
    states.push_back(slot.bytes());
    EXPECT_EQ(slot.first_slot(), zeros);
    EXPECT_NE(states.back(), before);
  }
  EXPECT_EQ(states[0], states[1]);
  EXPECT_EQ(outputs[0], outputs[1]);
}

}  // namespace groundstate::gpu
