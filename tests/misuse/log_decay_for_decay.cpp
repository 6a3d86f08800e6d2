// A decay factor is wanted and its logarithm given.
// expect: could not convert
#include "reference/core/gate.hpp"

using namespace groundstate;

float scale(Decay<float> decay);

float use(LogDecay<float> gate) {
#ifdef CORRECT
  return scale(decay(gate));
#else
  return scale(gate);
#endif
}
