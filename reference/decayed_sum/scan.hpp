// The recurrence as an associative scan.
//
// What a stretch of time does to a state is a pair (a, U): S -> exp(a) S + U. Stretches compose:
//   (a, U) then (b, W) = (a + b, exp(b) U + W)          associative, identity (0, 0)
// One token is (g_t, x_t); the initial state is the stretch (0, h0) before the first token, so the
// inclusive scan of all T + 1 has S_t as its second part. Decays are carried as logarithms: a
// product of factors would underflow and lose what lies between two tokens.
//
// Pairwise and in place, about 2 T combines. No rounding points.
#pragma once

#include "reference/core/gate.hpp"
#include "reference/core/recipe.hpp"
#include "reference/decayed_sum/gather.hpp"

namespace groundstate::decayed_sum {

template <class Recipe>
Result<ScalarOf<Recipe>> scan(const Problem<ScalarOf<Recipe>>& p) {
  using Scalar = ScalarOf<Recipe>;
  const Index count = p.time() + 1;
  Vector<Scalar> a(count);
  Matrix<Scalar> u(count, p.value());
  a << Scalar(0), p.log_decay;
  u << p.h0, p.x;
  const auto combine = [&](Index earlier, Index later) {
    u.row(later) += decay(LogDecay<Scalar>{a[later]}).factor * u.row(earlier);
    a[later] += a[earlier];
  };
  // Up: element i becomes the stretch of the last `distance` elements up to it, where i + 1 is a
  // multiple of that many. Down: the elements between get what lies before them.
  Index distance = 1;
  for (; distance < count; distance *= 2)
    for (Index i = 2 * distance - 1; i < count; i += 2 * distance) combine(i - distance, i);
  for (; distance > 0; distance /= 2)
    for (Index i = 3 * distance - 1; i < count; i += 2 * distance) combine(i - distance, i);
  return {u.bottomRows(p.time()), u.bottomRows(1)};
}

}  // namespace groundstate::decayed_sum
