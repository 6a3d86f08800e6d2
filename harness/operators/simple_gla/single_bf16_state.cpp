#include "harness/operators/simple_gla/paths.hpp"

namespace groundstate::harness::simple_gla_binding {

PathRunner single_bf16_state() { return make_runner<SingleBf16State>(); }

}  // namespace groundstate::harness::simple_gla_binding
