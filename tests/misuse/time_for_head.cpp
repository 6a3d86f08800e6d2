// Two coordinates are exchanged in an access.
// expect: no match for call to
#include "reference/core/view.hpp"

using namespace groundstate;

float read(const HostView<const float, Time, Head>& x) {
#ifdef CORRECT
  return x(Time{1}, Head{2});
#else
  return x(Head{2}, Time{1});
#endif
}
