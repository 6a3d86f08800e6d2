#include "harness/operators/simple_gla/paths.hpp"

namespace groundstate::harness::simple_gla_binding {

PathRunner tensorcore_bf16() { return make_runner<TensorCore>(); }

}  // namespace groundstate::harness::simple_gla_binding
