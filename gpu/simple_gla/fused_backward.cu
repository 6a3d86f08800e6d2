// gpu.fused, backward: three sweeps (sweep.hpp) and the gradient of the gates.
//
//   dq   forward in time; leaves q . dq of every token, and S at the end of every span of chunks
//   dk   backward in time; leaves k . dk, and <S, dS> at the end of every span
//   dv   backward in time
//   dg_t = sum over i >= t in the span of (q_i . dq_i - k_i . dk_i) + <S, dS> at the end of the span
// where dS is the gradient of the state that leaves the span: a sum that begins anew in every span,
// so that the noise of later tokens does not reach it. dg_gamma is the sum of dg.
//
// No gradient of a state is ever written: each sweep carries its own. Minimal bytes of the three a
// token and value head, 16-bit operands: 2 (7 K + 7 V) and 4 K V / (64 span) for the states.
#include <bit>

#include "gpu/core/check.hpp"
#include "gpu/simple_gla/operands.hpp"

namespace groundstate::gpu::simple_gla {
namespace {

constexpr int slices = 8, heads_of_block = 32;

struct GateGradient {
  Order order;  // of the forward
  GateTensors gates;
  DeviceView<const Any, Offset> offsets;
  Index batch, time, heads, sequences, span, key_blocks;
  const float *query_dots, *key_dots, *products;
  double* partials;  // [slot][head]: sums of dg
  DeviceView<Any, Batch, Time, ValueHead> log_decay;
  DeviceView<Any, ValueHead> constant;
};

// A block has one span and 32 heads; a thread one eighth of the span's tokens.
__global__ void gate_gradient(const __grid_constant__ GateGradient a, GatePart part) {
  __shared__ float sums[slices][heads_of_block];
  __shared__ double partial[slices][heads_of_block];
  const Index slot = blockIdx.x, head = Index{blockIdx.y} * heads_of_block + threadIdx.x;
  const int slice = static_cast<int>(threadIdx.y);
  // The sequence whose slots include this one: the last that does not begin behind it.
  const auto first_slot = [&](Index n) {
    return part.slot(n, a.offsets ? load_integer(a.offsets, Offset{n}) : n * a.time, 0);
  };
  int low = 0, high = static_cast<int>(a.sequences);
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (first_slot(middle) <= slot ? low : high) = middle;
  }
  const TokenRange range = token_range(a.order, a.time, a.offsets, low, 0, 1);
  const Index span_tokens = a.span * chunk_length, i = slot - first_slot(low);
  const bool used = i * span_tokens < range.length && head < a.heads;
  const Index left = range.length - i * span_tokens;
  const int tokens = used ? static_cast<int>(left < span_tokens ? left : span_tokens) : 0;
  // Token `place` of the span in the order of the forward.
  const auto token_at = [&](int place) {
    const Index t = i * span_tokens + place;
    return a.order.reverse ? range.begin + range.length - 1 - t : range.begin + t;
  };
  const int each = static_cast<int>(span_tokens) / slices;
  const int begin = min(slice * each, tokens), end = min(begin + each, tokens);
  const auto raw = [&](int place) {
    float query = 0, key = 0;
    for (Index b = 0; b < a.key_blocks; ++b) {
      const Index at = ((b * a.batch + range.batch) * a.time + token_at(place)) * a.heads + head;
      query += a.query_dots[at];
      key += a.key_dots[at];
    }
    return query - key;
  };
  float sum = 0;
#pragma unroll 8
  for (int place = begin; place < end; ++place) sum += raw(place);
  sums[slice][threadIdx.x] = sum;
  __syncthreads();
  float later = 0;
  if (used)
    for (Index b = 0; b < 4 * a.key_blocks; ++b)
      later += a.products[(slot * a.heads + head) * 4 * a.key_blocks + b];
  for (int s = slices - 1; s > slice; --s) later += sums[s][threadIdx.x];
  double total = 0;
#pragma unroll 8
  for (int place = end - 1; place >= begin; --place) {
    later += raw(place);
    const Index token = token_at(place);
    // A token that forgets everything passes no gradient to its gate.
    const bool forgets =
        expf(clamped_log_decay(a.gates, range.batch, token, head)) == 0;
    const float gradient = forgets ? 0 : later;
    total += gradient;
    if (a.log_decay)
      store(a.log_decay, gradient, Batch{range.batch}, Time{token}, ValueHead{head});
  }
  partial[slice][threadIdx.x] = total;
  __syncthreads();
  if (slice > 0 || head >= a.heads) return;
  for (int s = 1; s < slices; ++s) total += partial[s][threadIdx.x];
  a.partials[slot * a.heads + head] = total;
}

__global__ void sum_partials(const double* partials, Index slots, Index heads,
                             DeviceView<Any, ValueHead> gradient) {
  const Index head = Index{blockIdx.x} * blockDim.x + threadIdx.x;
  if (head >= heads) return;
  double sum = 0;
#pragma unroll 8
  for (Index slot = 0; slot < slots; ++slot) sum += partials[slot * heads + head];
  store(gradient, sum, ValueHead{head});
}

// dq or dk of a head from those of its value heads: parts [batch, time, value head, key].
__global__ void sum_heads(const float* parts, Index group,
                          DeviceView<Any, Batch, Time, Head, Key> gradient) {
  const Index keys = gradient.extent<Key>(), heads = gradient.extent<Head>(),
              time = gradient.extent<Time>();
  const Index i = Index{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= gradient.extent<Batch>() * time * heads * keys) return;
  const Index key = i % keys, head = i / keys % heads, token = i / keys / heads;
  float sum = 0;
  for (Index r = 0; r < group; ++r)
    sum += parts[((token * heads + head) * group + r) * keys + key];
  store(gradient, sum, Batch{token / time}, Time{token % time}, Head{head}, Key{key});
}

struct Plan {
  Sweep query, key, value;  // what each is the gradient of
  SweepForm of_keys, of_values;
  GateGradient gates;
  Index slots, group;
  float *query_parts = nullptr, *key_parts = nullptr;  // where value heads are to be summed
};

Plan plan(Workspace& workspace, const DeviceBackwardInputs& x, const Options& options,
          const DeviceBackwardOutputs& y, const FusedBackwardForm& form) {
  validate(x);
  validate(x, y);
  const Shape n = shape(x);
  const auto scale = static_cast<float>(options.scale);
  Plan p;
  const Sweep common = common_sweep(x, options);
  for (const ElementType type :
       {x.output_gradient.type(), y.query.type(), y.key.type(), y.value.type()})
    if (type != common.type)
      throw std::invalid_argument("simple_gla: do, dq, dk and dv must have the type of q, k and v");
  if (form.gate_span < 1 || form.gate_span > 1024 || !std::has_single_bit(
                                                         static_cast<std::uint64_t>(form.gate_span)))
    throw std::invalid_argument("simple_gla: gate_span must be a power of two from 1 to 1024");
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
  GatePart part;
  part.span_bits = std::countr_zero(static_cast<std::uint64_t>(form.gate_span));
  const Index blocks = blocks_of(n.key), dots = blocks * n.batch * n.time * n.value_heads;
  p.slots = n.batch * n.time / (form.gate_span * chunk_length) + n.sequences;
  part.states =
      workspace.take<uint4>(p.slots * n.value_heads * blocks * fragments_of_block(n.value) / 2);
  part.products = workspace.take<float>(p.slots * n.value_heads * blocks * 4);
  p.query.gate_part = p.key.gate_part = part;
  p.query.gate_part.dots = workspace.take<float>(dots);
  p.key.gate_part.dots = workspace.take<float>(dots);
  p.gates = {common.order,
             common.gates,
             common.offsets,
             n.batch,
             n.time,
             n.value_heads,
             n.sequences,
             form.gate_span,
             blocks,
             p.query.gate_part.dots,
             p.key.gate_part.dots,
             part.products,
             workspace.take<double>(p.slots * n.value_heads),
             y.log_decay,
             y.constant_log_decay};
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
  const Shape n = shape(x);
  if (with_gates && p.slots * n.value_heads > 0) {
    const dim3 grid(static_cast<unsigned>(p.slots),
                    static_cast<unsigned>((n.value_heads + heads_of_block - 1) / heads_of_block));
    gate_gradient<<<grid, dim3(heads_of_block, slices), 0, stream>>>(p.gates, p.query.gate_part);
    check(cudaGetLastError());
  }
  if (y.constant_log_decay) {
    sum_partials<<<static_cast<unsigned>((n.value_heads + 127) / 128), 128, 0, stream>>>(
        p.gates.partials, p.slots, n.value_heads, y.constant_log_decay);
    check(cudaGetLastError());
  }
  const Index elements = n.batch * n.time * n.heads * n.key;
  if (p.group > 1 && elements > 0) {
    const auto blocks = static_cast<unsigned>((elements + 255) / 256);
    sum_heads<<<blocks, 256, 0, stream>>>(p.query_parts, p.group, y.query);
    sum_heads<<<blocks, 256, 0, stream>>>(p.key_parts, p.group, y.key);
    check(cudaGetLastError());
  }
}

}  // namespace groundstate::gpu::simple_gla
