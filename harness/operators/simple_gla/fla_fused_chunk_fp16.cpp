#include "harness/operators/simple_gla/paths.hpp"
#include "reference/simple_gla/profiles.hpp"

namespace groundstate::harness::simple_gla_binding {

PathRunner fla_fused_chunk_fp16() {
  return make_runner<profile::FlaFusedChunk<Float16Format>,
                     profile::FlaFusedChunkBackward<Float16Format>>();
}

}  // namespace groundstate::harness::simple_gla_binding
