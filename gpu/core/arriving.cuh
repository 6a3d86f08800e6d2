// Elements on their way to registers of some threads: asked for together and early, looked at late.
//
// Written for few instructions and few waits. A kernel that runs once for each token of a model
// finds its instructions as cold as its data: thousands of them for rare cases cost microseconds.
// And of two predicated loads to one register the second waits for all loads that are under way, so
// that a list would take as many latencies as it has elements: the halves of a word are loaded
// apart.
#pragma once

#include "gpu/core/element.cuh"

namespace groundstate::gpu {

// Threads that share a job, counted from 0.
struct Crew {
  int thread, threads;
};

// A matrix in memory, as a list of its elements, row by row.
struct ElementList {
  ElementType type;
  const void* data;
  Index first;         // the number of element [0][0]
  Index outer, inner;  // strides, of rows and columns
  int columns;

  struct Place {
    int row, column;
  };
  __device__ Place place(int i) const {
    Place at{0, i};
    for (; at.column >= columns; at.column -= columns) ++at.row;  // few: no division
    return at;
  }
  __device__ Index offset(int i) const {
    const Place at = place(i);
    return first + at.row * outer + at.column * inner;
  }
};

// An element of fp64 as float.
__device__ __noinline__ inline float narrowed(const void* data, Index i) {
  return static_cast<float>(static_cast<const double*>(data)[i]);
}

// The elements first, ..., first + each x threads - 1 of a list of `count`, `each` a thread. fp64
// is waited for.
template <int each>
class Arriving {
 public:
  __device__ Arriving(Crew crew, int first, int count, const ElementList& list) {
    const bool wide = list.type == ElementType::float64, two = list.type == ElementType::float32;
#pragma unroll
    for (int k = 0; k < each; ++k) {
      const int i = first + crew.thread + k * crew.threads;
      const Index offset = list.offset(i);
      if (wide) {
        const auto bits =
            i < count ? __float_as_uint(narrowed(list.data, offset)) : std::uint32_t{0};
        low_[k] = bits & 0xffff;
        high_[k] = bits >> 16;
      } else {
        const auto* const word =
            static_cast<const std::uint16_t*>(list.data) + (two ? 2 * offset : offset);
        low_[k] = load_word(word, i < count);
        high_[k] = load_word(word + 1, i < count && two);
      }
    }
  }
  // Calls use(place, value).
  template <class Use>
  __device__ void for_each(Crew crew, int first, int count, const ElementList& list,
                           const Use& use) const {
#pragma unroll
    for (int k = 0; k < each; ++k) {
      const int i = first + crew.thread + k * crew.threads;
      if (i < count) use(list.place(i), from_bits(list.type, low_[k] | high_[k] << 16));
    }
  }

 private:
  std::uint32_t low_[each], high_[each];
};

// Calls use(place, value) for the whole list: those at its beginning that are here, and the rest.
template <int each, class Use>
__device__ void for_each_arriving(const Arriving<each>& here, Crew crew, int count,
                                  const ElementList& list, const Use& use) {
  here.for_each(crew, 0, count, list, use);
#pragma unroll 1
  for (int first = each * crew.threads; first < count; first += each * crew.threads)
    Arriving<each>(crew, first, count, list).for_each(crew, first, count, list, use);
}

}  // namespace groundstate::gpu
