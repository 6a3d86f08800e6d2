#include "harness/operators/simple_gla/paths.hpp"

namespace groundstate::harness::simple_gla_binding {

PathRunner exact() { return make_runner<Exact>(); }

}  // namespace groundstate::harness::simple_gla_binding
