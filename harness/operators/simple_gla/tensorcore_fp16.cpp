#include "harness/operators/simple_gla/paths.hpp"

namespace groundstate::harness::simple_gla_binding {

PathRunner tensorcore_fp16() { return make_runner<TensorCoreHalf>(); }

}  // namespace groundstate::harness::simple_gla_binding
