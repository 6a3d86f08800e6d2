#include "harness/operators/simple_gla/paths.hpp"
#include "reference/simple_gla/profiles.hpp"

namespace groundstate::harness::simple_gla_binding {

PathRunner fla_chunk_fp16() {
  return make_runner<profile::FlaChunk<Float16Format>, profile::FlaChunkBackward<Float16Format>>();
}

}  // namespace groundstate::harness::simple_gla_binding
