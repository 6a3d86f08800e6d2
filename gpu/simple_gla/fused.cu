// gpu.fused and gpu.segmented: one sweep (sweep.hpp) over the whole sequence, or over segments of
// it.
//
// Segments: a first kernel sweeps all but the last from a state of zero (the first from h0),
// without outputs; a second one makes the state before each of them; a third sweeps all of them at
// once.
//   state_{s+1} = exp(G_s) state_s + what segment s made of zero
// k, v and the gates are read twice and 2 (segments - 1) states written and read, which pays where
// sequences and heads leave most of the device idle.
//
// Minimal bytes a token and value head, e those of an element: e (2 K + 2 V) + 4 for g;
// flop 2 C (K + V) + 4 K V.
#include <algorithm>

#include "gpu/core/check.hpp"
#include "gpu/core/device.hpp"
#include "gpu/simple_gla/operands.hpp"

namespace groundstate::gpu::simple_gla {
namespace {

struct Plan {
  Sweep sweep;
  SweepForm form;
  Index blocks, fragments;
};

// state[s + 1] := what segment s made of zero + decay_s state[s].
__global__ void combine_segments(Segments segments, Index sequences, Index heads, Index each) {
  const Index i = Index{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= sequences * heads * each) return;
  const Index element = i % each, head = i / each % heads, sequence = i / each / heads;
  const auto number = [&](Index segment) {
    return (sequence * segments.count + segment) * heads + head;
  };
  float4 state = segments.states[number(1) * each + element];
  for (Index segment = 1; segment + 1 < segments.count; ++segment) {
    const float decay = segments.decays[number(segment)];
    float4& next = segments.states[number(segment + 1) * each + element];
    const float4 own = next;
    state = {fmaf(decay, state.x, own.x), fmaf(decay, state.y, own.y), fmaf(decay, state.z, own.z),
             fmaf(decay, state.w, own.w)};
    next = state;
  }
}

Plan plan(Workspace& workspace, const DeviceInputs& x, const Options& options,
          const DeviceOutputs& y, const FusedForm& form) {
  validate(x);
  validate(x, y);
  if (form.segments < 1) throw std::invalid_argument("simple_gla: segments must be at least 1");
  Plan p;
  Sweep& s = p.sweep = common_sweep(x, options);
  if (y.output.type() != s.type)
    throw std::invalid_argument("simple_gla: o must have the type of q, k and v");
  const Index group = shape(x).value_heads / shape(x).heads;
  s.query = operand(x.query, group);
  s.key = operand(x.key, group);
  s.value = operand(x.value);
  s.output = operand(y.output);
  s.initial_state = state<Value, Key>(x.initial_state);
  s.final_state = state<Value, Key>(y.final_state);
  s.score_scale = s.read_scale = static_cast<float>(options.scale);
  s.segments.count = form.segments;
  p.form = sweep_form(s, s.value.columns, form.num_steps, form.value_tile);
  p.blocks = blocks_of(s.value.columns);
  p.fragments = fragments_of_block(s.key.columns);
  if (form.segments > 1) {
    const Index count = s.sequences * form.segments * s.heads;
    s.segments.states = workspace.take<float4>(count * p.blocks * p.fragments);
    s.segments.decays = workspace.take<float>(count);
  }
  return p;
}

}  // namespace

std::size_t fused_workspace(const DeviceInputs& x, const DeviceOutputs& y, const FusedForm& form) {
  Workspace workspace;
  plan(workspace, x, {}, y, form);
  return workspace.size();
}

// Two passes over all but the last segment cost about twice the time of one: with fewer than three
// segments there is nothing to gain, nor with fewer than eight chunks in each.
Index segments_that_fill(const DeviceInputs& x) {
  const Shape n = shape(x);
  const Index ctas = (n.value + 127) / 128 * n.value_heads * n.sequences;
  if (ctas == 0) return 1;
  const Index chunks = n.batch * n.time / n.sequences / chunk_length;
  const Index segments = std::min(multiprocessors() / ctas, chunks / 8);
  return segments < 3 ? 1 : segments;
}

Index fused_num_steps(const DeviceInputs& x, const DeviceOutputs& y, const FusedForm& form) {
  Workspace none;
  const Plan p = plan(none, x, {}, y, form);
  return sweep_stages<Purpose::outputs>(p.sweep.key.columns, p.form);
}

void fused(const DeviceInputs& x, const Options& options, const DeviceOutputs& y,
           const FusedForm& form, const Launch& launch) {
  Workspace workspace(launch);
  const Plan p = plan(workspace, x, options, y, form);
  require_workspace(launch, workspace.size());
  if (form.segments > 1) {
    run_sweep<Purpose::states>(p.sweep, p.form, cuda_stream(launch));
    const Index each = p.blocks * p.fragments, elements = p.sweep.sequences * p.sweep.heads * each;
    if (elements > 0)
      combine_segments<<<static_cast<unsigned>((elements + 255) / 256), 256, 0,
                         cuda_stream(launch)>>>(p.sweep.segments, p.sweep.sequences, p.sweep.heads,
                                                each);
    check(cudaGetLastError());
  }
  run_sweep<Purpose::outputs>(p.sweep, p.form, cuda_stream(launch));
}

}  // namespace groundstate::gpu::simple_gla
