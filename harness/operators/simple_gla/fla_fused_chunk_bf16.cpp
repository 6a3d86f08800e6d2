#include "harness/operators/simple_gla/paths.hpp"
#include "reference/simple_gla/profiles.hpp"

namespace groundstate::harness::simple_gla_binding {

PathRunner fla_fused_chunk_bf16() {
  return make_runner<profile::FlaFusedChunk<Bfloat16Format>,
                     profile::FlaFusedChunkBackward<Bfloat16Format>>();
}

}  // namespace groundstate::harness::simple_gla_binding
