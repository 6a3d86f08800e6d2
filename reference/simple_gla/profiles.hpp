// Rounding profiles: what kernels of other libraries round, and where they order a step otherwise.
// Against its own profile a kernel that does what it means to do is off by little more than fp32
// roundoff; against a recipe of ours or the oracle only by what bf16 operands cost.
//
//   profile                  kernel                                  forward        backward
//   fla-chunk-{bf16,fp16}    flash-linear-attention, chunk           chunked.hpp
//   chunked_backward.hpp fla-fused-chunk-{..}     flash-linear-attention, fused_chunk     fused.hpp
//   fused_backward.hpp tpu-fused-bf16           the Pallas TPU kernel, one key tile     fused.hpp
//   fused_backward.hpp
//
// r(x) rounds to the format of the inputs; everything else is fp32. Cumulative gates are plain
// running sums: times 1 / ln 2 and exp2 in the first two (GateSum::base2), natural in the third.
// Forward:
//   fla-chunk        every point of TensorCore
//   fla-fused-chunk  and q := r(scale q) before both products
//   tpu-fused        only v~ = r(v exp(G_L - G)); scores and S enter their products in fp32
// Backward:
//   fla-chunk        q' = r(r(scale q) exp(G));  dv = .. + exp(G_L - G) (k r(dS))
//   fla-fused-chunk  do' = r(scale exp(G) do) in the update of dS (with q as it is) and in dq; dv
//   as
//                    above; dg in the global form (dg_form=global, a key of the path)
//   tpu-fused        q' in fp32
//
// Left out, because it would need more than a switch or because it is no rounding:
//   - scale applied to both terms of o before they are added (fla-chunk): fp32 roundoff
//   - g_gamma as a ramp (i + 1) g_gamma; ours is a running sum of it: fp32 roundoff times |G|
//   - both gates at once, which the chunk kernels of the first library get wrong and which the
//   third
//     rounds v twice for
//   - partial sums per key tile (of dg) and per key and value tile (fused_chunk): fp32 roundoff
//   - tf32 products where the inputs are fp32; ht and dh0 rounded to the type of q by a wrapper
// Source: reading of the kernels, July 2025 to May 2026.
#pragma once

#include "reference/core/recipe.hpp"

namespace groundstate::simple_gla::profile {

template <class Format>
struct FlaChunk : TensorCoreRounding<Format> {};
template <class Format>
struct FlaChunkBackward : TensorCoreRounding<Format> {
  static constexpr bool scale_query_first = true, decay_after_product = true;
};

template <class Format>
struct FlaFusedChunk : TensorCoreRounding<Format> {
  static constexpr bool scale_query_first = true;
};
template <class Format>
struct FlaFusedChunkBackward : TensorCoreRounding<Format> {
  static constexpr bool decay_output_gradient = true, decay_after_product = true;
};

struct TpuFused : TensorCoreRounding<Bfloat16Format> {
  static float score(float x) { return x; }
  static float state(float x) { return x; }
};
struct TpuFusedBackward : TensorCoreRounding<Bfloat16Format> {
  static float gradient_update(float x) { return x; }
};

}  // namespace groundstate::simple_gla::profile
