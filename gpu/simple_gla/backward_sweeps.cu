#include <stdexcept>
#include <string>

#include "gpu/simple_gla/backward_sweeps.hpp"
#include "gpu/simple_gla/head_gradient.hpp"

namespace groundstate::gpu::simple_gla {

BackwardSweeps backward_sweeps(Workspace& workspace, const DeviceBackwardInputs& x,
                               const Options& options, const DeviceBackwardOutputs& y,
                               Index num_steps, Index value_tile, Index dg_chunks) {
  validate(x);
  validate(x, y);
  if (dg_chunks != 1 && dg_chunks != 2 && dg_chunks != most_group)
    throw std::invalid_argument("simple_gla: dg_chunks must be 1, 2 or 4, got " +
                                std::to_string(dg_chunks));
  const Shape n = shape(x);
  const auto scale = static_cast<float>(options.scale);
  BackwardSweeps p;
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
  p.of_keys = sweep_form(common, n.key, num_steps, value_tile);
  p.of_values = sweep_form(common, n.value, num_steps, value_tile);

  p.with_gates = y.log_decay || y.constant_log_decay;
  if (!p.with_gates) return p;
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
  g.warps = warps_of_block(common.type);
  g.log_decay = y.log_decay;
  g.constant = y.constant_log_decay;
  GatePart part;
  part.group = static_cast<int>(dg_chunks);
  g.key.group = part.group;
  const Index pairs = g.slots() * n.value_heads;
  part.products = workspace.take<float2>(pairs * blocks * g.warps);
  g.partials = workspace.take<double>(pairs);
  p.query.gate_part = p.key.gate_part = part;
  p.query.gate_part.dots = workspace.take<float>(dots);
  p.key.gate_part.dots = workspace.take<float>(dots);
  g.query = p.query.gate_part;
  g.key = p.key.gate_part;
  return p;
}

void run_backward(const BackwardSweeps& p, const DeviceBackwardOutputs& y, cudaStream_t stream) {
  run_sweep<Purpose::outputs>(p.value, p.of_values, stream);
  if (p.with_gates) {
    run_sweep<Purpose::keep_states>(p.query, p.of_keys, stream);
    run_sweep<Purpose::multiply_states>(p.key, p.of_keys, stream);
    gate_gradient(p.gates, stream);
  } else {
    run_sweep<Purpose::outputs>(p.query, p.of_keys, stream);
    run_sweep<Purpose::outputs>(p.key, p.of_keys, stream);
  }
  if (p.group > 1) {
    sum_heads(p.query_parts, p.group, y.query, stream);
    sum_heads(p.key_parts, p.group, y.key, stream);
  }
}

}  // namespace groundstate::gpu::simple_gla
