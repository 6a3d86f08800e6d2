// A [value, key] state is given where a [key, value] state is wanted.
// expect: use of deleted function
#include "reference/core/view.hpp"

using namespace groundstate;

void advance(const HostView<float, Key, Value>& state);

#ifdef CORRECT
void use(const HostView<float, Key, Value>& state) { advance(state); }
#else
void use(const HostView<float, Value, Key>& state) { advance(state); }
#endif
