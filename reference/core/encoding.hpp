// How a state in fp32 is stored: rounding to nearest, stochastic rounding, row scales for codes.
//
//   fp32, bf16, fp16   value = stored                    a number is stored as it is, rounded
//   int16, int8, fp8   value = code * decode             a row has one scale, of fp32
//
// Row scale. amax = max |s| over the row (a NaN is no maximum), largest = 32767, 127, 448:
//   encode = amax == 0 ? 1 : largest / amax, at most FLT_MAX;  decode = 1 / encode;  v = s * encode
// all of them fp32 operations, decode from the rounded encode. (Without the bound a row whose amax
// is below largest / FLT_MAX, 1e-36, would become 0 * infinity.)
//
// To nearest, ties to even: integers after clipping to +-largest, fp8 saturates there. NaN is code
// 0 of an integer, and stays NaN elsewhere.
//
// Stochastic: up with the probability of what is lost, by the low bits of one random word.
//   fp16    13 bits are added below the last place; below 2^-14 it is 0, above 65504 infinity
//   bf16    16 bits are added below the last place
//   fp8     16 bits are added right below the last place
//   int8    floor(fp32(v + r 2^-16)), r of 16 bits, clipped to +-127
//   int16   floor(fp32(v + r 2^-24)), r of 24 bits, clipped to +-32767
// The word of element (slot, head, row p, column n) of a state [slot, head, P, N] is word n mod 4
// of Philox4x32 with `rounds` rounds, key `seed` and the counter (64 bit)
//   slot * stride(slot) + h P N + p N + (n - n mod 4)
// so that one call serves four columns. Neither token nor call enters: change the seed every call.
//
// Everything is constexpr, so that host and device agree bit for bit.
// Source: flashinfer's selective_state_update (scales, fp16, fp8, int8, the counter of its `simple`
// kernel); bf16 and int16 in the same manner.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "reference/core/axis.hpp"
#include "reference/core/philox.hpp"
#include "reference/core/scalar.hpp"

namespace groundstate {

struct StochasticRounding {
  std::int64_t seed = 0;
  int rounds = 10;
};

// The four random words of the columns n .. n + 3, n a multiple of 4, whose element has this
// offset.
constexpr Philox::Counter rounding_words(const StochasticRounding& rounding, Index offset) {
  const auto counter = static_cast<std::uint64_t>(offset),
             key = static_cast<std::uint64_t>(rounding.seed);
  return Philox::block(
      {static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32), 0, 0},
      {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)}, rounding.rounds);
}

// ---- row scales

template <class Stored>
inline constexpr bool is_code = std::is_same_v<Stored, std::int16_t> ||
                                std::is_same_v<Stored, std::int8_t> || std::is_same_v<Stored, fp8>;

template <class Stored>
constexpr float largest_code() {
  return std::is_same_v<Stored, std::int16_t>  ? 32767.0f
         : std::is_same_v<Stored, std::int8_t> ? 127.0f
                                               : 448.0f;
}

struct RowScale {
  float encode = 1, decode = 1;
};
template <class Stored>
constexpr RowScale row_scale(float amax) {
  constexpr float most = std::numeric_limits<float>::max();
  if (amax == 0) return {};
  const float encode = largest_code<Stored>() / amax;
  return {encode < most ? encode : most, 1.0f / (encode < most ? encode : most)};
}

// ---- to nearest

namespace detail {

// Ties to even, |v| < 2^22.
constexpr float nearest_integer(float v) { return (v + 0x1.8p23f) - 0x1.8p23f; }

constexpr float clipped(float v, float largest) {
  return v > largest ? largest : v < -largest ? -largest : v;
}

constexpr float floor_integer(float v) {
  const float nearest = nearest_integer(v);
  return nearest > v ? nearest - 1 : nearest;
}

}  // namespace detail

template <class Stored>
constexpr Stored nearest(float v) {
  if constexpr (std::is_integral_v<Stored>) {
    if (v != v) return 0;
    return static_cast<Stored>(detail::nearest_integer(detail::clipped(v, largest_code<Stored>())));
  } else {
    return Stored(v);
  }
}

// ---- stochastic

namespace detail {

constexpr fp16 stochastic_fp16(float x, std::uint32_t word) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000u);
  const std::uint32_t magnitude = (bits & 0x7fffffffu) + (word & 0x1fffu),
                      exponent = magnitude >> 23;
  if (x != x) return fp16::from_bits(sign | 0x7e00u);
  if (exponent > 142) return fp16::from_bits(sign | 0x7c00u);
  if (exponent < 113) return fp16::from_bits(sign);
  return fp16::from_bits(
      static_cast<std::uint16_t>(sign | (exponent - 112) << 10 | (magnitude & 0x7fffffu) >> 13));
}

constexpr bf16 stochastic_bf16(float x, std::uint32_t word) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
  if (!finite) return bf16(x);
  return bf16::from_bits(static_cast<std::uint16_t>((bits + (word & 0xffffu)) >> 16));
}

constexpr fp8 stochastic_fp8(float x, std::uint32_t word) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const auto sign = static_cast<std::uint8_t>(bits >> 24 & 0x80u);
  const auto finish = [sign](std::uint64_t q, int exponent) {
    for (; q >= 16; q >>= 1) ++exponent;
    const bool overflows = exponent > 15 || (exponent == 15 && (q & 7) == 7);
    return fp8::from_bits(static_cast<std::uint8_t>(
        sign | (overflows ? 0x7eu : static_cast<unsigned>(exponent) << 3 | (q & 7))));
  };
  if (x != x) return fp8::from_bits(sign | 0x7f);
  const int exponent = static_cast<int>(bits >> 23 & 0xff) - 127;
  if (exponent == 128) return fp8::from_bits(sign | 0x7e);
  if (exponent == -127) return fp8::from_bits(sign);
  constexpr int smallest = Float8Format::min_exponent;
  const int lost = exponent >= smallest ? 20 : 14 - exponent;
  const std::uint64_t significand = (bits & 0x7fffffu) | 0x800000u,
                      random = lost - 16 >= 56 ? 0 : std::uint64_t{word & 0xffffu} << (lost - 16);
  const std::uint64_t q = lost >= 64 ? 0 : (significand + random) >> lost;
  if (exponent >= smallest) return finish(q, exponent + Float8Format::bias);
  return q <= 7 ? fp8::from_bits(static_cast<std::uint8_t>(sign | q)) : finish(q, 1);
}

}  // namespace detail

template <class Stored>
constexpr Stored stochastic(float v, std::uint32_t word) {
  if constexpr (std::is_same_v<Stored, fp16>) {
    return detail::stochastic_fp16(v, word);
  } else if constexpr (std::is_same_v<Stored, bf16>) {
    return detail::stochastic_bf16(v, word);
  } else if constexpr (std::is_same_v<Stored, fp8>) {
    return detail::stochastic_fp8(v, word);
  } else {
    static_assert(std::is_integral_v<Stored>, "fp32 and fp64 are not rounded stochastically");
    constexpr int bits = sizeof(Stored) == 1 ? 16 : 24;
    constexpr float largest = largest_code<Stored>(), unit = bits == 16 ? 0x1p-16f : 0x1p-24f;
    if (v != v) return 0;
    const auto random = static_cast<float>(word & ((1u << bits) - 1));
    return static_cast<Stored>(detail::clipped(
        detail::floor_integer(detail::clipped(v, 2 * largest) + random * unit), largest));
  }
}

}  // namespace groundstate
