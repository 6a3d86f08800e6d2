// A logit is given where the probability is wanted.
// expect: could not convert
#include "reference/core/gate.hpp"

using namespace groundstate;

float strength(Probability<float> beta);

float use(Logit<float> beta) {
#ifdef CORRECT
  return strength(sigmoid(beta));
#else
  return strength(beta);
#endif
}
