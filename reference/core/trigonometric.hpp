// Sine, cosine and hyperbolic tangent whose results have the same bits on a host and on a device,
// and angles without their full turns.
//
//   sine_and_cosine(x)        {sin x, cos x}, x in radians
//   wrapped_angle(x)          x - 2 pi floor(x / 2 pi)
//   hyperbolic_tangent(x)     (e^x - e^-x) / (e^x + e^-x)
//
// Like reference/core/elementary.hpp: in fp32 computed in double by additions, multiplications and
// divisions in a fixed order and rounded once, which is correct rounding all but always
// (tests/core/trigonometric_test.cpp). Any other scalar takes its own library's functions.
//
// An angle in fp32 beyond 2^20 has no fraction worth a sine (its neighbours are 1/8 apart): sine
// and cosine are NaN there, and for infinities and NaN; so is an angle without its turns.
//
// 2 pi in fp32 is 1.7e-7 too large: subtracted in fp32, every turn would be off by that, to the
// same side. The number of turns is that of fp32, so that a wrapped angle may lie a rounding
// outside of [0, 2 pi]. Source: Cody, Waite, Software Manual for the Elementary Functions
// (reduction by a pi / 2 in parts); Lambert's continued fraction.
#pragma once

#include <cmath>
#include <type_traits>

#include "reference/core/elementary.hpp"

namespace groundstate {

template <class Scalar>
struct SineAndCosine {
  Scalar sine, cosine;
};

inline constexpr float largest_angle = 0x1p20f;

namespace detail {

// |r| <= pi / 4, by Taylor: r^19 / 19! and r^18 / 18! are below 2^-56 there.
constexpr double sine_polynomial(double r) {
  const double t = r * r;
  double tail = 1.0 / 355687428096000.0;
  tail = tail * t - 1.0 / 1307674368000.0;
  tail = tail * t + 1.0 / 6227020800.0;
  tail = tail * t - 1.0 / 39916800.0;
  tail = tail * t + 1.0 / 362880.0;
  tail = tail * t - 1.0 / 5040.0;
  tail = tail * t + 1.0 / 120.0;
  tail = tail * t - 1.0 / 6.0;
  return r + r * t * tail;
}
constexpr double cosine_polynomial(double r) {
  const double t = r * r;
  double tail = 1.0 / 20922789888000.0;
  tail = tail * t - 1.0 / 87178291200.0;
  tail = tail * t + 1.0 / 479001600.0;
  tail = tail * t - 1.0 / 3628800.0;
  tail = tail * t + 1.0 / 40320.0;
  tail = tail * t - 1.0 / 720.0;
  tail = tail * t + 1.0 / 24.0;
  return (1.0 - 0.5 * t) + t * t * tail;
}

}  // namespace detail

template <class Scalar>
constexpr SineAndCosine<Scalar> sine_and_cosine(const Scalar& x) {
  if constexpr (std::is_same_v<Scalar, float>) {
    if (!(x <= largest_angle && x >= -largest_angle)) {
      constexpr float none = std::numeric_limits<float>::quiet_NaN();
      return {none, none};
    }
    // pi / 2 in parts of 33, 33 and 53 bits: k has 20, so that k times either of the first two is
    // exact.
    constexpr double first = 0x1.921fb544p0, second = 0x1.0b4611a6p-34,
                     third = 0x1.3198a2e037073p-69, shift = 0x1.8p52,
                     two_over_pi = 0x1.45f306dc9c883p-1;
    const double k = (static_cast<double>(x) * two_over_pi + shift) - shift;
    const double r = ((static_cast<double>(x) - k * first) - k * second) - k * third;
    const auto sine = static_cast<float>(detail::sine_polynomial(r)),
               cosine = static_cast<float>(detail::cosine_polynomial(r));
    switch (static_cast<long long>(k) & 3) {
      case 0:
        return {x == 0 ? x : sine, cosine};
      case 1:
        return {cosine, -sine};
      case 2:
        return {-sine, -cosine};
      default:
        return {-cosine, sine};
    }
  } else {
    using std::cos;
    using std::sin;
    return {sin(x), cos(x)};
  }
}

template <class Scalar>
constexpr Scalar wrapped_angle(const Scalar& x) {
  if constexpr (std::is_same_v<Scalar, float>) {
    if (!(x <= largest_angle && x >= -largest_angle))
      return std::numeric_limits<float>::quiet_NaN();
    // 2 pi in parts of 33 and 53 bits: the turns have 18.
    constexpr double first = 0x1.921fb544p2, second = 0x1.0b4611a626331p-32;
    const float quotient = x / static_cast<float>(first + second);
    auto turns = static_cast<long long>(quotient);
    if (static_cast<float>(turns) > quotient) --turns;
    const auto k = static_cast<double>(turns);
    return static_cast<float>((static_cast<double>(x) - k * first) - k * second);
  } else {
    using std::floor;
    using std::fma;
    constexpr auto turn = static_cast<Scalar>(6.283185307179586476925286766559005768L);
    return fma(Scalar(-floor(x / turn)), turn, x);
  }
}

template <class Scalar>
constexpr Scalar hyperbolic_tangent(const Scalar& x) {
  if constexpr (std::is_same_v<Scalar, float>) {
    const double u = x, magnitude = u < 0 ? -u : u;
    if (magnitude < 0.5) {
      const double t = u * u;
      double under = 17.0;
      for (double odd = 15.0; odd > 0; odd -= 2) under = odd + t / under;
      return static_cast<float>(u / under);
    }
    const double e = detail::exponential_double(-2.0 * magnitude), t = (1.0 - e) / (1.0 + e);
    return static_cast<float>(u < 0 ? -t : t);
  } else {
    using std::tanh;
    return tanh(x);
  }
}

}  // namespace groundstate
