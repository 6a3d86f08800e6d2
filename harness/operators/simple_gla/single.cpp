#include "harness/operators/simple_gla/paths.hpp"

namespace groundstate::harness::simple_gla_binding {

PathRunner single() { return make_runner<Single>(); }

}  // namespace groundstate::harness::simple_gla_binding
