// A bare number says nothing about its axis.
// expect: no match for call to
#include "reference/core/view.hpp"

using namespace groundstate;

float read(const HostView<const float, Time, Head>& x, Index t) {
#ifdef CORRECT
  return x(Time{t}, Head{0});
#else
  return x(t, Index{0});
#endif
}
