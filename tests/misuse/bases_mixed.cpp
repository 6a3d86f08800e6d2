// A natural and a base-2 logarithm of a decay are added.
// expect: no match for 'operator+'
#include "reference/core/gate.hpp"

using namespace groundstate;

Log2Decay<float> add(Log2Decay<float> a, LogDecay<float> b) {
#ifdef CORRECT
  return a + to_base2(b);
#else
  return a + b;
#endif
}
