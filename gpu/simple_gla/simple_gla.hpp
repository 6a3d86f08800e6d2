// simple_gla on the device: the entry points of its kernels (equation and tensors:
// reference/simple_gla/contract.hpp).
//
// Tensors are device views of the contract with element types known at run time; every layout that
// strides can say is taken. Gates, offsets, initial and final states, reversal and groups of heads
// are data. Offsets are 64 bit. No entry point allocates or waits; each can be captured in a graph.
// Results depend on nothing but the inputs: no atomics, every sum in a fixed order.
//
// cu_seqlens is read on the device and must be legal there: it starts at 0, does not decrease, and
// ends at T.
//
// Errors: std::invalid_argument naming the tensor or the workspace, what it is and what is
// accepted; std::runtime_error (gpu/core/check.hpp) where CUDA fails.
#pragma once

#include "gpu/core/launch.hpp"
#include "reference/simple_gla/contract.hpp"

namespace groundstate::simple_gla {

using DeviceInputs = Inputs<Space::device, AnyElements>;
using DeviceOutputs = Outputs<Space::device, AnyElements>;
using DeviceBackwardInputs = BackwardInputs<Space::device, AnyElements>;
using DeviceBackwardOutputs = BackwardOutputs<Space::device, AnyElements>;
using DevicePool = DeviceView<Any, Slot, ValueHead, Key, Value>;

}  // namespace groundstate::simple_gla

namespace groundstate::gpu::simple_gla {

using namespace groundstate::simple_gla;

// ---- gpu.recurrent: token by token (recurrent.cu)
//
// Any K, V and T. Arithmetic and state are fp64 where o is fp64, else fp32; o and ht are rounded
// once, to their types. q, k and v need not have the type of o.
std::size_t recurrent_workspace(const DeviceInputs& x, const DeviceOutputs& y);
void recurrent(const DeviceInputs& x, const Options& options, const DeviceOutputs& y,
               const Launch& launch);

// ---- gpu.step: a few tokens on a pool of states, in place (step.cu)
//
// Sequence b advances the state in slot slots[b] of the pool by its T tokens, or slot b without
// `slots`. A slot of -1 is padding: no state is touched, and o is 0. Every other slot may be named
// once. The state is rounded to the type of the pool after each token and o reads it rounded, so
// that one call with m tokens and m calls with one give the same bits; with a pool of fp32 (fp64
// where o is) they are those of gpu.recurrent, too.
//
// x.initial_state and x.offsets must be absent.
std::size_t step_workspace(const DeviceInputs& x, const DevicePool& pool);
void step(const DeviceInputs& x, const DevicePool& pool,
          const DeviceView<const std::int32_t, Batch>& slots, const Options& options,
          const DeviceView<Any, Batch, Time, ValueHead, Value>& output, const Launch& launch);

// ---- gpu.recurrent, backward: the adjoint, last token first (recurrent_backward.cu)
//
// Arithmetic is fp64 where dq is fp64, else fp32. dq and dk are summed over the value heads of a
// head in ascending order, dg_gamma over tokens in a fixed order, then over sequences.
std::size_t recurrent_backward_workspace(const DeviceBackwardInputs& x,
                                         const DeviceBackwardOutputs& y);
void recurrent_backward(const DeviceBackwardInputs& x, const Options& options,
                        const DeviceBackwardOutputs& y, const Launch& launch);

// ---- gpu.fused and gpu.segmented: chunks of 64 (fused.cu)
//
// q, k, v and o of one type, K and V from 1 to 256: bf16 and fp16 on tensor cores, fp32 by fp32
// multiply-add. num_steps is how many chunks are on the way at a time, as many as fit into shared
// memory (of fp32, one); it changes no bit, nor does value_tile, the columns of v that a CTA has
// (64, 128; 0: what fills the device). More than one segment: time in parallel, by tolerance.
struct FusedForm {
  Index num_steps = 4, value_tile = 0, segments = 1;
};
std::size_t fused_workspace(const DeviceInputs& x, const DeviceOutputs& y, const FusedForm& form);
// The segments that fill the device, 1 where sequences and heads do.
Index segments_that_fill(const DeviceInputs& x);
// The num_steps that fit.
Index fused_num_steps(const DeviceInputs& x, const DeviceOutputs& y, const FusedForm& form);
void fused(const DeviceInputs& x, const Options& options, const DeviceOutputs& y,
           const FusedForm& form, const Launch& launch);

// ---- gpu.fused, backward (fused_backward.cu)
//
// As gpu.fused; do, dq, dk and dv of the type of q. dg is summed to the end of groups of dg_chunks
// chunks (1, 2, 4), with one state kept for each: more are faster and noisier.
struct FusedBackwardForm {
  Index num_steps = 4, value_tile = 0, dg_chunks = 1;
};
std::size_t fused_backward_workspace(const DeviceBackwardInputs& x, const DeviceBackwardOutputs& y,
                                     const FusedBackwardForm& form);
Index fused_backward_num_steps(const DeviceBackwardInputs& x, const DeviceBackwardOutputs& y,
                               const FusedBackwardForm& form);
void fused_backward(const DeviceBackwardInputs& x, const Options& options,
                    const DeviceBackwardOutputs& y, const FusedBackwardForm& form,
                    const Launch& launch);

// ---- gpu.chunked, backward: two passes, states in device memory between them
// (chunked_backward.cu)
//
// As gpu.fused, and the same bits: of dq, dk, dv and dh0 whatever dh is stored as, of dg and
// dg_gamma where that is the accumulator's fp32.
struct ChunkedBackwardForm {
  Index num_steps = 4, value_tile = 0;
  StateStorage dh = StateStorage::accumulator;
};
std::size_t chunked_backward_workspace(const DeviceBackwardInputs& x,
                                       const DeviceBackwardOutputs& y,
                                       const ChunkedBackwardForm& form);
Index chunked_backward_num_steps(const DeviceBackwardInputs& x, const DeviceBackwardOutputs& y,
                                 const ChunkedBackwardForm& form);
void chunked_backward(const DeviceBackwardInputs& x, const Options& options,
                      const DeviceBackwardOutputs& y, const ChunkedBackwardForm& form,
                      const Launch& launch);

}  // namespace groundstate::gpu::simple_gla
