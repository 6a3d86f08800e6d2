// A read-only tensor is given to a function that writes to it.
// expect: use of deleted function
#include "reference/core/view.hpp"

using namespace groundstate;

void fill(const HostView<float, Time>& x);

#ifdef CORRECT
void use(const HostView<float, Time>& x) { fill(x); }
#else
void use(const HostView<const float, Time>& x) { fill(x); }
#endif
