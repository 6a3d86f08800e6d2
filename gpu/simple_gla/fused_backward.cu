// gpu.fused, backward: three sweeps (sweep.hpp) and the gradient of the gates.
//
//   dq   forward in time; leaves q . dq of every token, and S before every chunk
//   dk   backward in time; leaves k . dk, k . dk' and <S, dS> of every chunk
//   dv   backward in time
// and of a chunk, dS the gradient of the state that leaves it, dk' what of dk comes from dS:
//   dg_t = sum over i >= t of (q_i . dq_i - k_i . dk_i) + exp(G_last) <S, dS> + sum of k_j . dk'_j
// the form of reference/simple_gla/chunked_backward.hpp. What rounding does to dA, S and dS enters
// two of the terms with the same value: dq and dk are made of the same dA, S is kept as it enters
// dq. dg_gamma is the sum of dg.
//
// No gradient of a state is ever written: each sweep carries its own. Minimal bytes of the three a
// token and value head, 16-bit operands: 2 (7 K + 7 V), and 4 K V / 64 for S if there are gates.
#include <algorithm>

#include "gpu/core/check.hpp"
#include "gpu/simple_gla/operands.hpp"

namespace groundstate::gpu::simple_gla {
namespace {

constexpr int slices = 8, heads_of_block = 32;

struct GateGradient {
  Order order;  // of the forward
  GateTensors gates;
  DeviceView<const Any, Offset> offsets;
  Index batch, time, heads, sequences, key_blocks;
  const float *query_dots, *key_dots, *state_dots, *products;
  double* partials;  // [slot][head]: sums of dg
  DeviceView<Any, Batch, Time, ValueHead> log_decay;
  DeviceView<Any, ValueHead> constant;
};

// A block has one chunk and 32 heads, a thread 8 of its tokens.
__global__ void gate_gradient(const __grid_constant__ GateGradient a) {
  __shared__ float later_sums[slices][heads_of_block], state_sums[slices][heads_of_block];
  __shared__ double partial[slices][heads_of_block];
  const Index slot = blockIdx.x, head = Index{blockIdx.y} * heads_of_block + threadIdx.x;
  const int slice = static_cast<int>(threadIdx.y);
  // The sequence whose slots include this one: the last that does not begin behind it.
  const auto first_slot = [&](int n) {
    return GatePart::slot(n, a.offsets ? load_integer(a.offsets, Offset{n}) : n * a.time, 0);
  };
  int low = 0, high = static_cast<int>(a.sequences);
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (first_slot(middle) <= slot ? low : high) = middle;
  }
  const TokenRange range = token_range(a.order, a.time, a.offsets, low, 0, 1);
  const int chunk = static_cast<int>(slot - first_slot(low));
  const bool used = chunk * chunk_length < range.length && head < a.heads;
  const int tokens = used ? min(range.length - chunk * chunk_length, chunk_length) : 0;
  // Token `place` of the chunk in the order of the forward.
  const auto token_at = [&](int place) {
    const int t = chunk * chunk_length + place;
    return a.order.reverse ? range.begin + range.length - 1 - t : range.begin + t;
  };
  const auto sum_of = [&](const float* dots, int token) {
    float sum = 0;
    for (Index b = 0; b < a.key_blocks; ++b)
      sum += dots[((b * a.batch + range.batch) * a.time + token) * a.heads + head];
    return sum;
  };
  constexpr int each = chunk_length / slices;
  float raw[each], later = 0, state = 0;
#pragma unroll
  for (int i = 0; i < each; ++i) {
    const int place = slice * each + i;
    raw[i] = 0;
    if (place >= tokens) continue;
    const int token = token_at(place);
    raw[i] = sum_of(a.query_dots, token) - sum_of(a.key_dots, token);
    state += sum_of(a.state_dots, token);
  }
#pragma unroll
  for (int i = 0; i < each; ++i) later += raw[i];
  later_sums[slice][threadIdx.x] = later;
  state_sums[slice][threadIdx.x] = state;
  __syncthreads();
  float bracket = 0;
  if (used) {
    for (Index b = 0; b < 4 * a.key_blocks; ++b)
      bracket += a.products[(slot * a.heads + head) * 4 * a.key_blocks + b];
    // Late gates of the chunk leave out that of its first token.
    bracket *= expf(clamped_log_decay(a.gates, range.batch, token_at(0), head));
  }
  for (int s = 0; s < slices; ++s) bracket += state_sums[s][threadIdx.x];
  later = bracket;
  for (int s = slices - 1; s > slice; --s) later += later_sums[s][threadIdx.x];
  double total = 0;
#pragma unroll
  for (int i = each - 1; i >= 0; --i) {
    const int place = slice * each + i;
    later += raw[i];
    if (place >= tokens) continue;
    const int token = token_at(place);
    // A token that forgets everything passes no gradient to its gate.
    const bool forgets = expf(clamped_log_decay(a.gates, range.batch, token, head)) == 0;
    const float gradient = forgets ? 0 : later;
    total += gradient;
    if (a.log_decay) store(a.log_decay, gradient, Batch{range.batch}, Time{token}, ValueHead{head});
  }
  partial[slice][threadIdx.x] = total;
  __syncthreads();
  if (slice > 0 || head >= a.heads) return;
  for (int s = 1; s < slices; ++s) total += partial[s][threadIdx.x];
  a.partials[slot * a.heads + head] = total;
}

// A block has one head. The order of the sum depends on nothing but the number of slots.
constexpr int summing_threads = 128;
__global__ void sum_partials(const double* partials, Index slots, Index heads,
                             DeviceView<Any, ValueHead> gradient) {
  __shared__ double sums[summing_threads];
  double sum = 0;
#pragma unroll 8
  for (Index slot = threadIdx.x; slot < slots; slot += summing_threads)
    sum += partials[slot * heads + blockIdx.x];
  sums[threadIdx.x] = sum;
  for (unsigned half = summing_threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x == 0) store(gradient, sums[0], ValueHead{blockIdx.x});
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
  for (Index r = 0; r < group; ++r) sum += parts[((token * heads + head) * group + r) * keys + key];
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
  const Index blocks = blocks_of(n.key), dots = blocks * n.batch * n.time * n.value_heads;
  p.slots = n.batch * n.time / chunk_length + n.sequences;
  part.states =
      workspace.take<uint4>(p.slots * n.value_heads * blocks * fragments_of_block(n.value) / 2);
  part.products = workspace.take<float>(p.slots * n.value_heads * blocks * 4);
  p.query.gate_part = p.key.gate_part = part;
  p.query.gate_part.dots = workspace.take<float>(dots);
  p.key.gate_part.dots = workspace.take<float>(dots);
  p.key.gate_part.state_dots = workspace.take<float>(dots);
  p.gates = {common.order,
             common.gates,
             common.offsets,
             n.batch,
             n.time,
             n.value_heads,
             n.sequences,
             blocks,
             p.query.gate_part.dots,
             p.key.gate_part.dots,
             p.key.gate_part.state_dots,
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
    gate_gradient<<<grid, dim3(heads_of_block, slices), 0, stream>>>(p.gates);
    check(cudaGetLastError());
  }
  if (y.constant_log_decay) {
    sum_partials<<<static_cast<unsigned>(n.value_heads), summing_threads, 0, stream>>>(
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
