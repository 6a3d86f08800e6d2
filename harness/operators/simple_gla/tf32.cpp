#include "harness/operators/simple_gla/paths.hpp"

namespace groundstate::harness::simple_gla_binding {

PathRunner tf32() { return make_runner<Tf32>(); }

}  // namespace groundstate::harness::simple_gla_binding
