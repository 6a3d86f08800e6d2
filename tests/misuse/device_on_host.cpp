// A tensor in device memory is given to a function that reads it on the host.
// expect: use of deleted function
#include "reference/core/view.hpp"

using namespace groundstate;

float sum(const HostView<const float, Time>& x);

#ifdef CORRECT
float use(const HostView<float, Time>& x) { return sum(x); }
#else
float use(const DeviceView<float, Time>& x) { return sum(x); }
#endif
