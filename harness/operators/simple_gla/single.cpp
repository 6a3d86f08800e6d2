#include "harness/operators/simple_gla/paths.hpp"

namespace groundstate::harness::simple_gla_paths {

PathRunner single() { return make_runner<Single>(); }

}  // namespace groundstate::harness::simple_gla_paths
