// Elements of index tensors, for lane() and destination() of reference/core/lane.hpp: looked at at
// once, or on their way while a kernel does something else.
#pragma once

#include "gpu/core/element.cuh"

namespace groundstate::gpu {

struct LoadIndex {
  template <class View, class... Axes>
  __device__ Index operator()(const View& view, Axes... at) const {
    return load_integer(view, at...);
  }
};

// An element that is asked for and not waited for. Its words come apart: a branch on the type would
// wait, and so would the second of two predicated loads to one register.
class ArrivingIndex {
 public:
  template <class... Axes>
  __device__ ArrivingIndex(const DeviceView<const Any, Axes...>& view, bool exists, Axes... at)
      : wide_(view.type() == ElementType::int64) {
    const auto* const words = static_cast<const std::int32_t*>(view.data());
    const auto* const from = words + (view.offset(at...) << int{wide_});
    low_ = word(from, exists);
    high_ = word(from + 1, exists && wide_);
  }
  __device__ Index value() const {
    return wide_ ? static_cast<Index>(std::uint64_t{high_} << 32 | low_)
                 : static_cast<std::int32_t>(low_);
  }

 private:
  static __device__ std::uint32_t word(const std::int32_t* from, bool exists) {
    std::uint32_t bits = 0;
    asm volatile("{.reg .pred p; setp.ne.s32 p, %2, 0;\n@p ld.global.b32 %0, [%1];}\n"
                 : "+r"(bits)
                 : "l"(from), "r"(int{exists}));
    return bits;
  }
  std::uint32_t low_, high_;
  bool wide_;
};

}  // namespace groundstate::gpu
