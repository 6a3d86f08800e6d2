// Forgetting the element type does not forget the axes.
// expect: use of deleted function
#include "reference/core/view.hpp"

using namespace groundstate;

double sum(const HostView<const Any, Time, Head>& x);

#ifdef CORRECT
double use(const HostView<float, Time, Head>& x) { return sum(x); }
#else
double use(const HostView<float, Head, Time>& x) { return sum(x); }
#endif
