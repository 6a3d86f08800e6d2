// The three sweeps (sweep.hpp) of a chunked backward, whatever becomes of their states:
//
//   dq   forward in time; leaves q . dq
//   dk   backward in time, to dh0; leaves k . dk, <S, dS> and the sum of k . dk'
//   dv   backward in time
// and what follows: the gradient of the gates (gate_gradient.hpp) of what the first two leave, and
// the sums of dq and dk over value heads that share a head (head_gradient.hpp).
#pragma once

#include "gpu/simple_gla/gate_gradient.hpp"
#include "gpu/simple_gla/operands.hpp"

namespace groundstate::gpu::simple_gla {

struct BackwardSweeps {
  Sweep query, key, value;  // what each is the gradient of
  SweepForm of_keys, of_values;
  bool with_gates;
  GateGradient gates;
  Index group;                                         // value heads that share a head
  float *query_parts = nullptr, *key_parts = nullptr;  // where value heads are to be summed
};

// Takes all memory but that of states. Throws std::invalid_argument as validate() and
// common_sweep(), and where do, dq, dk or dv are not of the type of q.
BackwardSweeps backward_sweeps(Workspace& workspace, const DeviceBackwardInputs& x,
                               const Options& options, const DeviceBackwardOutputs& y,
                               Index num_steps, Index value_tile, Index dg_chunks);

// Queues the sweeps and what follows them.
void run_backward(const BackwardSweeps& sweeps, const DeviceBackwardOutputs& y,
                  cudaStream_t stream);

}  // namespace groundstate::gpu::simple_gla
