// The extent of an axis that the tensor does not have.
// expect: the tensor has no such axis
#include "reference/core/view.hpp"

using namespace groundstate;

Index heads(const HostView<const float, Time, ValueHead>& x) {
#ifdef CORRECT
  return x.extent<ValueHead>();
#else
  return x.extent<Head>();
#endif
}
