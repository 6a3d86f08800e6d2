#include "harness/operators/simple_gla/paths.hpp"
#include "reference/simple_gla/profiles.hpp"

namespace groundstate::harness::simple_gla_binding {

PathRunner fla_chunk_bf16() {
  return make_runner<profile::FlaChunk<Bfloat16Format>,
                     profile::FlaChunkBackward<Bfloat16Format>>();
}

}  // namespace groundstate::harness::simple_gla_binding
