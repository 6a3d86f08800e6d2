// The gradient of the gates, from what two sweeps leave (GatePart).
//
// In a group of chunks, i, j and t its tokens in the order of the forward, S the state before the
// last chunk and dS the gradient of the state behind it, dk' what of dk comes from dS:
//   dg_t = sum over i >= t of (q_i . dq_i - k_i . dk_i)
//          + exp(G_last) <S, dS> + sum over the last chunk of k_j . dk'_j
// the form of reference/simple_gla/chunked_backward.hpp. What rounding does to dA, S and dS enters
// two of the terms with the same value where dq and dk are made of the same dA and the same S and
// dS. dg_gamma is the sum of dg. fp32; dg_gamma gathers in fp64, in a fixed order.
#pragma once

#include "gpu/simple_gla/sweep.hpp"

namespace groundstate::gpu::simple_gla {

constexpr int most_group = 4;  // chunks

struct GateGradient {
  Order order;  // of the forward
  GateTensors gates;
  DeviceView<const Any, Offset> offsets;
  Index batch, time, heads, sequences;
  Index blocks, warps;  // of each dot, and of each product, to be summed
  GatePart query, key;  // of the forward sweep, and of the adjoint one
  double* partials;     // [slot][head]: sums of dg
  DeviceView<Any, Batch, Time, ValueHead> log_decay;
  DeviceView<Any, ValueHead> constant;

  Index slots() const { return group_slots(key.group, batch * time, sequences); }
};

// Queues one kernel, or two where there is a dg_gamma.
void gate_gradient(const GateGradient& x, cudaStream_t stream);

}  // namespace groundstate::gpu::simple_gla
