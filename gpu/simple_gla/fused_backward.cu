// gpu.fused, backward: three sweeps (backward_sweeps.hpp), each with its state on chip.
//
// No gradient of a state is ever written: the sweep of dk carries its own. That of dq leaves S, as
// an operand, before the last chunk of every group of dg_chunks, and only for the gates.
//
// Minimal bytes a token and value head, e those of an element: e (8 K + 6 V), 8 for g and dg, and
// 2 e K V / (64 dg_chunks) for S.
#include "gpu/simple_gla/backward_sweeps.hpp"

namespace groundstate::gpu::simple_gla {
namespace {

BackwardSweeps plan(Workspace& workspace, const DeviceBackwardInputs& x, const Options& options,
                    const DeviceBackwardOutputs& y, const FusedBackwardForm& form) {
  BackwardSweeps p =
      backward_sweeps(workspace, x, options, y, form.num_steps, form.value_tile, form.dg_chunks);
  if (p.with_gates)
    p.query.gate_part.states = p.key.gate_part.states =
        workspace.take<uint4>(p.gates.slots() * p.gates.heads * p.gates.blocks *
                              operand_fragments_of_block(p.query.key.columns, p.query.type));
  return p;
}

}  // namespace

std::size_t fused_backward_workspace(const DeviceBackwardInputs& x, const DeviceBackwardOutputs& y,
                                     const FusedBackwardForm& form) {
  Workspace workspace;
  plan(workspace, x, {}, y, form);
  return workspace.size();
}

Index fused_backward_num_steps(const DeviceBackwardInputs& x, const DeviceBackwardOutputs& y,
                               const FusedBackwardForm& form) {
  Workspace none;
  const BackwardSweeps p = plan(none, x, {}, y, form);
  return sweep_stages<Purpose::keep_states>(p.query.key.columns, p.of_keys);
}

void fused_backward(const DeviceBackwardInputs& x, const Options& options,
                    const DeviceBackwardOutputs& y, const FusedBackwardForm& form,
                    const Launch& launch) {
  Workspace workspace(launch);
  const BackwardSweeps p = plan(workspace, x, options, y, form);
  require_workspace(launch, workspace.size());
  run_backward(p, y, cuda_stream(launch));
}

}  // namespace groundstate::gpu::simple_gla
