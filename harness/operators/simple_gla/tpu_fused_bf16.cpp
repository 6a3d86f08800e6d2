#include "harness/operators/simple_gla/paths.hpp"
#include "reference/simple_gla/profiles.hpp"

namespace groundstate::harness::simple_gla_binding {

PathRunner tpu_fused_bf16() { return make_runner<profile::TpuFused, profile::TpuFusedBackward>(); }

}  // namespace groundstate::harness::simple_gla_binding
