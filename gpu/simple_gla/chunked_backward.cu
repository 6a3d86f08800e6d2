// gpu.chunked, backward: the sweeps of gpu.fused (backward_sweeps.hpp) in two passes.
//
//   first pass    S before every chunk, forward in time; dS behind every chunk, dh0 and dv,
//                 backward in time
//   second pass   dq and dk of all chunks at once, each from its own S and dS; then dg
// S is kept as an operand, which is all that enters dq and dg; dS in fp32 or as an operand
// (dh_dtype), which only <S, dS> in dg sees. So dq, dk, dv and dh0 have the bits of gpu.fused, and
// in fp32 dg has, too.
//
// The second pass fills the device whatever the batch. It pays with bytes: a token and value head
// of 16-bit operands 2 (10 K + 8 V), 8 for g and dg, 4 K V / 64 for S, and twice that for dS in
// fp32.
#include "gpu/simple_gla/backward_sweeps.hpp"

namespace groundstate::gpu::simple_gla {
namespace {

struct Plan {
  BackwardSweeps sweeps;
  Sweep query_states, key_states;  // of the first pass
};

Plan plan(Workspace& workspace, const DeviceBackwardInputs& x, const Options& options,
          const DeviceBackwardOutputs& y, const ChunkedBackwardForm& form) {
  Plan p{backward_sweeps(workspace, x, options, y, form.num_steps, form.value_tile, 1), {}, {}};
  Sweep &query = p.sweeps.query, &key = p.sweeps.key;
  const Index slots = group_slots(1, query.batch * query.time, query.sequences);
  const Index blocks = slots * query.heads * blocks_of(query.value.columns);
  const Index operands = blocks * operand_fragments_of_block(query.key.columns, query.type);
  uint4* const states = workspace.take<uint4>(operands);
  query.chunk_states = {states, true};
  key.gate_part.states = states;
  key.chunk_states = {form.dh == StateStorage::operand
                          ? static_cast<void*>(workspace.take<uint4>(operands))
                          : workspace.take<float4>(blocks * fragments_of_block(query.key.columns)),
                      form.dh == StateStorage::operand};
  p.query_states = query;
  p.key_states = key;
  key.final_state = {};
  query.segments.count = key.segments.count = number_of_chunks(static_cast<int>(query.time));
  return p;
}

}  // namespace

std::size_t chunked_backward_workspace(const DeviceBackwardInputs& x,
                                       const DeviceBackwardOutputs& y,
                                       const ChunkedBackwardForm& form) {
  Workspace workspace;
  plan(workspace, x, {}, y, form);
  return workspace.size();
}

Index chunked_backward_num_steps(const DeviceBackwardInputs& x, const DeviceBackwardOutputs& y,
                                 const ChunkedBackwardForm& form) {
  Workspace none;
  const Plan p = plan(none, x, {}, y, form);
  return sweep_stages<Purpose::outputs>(p.sweeps.value.key.columns, p.sweeps.of_values);
}

void chunked_backward(const DeviceBackwardInputs& x, const Options& options,
                      const DeviceBackwardOutputs& y, const ChunkedBackwardForm& form,
                      const Launch& launch) {
  Workspace workspace(launch);
  const Plan p = plan(workspace, x, options, y, form);
  require_workspace(launch, workspace.size());
  const cudaStream_t stream = cuda_stream(launch);
  run_sweep<Purpose::states>(p.query_states, p.sweeps.of_keys, stream);
  run_sweep<Purpose::states>(p.key_states, p.sweeps.of_keys, stream);
  run_backward(p.sweeps, y, stream);
}

}  // namespace groundstate::gpu::simple_gla
