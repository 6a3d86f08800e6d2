// What a thread that works on a part of one state loads by itself: elements and pieces of rows of
// tensors whose type is known at run time. Strides are in bytes and multiplied out on the host, so
// that a load costs few instructions: a decode step has no time for many.
#pragma once

#include <bit>

#include "gpu/core/element.cuh"

namespace groundstate::gpu {

// n / d for n and d of at most 16 bits, by one multiplication.
class Divisor {
 public:
  explicit Divisor(Index d = 1)
      : reciprocal_(((std::uint64_t{1} << 32) + static_cast<std::uint64_t>(d) - 1) /
                    static_cast<std::uint64_t>(d)) {}
  __device__ int quotient(unsigned n) const { return static_cast<int>(n * reciprocal_ >> 32); }

 private:
  std::uint64_t reciprocal_;  // times 2^32, rounded up: too large by less than n / 2^32 < 1 / d
};

// Of what a Divisor takes, and of CTAs along y and z of a grid.
inline constexpr Index most_ctas = 65535;

// from + i * stride in global memory, by one instruction: left to itself the compiler widens i,
// which it knows to be no less than 0, to 64 bits and multiplies in four.
template <class Data>
__device__ Data* stepped(Data* from, int i, int stride) {
  const std::size_t address = __cvta_generic_to_global(from);
  std::size_t result = 0;
  asm("mad.wide.s32 %0, %1, %2, %3;" : "=l"(result) : "r"(i), "r"(stride), "l"(address));
  return static_cast<Data*>(__cvta_global_to_generic(result));
}

// The line of 128 bytes that has this byte goes to the L2; nobody waits for it.
__device__ inline void fetch_line(const std::byte* from) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(__cvta_generic_to_global(from)));
}

// A stride of elements in bytes, as stepped() takes it; clears `fits` where 32 bits do not do.
inline int byte_stride(Index stride, Index size, bool& fits) {
  const auto bytes = static_cast<int>(stride * size);
  fits = fits && bytes == stride * size;
  return bytes;
}

// A tensor of one token as [sequence][head][channel]; none where `data` is null. Strides are in
// bytes, of 32 bits: one multiplication each.
struct TokenRows {
  std::byte* data = nullptr;
  int sequence = 0, head = 0, channel = 0;
  int size = 0;  // of an element: 2, 4, or 0 where there is none
  bool is_fp16 = false;
  bool fits = true;  // the strides, and the type is not fp64

  // Strides in elements.
  static TokenRows of(ElementType type, const void* data, Index sequence, Index head,
                      Index channel) {
    if (data == nullptr) return {};
    const auto size = static_cast<Index>(size_of(type));
    TokenRows rows{static_cast<std::byte*>(const_cast<void*>(data))};
    rows.sequence = byte_stride(sequence, size, rows.fits);
    rows.head = byte_stride(head, size, rows.fits);
    rows.channel = byte_stride(channel, size, rows.fits);
    rows.size = static_cast<int>(size);
    rows.is_fp16 = type == ElementType::float16;
    rows.fits = rows.fits && size <= 4;
    return rows;
  }
  template <class HeadAxis, class ChannelAxis, class View>
  static TokenRows of(const View& x) {
    if (!x) return {};
    return of(x.type(), x.data(), 0, x.template stride<HeadAxis>(),
              x.template stride<ChannelAxis>());
  }
  template <class SequenceAxis, class HeadAxis, class ChannelAxis, class View>
  static TokenRows of(const View& x) {
    if (!x) return {};
    return of(x.type(), x.data(), x.template stride<SequenceAxis>(), x.template stride<HeadAxis>(),
              x.template stride<ChannelAxis>());
  }
  // Whether every row is adjacent elements, aligned to 16 bytes.
  bool has_aligned_rows() const {
    return channel == size && reinterpret_cast<std::size_t>(data) % 16 == 0 && sequence % 16 == 0 &&
           head % 16 == 0;
  }
  __device__ std::byte* element(int at, int of_head, int i) const {
    return stepped(stepped(stepped(data, at, sequence), of_head, head), i, channel);
  }
  // The bits of an element, 0 where there is none; not waited for.
  __device__ std::uint32_t bits(int at, int of_head, int i, bool exists = true) const {
    return load_bits(element(at, of_head, i), exists ? size : 0);
  }
  __device__ float value(std::uint32_t bits) const {
    if (is_fp16) return widened(fp16::from_bits(static_cast<std::uint16_t>(bits)));
    return __uint_as_float(size == 2 ? bits << 16 : bits);
  }
  // Rounded once to nearest.
  __device__ void store(int at, int of_head, int i, float y) const {
    std::byte* const to = element(at, of_head, i);
    if (size == 4)
      *reinterpret_cast<float*>(to) = y;
    else
      *reinterpret_cast<std::uint16_t*>(to) =
          is_fp16 ? rounded<fp16>(y).bits() : rounded<bf16>(y).bits();
  }
};

template <class... Rows>
bool fit(const Rows&... rows) {
  return (rows.fits && ...);
}

// `count` adjacent elements, 4 or 8 of them, from an address aligned to 16 bytes or, of four
// 16-bit elements, 8.
template <int count>
class ArrivingPiece {
 public:
  __device__ ArrivingPiece(const TokenRows& rows, const std::byte* from)
      : is_wide_(rows.size == 4), is_fp16_(rows.is_fp16) {
    const auto* const words = reinterpret_cast<const std::uint32_t*>(from);
    if (is_wide_) {
#pragma unroll
      for (int i = 0; i < count; i += 4) load<4>(words + i, i);
    } else {
      load<count / 2>(words, 0);
    }
  }
  __device__ void widen(float (&x)[count]) const {
    if (is_wide_) {
#pragma unroll
      for (int i = 0; i < count; ++i) x[i] = __uint_as_float(word_[i]);
    } else if (is_fp16_) {
#pragma unroll
      for (int i = 0; i < count; ++i)
        x[i] = widened(fp16::from_bits(static_cast<std::uint16_t>(word_[i / 2] >> i % 2 * 16)));
    } else {
#pragma unroll
      for (int i = 0; i < count; ++i)
        x[i] = __uint_as_float(i % 2 == 0 ? word_[i / 2] << 16 : word_[i / 2] & 0xffff0000);
    }
  }

 private:
  template <int words>
  __device__ void load(const std::uint32_t* from, int to) {
    if constexpr (words == 4) {
      const uint4 own = *reinterpret_cast<const uint4*>(from);
      word_[to] = own.x, word_[to + 1] = own.y, word_[to + 2] = own.z, word_[to + 3] = own.w;
    } else {
      const uint2 own = *reinterpret_cast<const uint2*>(from);
      word_[to] = own.x, word_[to + 1] = own.y;
    }
  }
  std::uint32_t word_[count];
  bool is_wide_, is_fp16_;
};

// Two floats as two elements of 16 bits, the first in the lower half: rounded once to nearest, by
// one instruction.
template <class Stored>
__device__ std::uint32_t pair_of(float first, float second) {
  if constexpr (std::is_same_v<Stored, bf16>) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
    return reinterpret_cast<const std::uint32_t&>(pair);
  } else {
    const __half2 pair = __floats2half2_rn(first, second);
    return reinterpret_cast<const std::uint32_t&>(pair);
  }
}

// Adjacent elements of a state as floats, and back: 16 bytes unless `own_count` says otherwise.
template <class Stored, int own_count = 16 / static_cast<int>(sizeof(Stored))>
struct StatePiece {
  static constexpr int count = own_count, bytes = count * static_cast<int>(sizeof(Stored)),
                       words = bytes / 4, of_word = count / words;
  static_assert(bytes == 8 || bytes == 16);
  using Bits = std::conditional_t<bytes == 16, uint4, uint2>;

  static __device__ void widen(Bits bits, float (&s)[count]) {
    const auto word = std::bit_cast<Words>(bits);
#pragma unroll
    for (int i = 0; i < words; ++i)
      if constexpr (of_word == 1) {
        s[i] = __uint_as_float(word.at[i]);
      } else {
        s[2 * i] = widened(Stored::from_bits(static_cast<std::uint16_t>(word.at[i])));
        s[2 * i + 1] = widened(Stored::from_bits(static_cast<std::uint16_t>(word.at[i] >> 16)));
      }
  }
  static __device__ Bits narrow(const float (&s)[count]) {
    Words word;
#pragma unroll
    for (int i = 0; i < words; ++i)
      if constexpr (of_word == 1)
        word.at[i] = __float_as_uint(s[i]);
      else
        word.at[i] = pair_of<Stored>(s[2 * i], s[2 * i + 1]);
    return std::bit_cast<Bits>(word);
  }

 private:
  struct alignas(bytes) Words {
    std::uint32_t at[words];
  };
};

}  // namespace groundstate::gpu
