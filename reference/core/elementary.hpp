// Elementary functions whose results have the same bits on a host and on a device.
//
//   exponential(x)   e^x
//   softplus(x)      log(1 + e^x)
//   silu(x)          x / (1 + e^-x)
//
// Math libraries differ in the last bit. In fp32 these are computed here in double, by additions,
// multiplications and divisions in a fixed order (no contraction of a product and a sum may be left
// to the compiler: -ffp-contract=off, --fmad=false), and rounded once: e^x is correctly rounded,
// subnormal results included (tests/core/elementary_test.cpp), the other two all but always. Any
// other scalar takes its own library's functions and promises no bits across machines.
//
// NaN stays NaN; e^-inf = 0, softplus(-inf) = 0, softplus(+inf) = +inf.
// Source: Muller et al., Handbook of Floating-Point Arithmetic, 2nd ed., sections 10.2 and 11.2;
// rounding to odd: Boldo, Melquiond 2008.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace groundstate {

namespace detail {

// An unevaluated sum, |low| <= ulp(high).
struct ExponentialParts {
  double high, low;
};

inline constexpr double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;

// e^x for |x| < 700, to 2^-54.
constexpr ExponentialParts exponential_parts(double x) {
  constexpr double shift = 0x1.8p52, log2_e = 0x1.71547652b82fep0;
  const double k = (x * log2_e + shift) - shift;
  const double r = (x - k * ln2_high) - k * ln2_low;  // |r| <= ln 2 / 2; k ln2_high is exact
  double tail = 1.0 / 6227020800.0;                   // Taylor: r^14 / 14! < 2^-57
  tail = tail * r + 1.0 / 479001600.0;
  tail = tail * r + 1.0 / 39916800.0;
  tail = tail * r + 1.0 / 3628800.0;
  tail = tail * r + 1.0 / 362880.0;
  tail = tail * r + 1.0 / 40320.0;
  tail = tail * r + 1.0 / 5040.0;
  tail = tail * r + 1.0 / 720.0;
  tail = tail * r + 1.0 / 120.0;
  tail = tail * r + 1.0 / 24.0;
  tail = tail * r + 1.0 / 6.0;
  tail = tail * r + 0.5;
  const double above_one = r + r * r * tail;
  const double high = 1.0 + above_one, low = above_one - (high - 1.0);
  const double power =
      std::bit_cast<double>(static_cast<std::uint64_t>(1023 + static_cast<int>(k)) << 52);
  return {high * power, low * power};
}

// e^x as a double, to an ulp or so.
constexpr double exponential_double(double x) {
  if (x != x) return x;
  if (x < -700) return 0;
  if (x > 700) return std::numeric_limits<double>::infinity();
  const ExponentialParts e = exponential_parts(x);
  return e.high + e.low;
}

// log(1 + x) for x >= 0.
constexpr double log_one_plus(double x) {
  if (!(x < std::numeric_limits<double>::infinity())) return x;
  const double u = 1.0 + x, lost = x - (u - 1.0);  // log(1 + x) = log u + lost / u
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(u);
  constexpr std::uint64_t root_half = 0x3fe6a09e667f3bcdu;  // m lies in [sqrt 1/2, sqrt 2)
  const auto k = static_cast<std::int64_t>(bits - root_half) >> 52;
  const double m = std::bit_cast<double>(bits - (static_cast<std::uint64_t>(k) << 52));
  const double s = (m - 1.0) / (m + 1.0), t = s * s;  // log m = 2 atanh(s), |s| <= 0.1716
  double tail = 1.0 / 23.0;
  tail = tail * t + 1.0 / 21.0;
  tail = tail * t + 1.0 / 19.0;
  tail = tail * t + 1.0 / 17.0;
  tail = tail * t + 1.0 / 15.0;
  tail = tail * t + 1.0 / 13.0;
  tail = tail * t + 1.0 / 11.0;
  tail = tail * t + 1.0 / 9.0;
  tail = tail * t + 1.0 / 7.0;
  tail = tail * t + 1.0 / 5.0;
  tail = tail * t + 1.0 / 3.0;
  const double power = static_cast<double>(k);
  return power * ln2_high + (2.0 * s + (2.0 * s * t * tail + (power * ln2_low + lost / u)));
}

}  // namespace detail

template <class Scalar>
constexpr Scalar exponential(const Scalar& x) {
  if constexpr (std::is_same_v<Scalar, float>) {
    if (x != x) return x;
    if (x < -104.0f) return 0;  // below half of the smallest subnormal
    if (x > 89.0f) return std::numeric_limits<float>::infinity();
    const auto [high, low] = detail::exponential_parts(x);
    // Rounded to odd, a sum that lies beside a midpoint of two floats does not look like it.
    auto bits = std::bit_cast<std::uint64_t>(high);
    if (low != 0 && bits % 2 == 0) bits += low > 0 ? 1 : -1;
    return static_cast<float>(std::bit_cast<double>(bits));
  } else {
    using std::exp;
    return exp(x);
  }
}

template <class Scalar>
constexpr Scalar softplus(const Scalar& x) {
  if constexpr (std::is_same_v<Scalar, float>) {
    return static_cast<float>(detail::log_one_plus(detail::exponential_double(x)));
  } else {
    using std::exp;
    using std::log1p;
    return log1p(exp(x));
  }
}

template <class Scalar>
constexpr Scalar silu(const Scalar& x) {
  if constexpr (std::is_same_v<Scalar, float>) {
    return static_cast<float>(x / (1.0 + detail::exponential_double(-static_cast<double>(x))));
  } else {
    using std::exp;
    return x / (Scalar(1) + exp(-x));
  }
}

}  // namespace groundstate
