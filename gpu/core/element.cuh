// One element of run-time type on the device.
//
//   load<Scalar>(...)   widened exactly, then rounded once where Scalar is narrower (fp64 as float)
//   store(...)          rounded once, to nearest, ties to even
//
// The bits are those of reference/core/scalar.hpp on the host, NaN payloads apart. Integers are
// read as they are. The type is the same for all threads, so the branch costs no divergence.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "reference/core/scalar.hpp"
#include "reference/core/view.hpp"

namespace groundstate::gpu {

// ---- 16-bit numbers and their bits

__device__ inline float widened(bf16 x) {
  return __uint_as_float(static_cast<unsigned>(x.bits()) << 16);
}
__device__ inline float widened(fp16 x) { return __half2float(__ushort_as_half(x.bits())); }

template <class Stored>
__device__ Stored rounded(float x) {
  if constexpr (std::is_same_v<Stored, bf16>)
    return bf16::from_bits(__bfloat16_as_ushort(__float2bfloat16_rn(x)));
  else if constexpr (std::is_same_v<Stored, fp16>)
    return fp16::from_bits(__half_as_ushort(__float2half_rn(x)));
  else
    return static_cast<Stored>(x);
}
// By way of float a double would be rounded twice.
template <class Stored>
__device__ Stored rounded(double x) {
  return Stored(x);
}

template <class Scalar, class Stored>
__device__ Scalar load(const Stored& x) {
  if constexpr (sizeof(Stored) == 2)
    return widened(x);
  else
    return static_cast<Scalar>(x);
}

// ---- element `index` of an array

// Calls use(array of its type), for the four floating types.
template <class Data, class Use>
__device__ auto with_type(ElementType type, Data* data, Use&& use) {
  const auto as = [&]<class Stored>(Stored) {
    return use(
        static_cast<std::conditional_t<std::is_const_v<Data>, const Stored*, Stored*>>(data));
  };
  switch (type) {
    case ElementType::float64:
      return as(double{});
    case ElementType::bfloat16:
      return as(bf16{});
    case ElementType::float16:
      return as(fp16{});
    default:
      return as(float{});
  }
}

template <class Scalar>
__device__ Scalar load(ElementType type, const void* data, Index index) {
  return with_type(type, data, [&](const auto* x) { return load<Scalar>(x[index]); });
}
template <class Scalar>
__device__ void store(ElementType type, void* data, Index index, Scalar x) {
  with_type(type, data, [&]<class Stored>(Stored* y) { y[index] = rounded<Stored>(x); });
}
__device__ inline Index load_integer(ElementType type, const void* data, Index index) {
  return type == ElementType::int32 ? static_cast<const std::int32_t*>(data)[index]
                                    : static_cast<const std::int64_t*>(data)[index];
}

// ---- elements of views

template <class Scalar, class... Axes>
__device__ Scalar load(const DeviceView<const Any, Axes...>& x, Axes... at) {
  return load<Scalar>(x.type(), x.data(), x.offset(at...));
}
template <class Scalar, class... Axes>
__device__ void store(const DeviceView<Any, Axes...>& y, Scalar x, Axes... at) {
  store<Scalar>(y.type(), y.data(), y.offset(at...), x);
}
template <class... Axes>
__device__ Index load_integer(const DeviceView<const Any, Axes...>& x, Axes... at) {
  return load_integer(x.type(), x.data(), x.offset(at...));
}

// ---- loads that nothing waits for

// 4, 2 or 0 bytes.
__device__ inline std::uint32_t load_bits(const void* address, int bytes) {
  std::uint32_t bits = 0;
  asm volatile(
      "{.reg .pred p, q; setp.eq.s32 p, %2, 4; setp.eq.s32 q, %2, 2;\n"
      "@p ld.global.b32 %0, [%1];\n"
      "@q ld.global.u16 %0, [%1];}\n"
      : "+r"(bits)
      : "l"(address), "r"(bytes));
  return bits;
}
// As float: fp32 or a 16-bit type.
__device__ inline float from_bits(ElementType type, std::uint32_t bits) {
  const auto half = static_cast<std::uint16_t>(bits);
  return type == ElementType::bfloat16  ? widened(bf16::from_bits(half))
         : type == ElementType::float16 ? widened(fp16::from_bits(half))
                                        : __uint_as_float(bits);
}
// Two bytes, or 0 where `exists` is false: a predicated load without a branch.
__device__ inline std::uint32_t load_word(const std::uint16_t* address, bool exists) {
  std::uint32_t bits = 0;
  asm volatile("{.reg .pred p; setp.ne.s32 p, %2, 0; @p ld.global.u16 %0, [%1];}"
               : "+r"(bits)
               : "l"(address), "r"(static_cast<int>(exists)));
  return bits;
}
// The bits of an element, or 0 where `exists` is false: a predicated load without a branch, so that
// many can travel together and none is waited for before from_bits(). (fp64 waits: it is narrowed.)
template <class... Axes>
__device__ std::uint32_t load_bits(const DeviceView<const Any, Axes...>& x, bool exists,
                                   Axes... at) {
  if (x.type() == ElementType::float64) return exists ? __float_as_uint(load<float>(x, at...)) : 0;
  const Index size = x.type() == ElementType::float32 ? 4 : 2;
  return load_bits(static_cast<const std::byte*>(x.data()) + x.offset(at...) * size,
                   exists ? static_cast<int>(size) : 0);
}

}  // namespace groundstate::gpu
