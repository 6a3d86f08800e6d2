// Storage formats and their rounding: IEEE 754 binary16, bfloat16, fp8 (e4m3fn), and TF32 (an
// operand format only).
//
//   round_to<Format>(x)   nearest value of the format, ties to even; overflow to infinity; gradual
//                         underflow; signed zeros, infinities and NaN kept (a NaN stays a NaN).
//
// A double is rounded once, straight to the target: going through float first would round twice.
// Everything is constexpr integer arithmetic on the bits, so that host and device agree bit for
// bit. Source: IEEE 754-2019, sections 3.4 and 4.3.1; bfloat16 and TF32 as published by their
// vendors (8 exponent bits; 7 and 10 fraction bits); e4m3fn: Micikevicius et al. 2022, "FP8 formats
// for deep learning".
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace groundstate {

// A binary format with `fraction_bits` stored fraction bits and `exponent_bits` exponent bits.
template <int fraction_bits_, int exponent_bits_>
struct BinaryFormat {
  static constexpr int fraction_bits = fraction_bits_, exponent_bits = exponent_bits_;
  static constexpr int bias = (1 << (exponent_bits - 1)) - 1;
  static constexpr int max_exponent = bias, min_exponent = 1 - bias;
};
struct Bfloat16Format : BinaryFormat<7, 8> {};
struct Float16Format : BinaryFormat<10, 5> {};
struct Tf32Format : BinaryFormat<10, 8> {};
// No infinity: the exponent that IEEE 754 keeps for it holds numbers up to 448, and one NaN.
struct Float8Format : BinaryFormat<3, 4> {
  static constexpr int max_exponent = 8;
  static constexpr double largest = 448;
};

// The result is still a double (infinite where the format overflows).
template <class Format>
constexpr double round_to(double x) {
  const auto bits = std::bit_cast<std::uint64_t>(x);
  const std::uint64_t sign = bits & (std::uint64_t{1} << 63);
  const std::uint64_t magnitude = bits ^ sign;
  if (magnitude >= std::uint64_t{0x7ff} << 52) return x;  // infinity, NaN
  const int exponent = static_cast<int>(magnitude >> 52) - 1023;
  // Fraction bits of the double below the last place of the format; more of them when the result is
  // subnormal there. A shift beyond 53 leaves nothing but the sign.
  const int lost = 52 - Format::fraction_bits +
                   (exponent < Format::min_exponent ? Format::min_exponent - exponent : 0);
  if (lost > 53) return std::bit_cast<double>(sign);
  if (lost == 53) {  // below the smallest subnormal: only more than half of it rounds up
    const double half = std::bit_cast<double>(
        static_cast<std::uint64_t>(Format::min_exponent - Format::fraction_bits - 1 + 1023) << 52);
    const double tiny = 2 * half;
    const double rounded = std::bit_cast<double>(magnitude) > half ? tiny : 0.0;
    return std::bit_cast<double>(std::bit_cast<std::uint64_t>(rounded) | sign);
  }
  // Adding half a last place (less one when even) to the bits carries into the exponent where it
  // must. With 52 bits lost the last place is the leading one, which the bits do not show: always
  // odd.
  const std::uint64_t last = std::uint64_t{1} << lost;
  const std::uint64_t odd = lost == 52 ? 1 : (magnitude >> lost) & 1;
  const std::uint64_t rounded = (magnitude + (last >> 1) - 1 + odd) & ~(last - 1);
  const std::uint64_t overflow = static_cast<std::uint64_t>(Format::max_exponent + 1 + 1023) << 52;
  const std::uint64_t result = rounded >= overflow ? std::uint64_t{0x7ff} << 52 : rounded;
  return std::bit_cast<double>(result | sign);
}

// The same for float, fast where the format has float's exponent range (every lost bit is then at a
// fixed place, subnormals included).
template <class Format>
constexpr float round_to(float x) {
  if constexpr (Format::exponent_bits == 8) {
    const auto bits = std::bit_cast<std::uint32_t>(x);
    constexpr int lost = 23 - Format::fraction_bits;
    const std::uint32_t odd = (bits >> lost) & 1;
    const std::uint32_t rounded =
        (bits + (1u << (lost - 1)) - 1 + odd) & ~((std::uint32_t{1} << lost) - 1);
    return x != x ? x : std::bit_cast<float>(rounded);
  } else {
    return static_cast<float>(round_to<Format>(static_cast<double>(x)));
  }
}

// 16-bit storage. Construction rounds and is therefore explicit; widening is exact.
template <class Format>
class Float16Bits {
 public:
  constexpr Float16Bits() = default;
  constexpr explicit Float16Bits(double x) : bits_(encode(round_to<Format>(x))) {}
  static constexpr Float16Bits from_bits(std::uint16_t bits) {
    Float16Bits result;
    result.bits_ = bits;
    return result;
  }
  constexpr std::uint16_t bits() const { return bits_; }

  constexpr explicit operator float() const {
    constexpr int shift = 23 - Format::fraction_bits;
    if constexpr (Format::exponent_bits == 8) {
      return std::bit_cast<float>(std::uint32_t{bits_} << shift);
    } else {
      constexpr std::uint32_t infinity = ((1u << Format::exponent_bits) - 1)
                                         << Format::fraction_bits;
      const std::uint32_t sign = (bits_ & 0x8000u) << 16, magnitude = bits_ & 0x7fffu;
      if (magnitude >= infinity)  // infinity, or a NaN with its payload
        return std::bit_cast<float>(sign | 0x7f800000u | ((magnitude - infinity) << shift));
      if (magnitude >> Format::fraction_bits ==
          0) {  // zero or a multiple of the smallest subnormal
        constexpr float smallest = std::bit_cast<float>(
            static_cast<std::uint32_t>(Format::min_exponent - Format::fraction_bits + 127) << 23);
        const float value = static_cast<float>(magnitude) * smallest;
        return sign ? -value : value;
      }
      return std::bit_cast<float>(sign | ((magnitude << shift) + ((127u - Format::bias) << 23)));
    }
  }
  constexpr explicit operator double() const {
    return static_cast<double>(static_cast<float>(*this));
  }

 private:
  // `x` lies on the grid already.
  static constexpr std::uint16_t encode(double x) {
    const auto bits = std::bit_cast<std::uint64_t>(x);
    const auto sign = static_cast<std::uint16_t>((bits >> 48) & 0x8000u);
    const std::uint64_t magnitude = bits & ~(std::uint64_t{1} << 63);
    constexpr std::uint16_t infinity = ((1u << Format::exponent_bits) - 1) << Format::fraction_bits;
    if (magnitude > std::uint64_t{0x7ff} << 52)
      return sign | infinity | (1u << (Format::fraction_bits - 1));
    if (magnitude == std::uint64_t{0x7ff} << 52) return sign | infinity;
    const int exponent = static_cast<int>(magnitude >> 52) - 1023;
    if (magnitude == 0) return sign;
    const std::uint64_t significand =
        (magnitude & ((std::uint64_t{1} << 52) - 1)) | std::uint64_t{1} << 52;
    if (exponent < Format::min_exponent)
      return sign | static_cast<std::uint16_t>(significand >> (52 - Format::fraction_bits +
                                                               Format::min_exponent - exponent));
    const auto fraction = static_cast<std::uint16_t>((significand >> (52 - Format::fraction_bits)) &
                                                     ((1u << Format::fraction_bits) - 1));
    return sign | static_cast<std::uint16_t>((exponent + Format::bias) << Format::fraction_bits) |
           fraction;
  }

  std::uint16_t bits_ = 0;
};
using bf16 = Float16Bits<Bfloat16Format>;
using fp16 = Float16Bits<Float16Format>;

// 8-bit storage, e4m3fn. Construction rounds and saturates at +-448; a NaN stays a NaN.
class fp8 {
 public:
  constexpr fp8() = default;
  constexpr explicit fp8(double x) : bits_(encode(x)) {}
  static constexpr fp8 from_bits(std::uint8_t bits) {
    fp8 result;
    result.bits_ = bits;
    return result;
  }
  constexpr std::uint8_t bits() const { return bits_; }

  constexpr explicit operator float() const {
    const std::uint32_t sign = (bits_ & 0x80u) << 24, magnitude = bits_ & 0x7fu;
    if (magnitude == 0x7f) return std::bit_cast<float>(sign | 0x7fc00000u);
    if (magnitude < 8) {  // zero or a multiple of the smallest subnormal
      const float value = static_cast<float>(magnitude) * 0x1p-9f;
      return sign ? -value : value;
    }
    return std::bit_cast<float>(sign | ((magnitude << 20) + ((127u - Float8Format::bias) << 23)));
  }
  constexpr explicit operator double() const {
    return static_cast<double>(static_cast<float>(*this));
  }

 private:
  static constexpr std::uint8_t encode(double x) {
    const auto sign = static_cast<std::uint8_t>(std::bit_cast<std::uint64_t>(x) >> 56 & 0x80u);
    if (x != x) return sign | 0x7f;
    const double rounded = round_to<Float8Format>(sign ? -x : x);
    if (rounded > Float8Format::largest) return sign | 0x7e;
    const std::uint64_t bits = std::bit_cast<std::uint64_t>(rounded);
    const int exponent = static_cast<int>(bits >> 52) - 1023;
    if (exponent < Float8Format::min_exponent)
      return sign | static_cast<std::uint8_t>(rounded * 0x1p9);
    return sign | static_cast<std::uint8_t>((exponent + Float8Format::bias) << 3 |
                                            static_cast<int>(bits >> 49 & 7));
  }

  std::uint8_t bits_ = 0;
};

// Element types of tensors at run time: HDF5 files, case lines (`dtype=bf16`), type-erased views.
enum class ElementType : std::uint8_t {
  float64,
  float32,
  bfloat16,
  float16,
  int64,
  int32,
  int16,
  int8,
  float8
};

constexpr bool is_integer(ElementType type) {
  return type == ElementType::int64 || type == ElementType::int32 || type == ElementType::int16 ||
         type == ElementType::int8;
}

constexpr std::size_t size_of(ElementType type) {
  switch (type) {
    case ElementType::float64:
    case ElementType::int64:
      return 8;
    case ElementType::float32:
    case ElementType::int32:
      return 4;
    case ElementType::bfloat16:
    case ElementType::float16:
    case ElementType::int16:
      return 2;
    case ElementType::int8:
    case ElementType::float8:
      return 1;
  }
  return 0;
}

// The word of the case line.
constexpr std::string_view name_of(ElementType type) {
  switch (type) {
    case ElementType::float64:
      return "fp64";
    case ElementType::float32:
      return "fp32";
    case ElementType::bfloat16:
      return "bf16";
    case ElementType::float16:
      return "fp16";
    case ElementType::int64:
      return "int64";
    case ElementType::int32:
      return "int32";
    case ElementType::int16:
      return "int16";
    case ElementType::int8:
      return "int8";
    case ElementType::float8:
      return "fp8";
  }
  return "?";
}

template <class T>
struct element_type_of;
template <>
struct element_type_of<double> {
  static constexpr ElementType value = ElementType::float64;
};
template <>
struct element_type_of<float> {
  static constexpr ElementType value = ElementType::float32;
};
template <>
struct element_type_of<bf16> {
  static constexpr ElementType value = ElementType::bfloat16;
};
template <>
struct element_type_of<fp16> {
  static constexpr ElementType value = ElementType::float16;
};
template <>
struct element_type_of<std::int64_t> {
  static constexpr ElementType value = ElementType::int64;
};
template <>
struct element_type_of<std::int32_t> {
  static constexpr ElementType value = ElementType::int32;
};
template <>
struct element_type_of<std::int16_t> {
  static constexpr ElementType value = ElementType::int16;
};
template <>
struct element_type_of<std::int8_t> {
  static constexpr ElementType value = ElementType::int8;
};
template <>
struct element_type_of<fp8> {
  static constexpr ElementType value = ElementType::float8;
};

// Element `index` of an array of `type`, widened exactly, and its inverse, which rounds once.
inline double load_element(ElementType type, const void* data, std::int64_t index) {
  switch (type) {
    case ElementType::float64:
      return static_cast<const double*>(data)[index];
    case ElementType::float32:
      return static_cast<const float*>(data)[index];
    case ElementType::bfloat16:
      return static_cast<double>(static_cast<const bf16*>(data)[index]);
    case ElementType::float16:
      return static_cast<double>(static_cast<const fp16*>(data)[index]);
    case ElementType::int64:
      return static_cast<double>(static_cast<const std::int64_t*>(data)[index]);
    case ElementType::int32:
      return static_cast<const std::int32_t*>(data)[index];
    case ElementType::int16:
      return static_cast<const std::int16_t*>(data)[index];
    case ElementType::int8:
      return static_cast<const std::int8_t*>(data)[index];
    case ElementType::float8:
      return static_cast<double>(static_cast<const fp8*>(data)[index]);
  }
  return 0;
}
inline void store_element(ElementType type, void* data, std::int64_t index, double x) {
  switch (type) {
    case ElementType::float64:
      static_cast<double*>(data)[index] = x;
      return;
    case ElementType::float32:
      static_cast<float*>(data)[index] = static_cast<float>(x);
      return;
    case ElementType::bfloat16:
      static_cast<bf16*>(data)[index] = bf16(x);
      return;
    case ElementType::float16:
      static_cast<fp16*>(data)[index] = fp16(x);
      return;
    case ElementType::int64:
      static_cast<std::int64_t*>(data)[index] = static_cast<std::int64_t>(x);
      return;
    case ElementType::int32:
      static_cast<std::int32_t*>(data)[index] = static_cast<std::int32_t>(x);
      return;
    case ElementType::int16:
      static_cast<std::int16_t*>(data)[index] = static_cast<std::int16_t>(x);
      return;
    case ElementType::int8:
      static_cast<std::int8_t*>(data)[index] = static_cast<std::int8_t>(x);
      return;
    case ElementType::float8:
      static_cast<fp8*>(data)[index] = fp8(x);
      return;
  }
}

}  // namespace groundstate
