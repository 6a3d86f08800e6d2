// gpu.fused, backward: three sweeps (sweep.hpp) and the gradient of the gates.
//
//   dq   forward in time; leaves q . dq of every token, and S before the last chunk of every group
//   dk   backward in time; leaves k . dk, k . dk' and the products of S with its own state
//   dv   backward in time
// and the gradient of the gates (gate_gradient.hpp) of what the first two leave.
//
// No gradient of a state is ever written: each sweep carries its own. Minimal bytes of the three a
// token and value head, 16-bit operands: 2 (7 K + 7 V), and 4 K V / (64 dg_chunks) for S if there
// are gates.
#include <stdexcept>
#include <string>

#include "gpu/simple_gla/gate_gradient.hpp"
#include "gpu/simple_gla/head_gradient.hpp"
#include "gpu/simple_gla/operands.hpp"

namespace groundstate::gpu::simple_gla {
namespace {

struct Plan {
  Sweep query, key, value;  // what each is the gradient of
  SweepForm of_keys, of_values;
  GateGradient gates;
  Index group;
  float *query_parts = nullptr, *key_parts = nullptr;  // where value heads are to be summed
};

Plan plan(Workspace& workspace, const DeviceBackwardInputs& x, const Options& options,
          const DeviceBackwardOutputs& y, const FusedBackwardForm& form) {
  validate(x);
  validate(x, y);
  if (form.dg_chunks != 1 && form.dg_chunks != 2 && form.dg_chunks != most_group)
    throw std::invalid_argument("simple_gla: dg_chunks must be 1, 2 or 4, got " +
                                std::to_string(form.dg_chunks));
  const Shape n = shape(x);
  const auto scale = static_cast<float>(options.scale);
  Plan p;
  const Sweep common = common_sweep(x, options);
  for (const ElementType type :
       {x.output_gradient.type(), y.query.type(), y.key.type(), y.value.type()})
    if (type != common.type)
      throw std::invalid_argument("simple_gla: do, dq, dk and dv must have the type of q, k and v");
  p.group = n.value_heads / n.heads;
  const Operand q = operand(x.query, p.group), k = operand(x.key, p.group), v = operand(x.value),
                d_o = operand(x.output_gradient);
  const auto sweep = [&](const Operand& query, const Operand& key, const Operand& value,
                         const Operand& output) {
    Sweep s = common;
    s.query = query;
    s.key = key;
    s.value = value;
    s.output = output;
    return s;
  };
  const auto adjoint = [&](Sweep s) {
    s.order = {!options.reverse, options.reverse, true};
    s.update_scale = s.score_scale = scale;
    return s;
  };
  const auto gradient_of_key_head = [&](const auto& tensor, float*& parts, Sweep& s) {
    s.output = operand(tensor, p.group);
    if (p.group == 1) return;
    parts = workspace.take<float>(n.batch * n.time * n.value_heads * n.key);
    s.output = {parts, n.time * n.value_heads * n.key, n.value_heads * n.key, n.key, 1, n.key, 1};
    s.output_type = ElementType::float32;
  };
  p.query = sweep(d_o, v, k, {});
  p.query.own = q;
  p.query.initial_state = state<Key, Value>(x.initial_state);
  p.query.score_scale = p.query.read_scale = scale;
  gradient_of_key_head(y.query, p.query_parts, p.query);
  p.key = adjoint(sweep(v, d_o, q, {}));
  p.key.own = k;
  p.key.initial_state = state<Key, Value>(x.final_state_gradient);
  p.key.final_state = state<Key, Value>(y.initial_state);
  p.key.decay_final_state = true;
  gradient_of_key_head(y.key, p.key_parts, p.key);
  p.value = adjoint(sweep(k, q, d_o, operand(y.value)));
  p.value.initial_state = state<Value, Key>(x.final_state_gradient);
  p.of_keys = sweep_form(common, n.key, form.num_steps, form.value_tile);
  p.of_values = sweep_form(common, n.value, form.num_steps, form.value_tile);

  if (!y.log_decay && !y.constant_log_decay) return p;
  const Index blocks = blocks_of(n.key), dots = blocks * n.batch * n.time * n.value_heads;
  GateGradient& g = p.gates;
  g.order = common.order;
  g.gates = common.gates;
  g.offsets = common.offsets;
  g.batch = n.batch;
  g.time = n.time;
  g.heads = n.value_heads;
  g.sequences = n.sequences;
  g.blocks = blocks;
  g.warps = 4;
  g.log_decay = y.log_decay;
  g.constant = y.constant_log_decay;
  GatePart part;
  part.group = static_cast<int>(form.dg_chunks);
  g.key.group = part.group;
  const Index pairs = g.slots() * n.value_heads;
  part.states = workspace.take<uint4>(pairs * blocks * fragments_of_block(n.value) / 2);
  part.products = workspace.take<float>(pairs * blocks * g.warps);
  g.partials = workspace.take<double>(pairs);
  p.query.gate_part = p.key.gate_part = part;
  p.query.gate_part.dots = workspace.take<float>(dots);
  p.key.gate_part.dots = workspace.take<float>(dots);
  p.key.gate_part.state_dots = workspace.take<float>(dots);
  g.query = p.query.gate_part;
  g.key = p.key.gate_part;
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
  const Plan p = plan(none, x, {}, y, form);
  return sweep_stages<Purpose::keep_states>(p.query.key.columns, p.of_keys);
}

void fused_backward(const DeviceBackwardInputs& x, const Options& options,
                    const DeviceBackwardOutputs& y, const FusedBackwardForm& form,
                    const Launch& launch) {
  Workspace workspace(launch);
  const Plan p = plan(workspace, x, options, y, form);
  require_workspace(launch, workspace.size());
  const cudaStream_t stream = cuda_stream(launch);
  const bool with_gates = y.log_decay || y.constant_log_decay;
  if (with_gates) {
    run_sweep<Purpose::keep_states>(p.query, p.of_keys, stream);
    run_sweep<Purpose::multiply_states>(p.key, p.of_keys, stream);
  } else {
    run_sweep<Purpose::outputs>(p.query, p.of_keys, stream);
    run_sweep<Purpose::outputs>(p.key, p.of_keys, stream);
  }
  run_sweep<Purpose::outputs>(p.value, p.of_values, stream);
  if (with_gates) gate_gradient(p.gates, stream);
  if (p.group > 1) {
    sum_heads(p.query_parts, p.group, y.query, stream);
    sum_heads(p.key_parts, p.group, y.key, stream);
  }
}

}  // namespace groundstate::gpu::simple_gla
