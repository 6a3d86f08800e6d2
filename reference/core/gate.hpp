// Gates and logits as distinct types: adding a natural log decay to a base-2 one, or passing a
// logit where a probability is wanted, does not compile. Each wraps one value of any float type and
// converts by a named function only.
#pragma once

#include <cmath>
#include <limits>

namespace groundstate {

template <class T>
struct Decay;
template <class T>
struct Log2Decay;

// Natural logarithm of a decay factor; any value, usually <= 0, -infinity forgets everything.
template <class T>
struct LogDecay {
  T natural;
  friend constexpr LogDecay operator+(LogDecay a, LogDecay b) { return {a.natural + b.natural}; }
  friend constexpr LogDecay operator-(LogDecay a, LogDecay b) { return {a.natural - b.natural}; }
};
// The same to base 2, for kernels built on exp2.
template <class T>
struct Log2Decay {
  T base2;
  friend constexpr Log2Decay operator+(Log2Decay a, Log2Decay b) { return {a.base2 + b.base2}; }
  friend constexpr Log2Decay operator-(Log2Decay a, Log2Decay b) { return {a.base2 - b.base2}; }
};
// The factor itself, >= 0.
template <class T>
struct Decay {
  T factor;
  friend constexpr Decay operator*(Decay a, Decay b) { return {a.factor * b.factor}; }
};

template <class T>
struct Probability;
template <class T>
struct Logit {
  T value;
};
template <class T>
struct Probability {
  T value;
};

template <class T>
Decay<T> decay(LogDecay<T> g) {
  using std::exp;
  return {exp(g.natural)};
}
template <class T>
Decay<T> decay(Log2Decay<T> g) {
  using std::exp2;
  return {exp2(g.base2)};
}
// The log decay below which the factor is exactly 0 in T. Clamping there changes no factor and
// makes sums of log decays finite: differences of cumulative gates stay numbers when a gate is
// -infinity.
template <class T>
constexpr T log_decay_floor() {
  static_assert(std::numeric_limits<T>::digits == 24 || std::numeric_limits<T>::digits == 53 ||
                std::numeric_limits<T>::digits == 64);
  switch (std::numeric_limits<T>::digits) {
    case 24:
      return T(-104);  // 2^-150 rounds to 0
    case 53:
      return T(-745.2);  // 2^-1075
    default:
      return T(-11400);  // 2^-16446
  }
}

template <class T>
constexpr Log2Decay<T> to_base2(LogDecay<T> g) {
  return {g.natural * T(1.4426950408889634073599246810018921L)};
}
template <class T>
constexpr LogDecay<T> to_natural(Log2Decay<T> g) {
  return {g.base2 * T(0.6931471805599453094172321214581766L)};
}
template <class T>
Probability<T> sigmoid(Logit<T> x) {
  using std::exp;
  return {T(1) / (T(1) + exp(-x.value))};
}

}  // namespace groundstate
