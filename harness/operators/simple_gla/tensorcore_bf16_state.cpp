#include "harness/operators/simple_gla/paths.hpp"

namespace groundstate::harness::simple_gla_binding {

PathRunner tensorcore_bf16_state() { return make_runner<TensorCoreBf16State>(); }

}  // namespace groundstate::harness::simple_gla_binding
