// Running sums carried as an unevaluated pair high + low, |low| <= ulp(high) / 2.
//
// A cumulative log gate of -1e4 has an absolute error of 1e-3 in fp32, while the decays that a
// chunk needs are differences of a few units between neighbours. With the pair the differences keep
// the accuracy of the scalar whatever the size of the sum. Source: Knuth, TAOCP vol. 2, 4.2.2
// (two-sum); Dekker 1971 (renormalisation).
#pragma once

namespace groundstate {

template <class Scalar>
struct TwoFloat {
  Scalar high = 0, low = 0;

  constexpr TwoFloat& operator+=(Scalar x) {
    const Scalar sum = high + x;
    const Scalar rounded_high = sum - x;
    const Scalar error = (high - rounded_high) + (x - (sum - rounded_high));
    const Scalar tail = low + error;
    high = sum + tail;
    low = tail - (high - sum);
    return *this;
  }
  // The difference, rounded once to the scalar (up to the rounding of the small part).
  friend constexpr Scalar operator-(const TwoFloat& a, const TwoFloat& b) {
    return (a.high - b.high) + (a.low - b.low);
  }
};

}  // namespace groundstate
