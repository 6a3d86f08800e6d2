// How many of n honest errors may exceed a limit, and how far two honest scales may differ, by
// chance.
//
//   k(n, q) = smallest k with P(Binomial(n, 1 - q) > k) < 1e-9
//
// A clause (q, L) says that the q-quantile of the errors is at most L; it fails when more than k(n,
// q) of n elements exceed L, so that one rule serves one element and 1e10. The binomial tail is a
// sum of positive terms from a probability in Loader's saddle-point form, exact to about 1e-13 for
// every n.
//
//   honest_ratio(m, p): with a and b the RMS of m independent normal errors of one common scale,
//   P(a / b > ratio) <= p.   Derivation: for X, Y chi-square with m degrees and any 0 < t < 1/2,
//     P(X > x Y) <= E exp(t X) E exp(-t x Y) = ((1 - 2t)(1 + 2t x))^(-m/2),
//   least at 2t = (x - 1) / (2x), where it is ((x + 1)^2 / 4x)^(-m/2). Setting that to p gives
//     sqrt(x) = sqrt(c) + sqrt(c - 1),  c = p^(-2/m).
//   m need not be an integer. It is what makes clauses B and E sound for few elements: m = 1 gives
//   2e9 (nothing can be said), m = 100 gives 1.9, m = 1e4 gives 1.07.
//
// Source: Loader, "Fast and accurate computation of binomial probabilities", 2000.
#pragma once

#include "reference/core/axis.hpp"

namespace groundstate::harness {

inline constexpr double false_alarm = 1e-9;  // per clause

// k(n, q). 0 <= q <= 1; k(n, 1) = 0. Throws std::logic_error outside of that or for n < 0.
Index allowed_exceedances(Index elements, double quantile);

// P(Binomial(n, p) = k).
double binomial_probability(Index n, Index k, double p);

// The largest of n errors grows about as sqrt(2 ln n); limits are calibrated at up to 1e7 elements.
// sqrt(ln n / ln 1e6) from 1e7 elements on, 1 below.
double maximum_growth(Index elements);

double honest_ratio(double independent_errors, double probability = false_alarm);

}  // namespace groundstate::harness
