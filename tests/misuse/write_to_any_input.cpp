// A read-only tensor becomes a writable one by way of the element type of run time.
// expect: use of deleted function
#include "reference/core/view.hpp"

using namespace groundstate;

void fill(const HostView<Any, Time>& x);

#ifdef CORRECT
void use(const HostView<float, Time>& x) { fill(x); }
#else
void use(const HostView<const float, Time>& x) { fill(x); }
#endif
