#include "harness/operators/simple_gla/paths.hpp"

namespace groundstate::harness::simple_gla_paths {

PathRunner tf32() { return make_runner<Tf32>(); }

}  // namespace groundstate::harness::simple_gla_paths
