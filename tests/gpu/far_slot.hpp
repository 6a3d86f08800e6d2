// A slot whose offset has more than 32 bits: it has numbers that every type of states has; all else
// of the pool is 0.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gpu/core/buffer.hpp"
#include "gpu/core/check.hpp"
#include "reference/core/scalar.hpp"

namespace groundstate::gpu {

// Where such a slot is. In 32 bits its offset is negative, its bytes are those of a place near the
// first slot. Strides are multiples of 16 bytes.
struct FarPlace {
  Index slot, stride;  // in elements
};
inline constexpr Index beyond_31_bits = (Index{1} << 31) + 4096, slots_to_far = 18;
inline constexpr FarPlace wide_stride{1, beyond_31_bits},
    many_slots{slots_to_far - 1, beyond_31_bits / (slots_to_far - 1) / 16 * 16 + 16};
static_assert(many_slots.slot * many_slots.stride > Index{1} << 31);

class FarSlot {
 public:
  FarSlot(ElementType type, Index elements, const FarPlace& at)
      : slot_bytes_(static_cast<std::size_t>(elements) * size_of(type)),
        offset_(static_cast<std::size_t>(at.slot * at.stride) * size_of(type)),
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

// Of a step on a slot of a dense pool, and of one where the slot is far away: it and the output get
// the same bits, and the first slot keeps its own. step(pool, place, output) brings the bytes of
// its output.
template <class Step>
void expect_a_far_slot_gets_the_same_bits(ElementType type, Index elements, const Step& step) {
  for (const FarPlace& far : {wide_stride, many_slots}) {
    SCOPED_TRACE("slot " + std::to_string(far.slot));
    std::vector<std::vector<std::byte>> states, outputs(2);
    for (const FarPlace& place : {FarPlace{far.slot, elements}, far}) {
      const FarSlot slot(type, elements, place);
      const std::vector<std::byte> zeros = slot.first_slot(), before = slot.bytes();
      step(slot.pool(), place, outputs[states.size()]);
      states.push_back(slot.bytes());
      EXPECT_EQ(slot.first_slot(), zeros);
      EXPECT_NE(states.back(), before);
    }
    EXPECT_EQ(states[0], states[1]);
    EXPECT_EQ(outputs[0], outputs[1]);
  }
}

}  // namespace groundstate::gpu
