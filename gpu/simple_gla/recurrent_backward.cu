// gpu.recurrent, backward: the adjoint of the recurrence, token by token. Equations and order as in
// reference/simple_gla/backward.hpp, but for the sums over keys and values (tile.cuh):
//
//   dq_t = scale S_t do_t    the recurrence of S, transposed, read with scale do
//   dk_t = dS_t v_t          that of dS, transposed, last token first
//   dv_t = dS_t^T k_t        that of dS; dh0 = exp(d_0) dS_0
//   dg_t = exp(d_t) <dS_t, S_{t-1}>,  0 where exp(d_t) = 0;  dg_gamma = sum_t dg_t
//
// The first three are recurrence.cu. For dg a CTA owns one sequence, one value head and 32 values:
// it goes through the tokens once for states every 64 tokens, then backwards through blocks of 64,
// whose states it makes again from there. dq and dk of every value head, and the <dS, S> of every
// 32 values, are summed in ascending order by kernels of their own. dg_gamma: thread i sums the
// tokens i, i + 128, ... of a sequence, the threads are added in pairs, the sequences in order.
//
// Rounding points: those of the arithmetic, and every gradient once as it is stored.
// Workspace: T / 64 states a value head, 64 more for each CTA (at most 264), 2 T K and T V / 32
// numbers a value head, all in the type of arithmetic. About 27 K V flop a token and value head:
// the path for parity.
#include <algorithm>
#include <stdexcept>
#include <string>

#include "gpu/core/check.hpp"
#include "gpu/simple_gla/head_gradient.hpp"
#include "gpu/simple_gla/tile.cuh"

namespace groundstate::gpu::simple_gla {
namespace {

// ---- tile

constexpr int columns = 4;
constexpr int tile_columns = lanes * columns;
constexpr Index period = 64;      // tokens between two stored states
constexpr Index most_ctas = 264;  // two for each multiprocessor of an H100
template <class Scalar>           // of a thread, of S and of dS each
constexpr int most_register_rows = sizeof(Scalar) == 4 ? 16 : 8;

// What dg needs, in one struct: the two recurrences and their states.
template <class Scalar>
struct Products {
  Index sequences, heads, batch, time, rows, columns, tiles, ctas;
  DeviceView<const Any, Offset> offsets;
  Gates gates;
  bool reverse;
  TokenInput scaled_query, key, value, output_gradient;
  StateInput initial, final_gradient;
  Scalar* products;     // [tile][batch * time][head]
  Scalar* checkpoints;  // [slot][head][tile][fragment]: states before every `period` tokens
  Scalar* before;       // [resident CTA][period][fragment]: states before each token of a block
  Scalar* states;       // [resident CTA][S, dS][fragment], where they are not in registers
};

// ---- phases

template <class Scalar, class Part>
__device__ void load_state(Part& state, const Place& at, Index rows, Index columns,
                           const StateInput& x) {
  for_each_element(state, at, rows, columns, [&](Scalar& s, Index row, Index column, bool inside) {
    s = inside && x.data != nullptr ? load<Scalar>(x.type, x.data,
                                                   at.sequence * x.sequence + at.head * x.head +
                                                       row * x.row + column * x.column)
                                    : Scalar(0);
  });
}

// A thread's part in the workspace, [row][column][thread].
template <class Scalar, class Part>
__device__ void save(Part& state, Scalar* to) {
#pragma unroll
  for (int i = 0; i < state.rows(); ++i)
#pragma unroll
    for (int j = 0; j < columns; ++j)
      to[(Index{i} * columns + j) * threads + threadIdx.x] = state(i, j);
}
template <class Scalar, class Part>
__device__ void restore(Part& state, const Scalar* from) {
#pragma unroll
  for (int i = 0; i < state.rows(); ++i)
#pragma unroll
    for (int j = 0; j < columns; ++j)
      state(i, j) = from[(Index{i} * columns + j) * threads + threadIdx.x];
}

// Token `t` of the block without an output.
template <class Scalar, class Part>
__device__ void update(Part& state, const Tokens<Scalar>& tokens, int t) {
  const Scalar* const key = tokens.key + t * tokens.padded + group() * state.rows();
  const Scalar* const value = tokens.value + t * tokens.width + lane() * columns;
#pragma unroll
  for (int i = 0; i < state.rows(); ++i)
#pragma unroll
    for (int j = 0; j < columns; ++j)
      state(i, j) = advanced<Scalar>(state(i, j), tokens.decay[t], key[i], value[j]);
}

template <class Scalar>
__device__ Scalar sum_of_warp(Scalar x) {
#pragma unroll
  for (int distance = 1; distance < warp; distance *= 2) x += __shfl_xor_sync(~0u, x, distance);
  return x;
}

// <state, other> over the thread's part, then the warp; `other` lies in the workspace.
template <class Scalar, class Part>
__device__ Scalar inner_product(Part& state, const Scalar* other) {
  Scalar sum(0);
#pragma unroll
  for (int i = 0; i < state.rows(); ++i)
#pragma unroll
    for (int j = 0; j < columns; ++j)
      sum = fma(state(i, j), other[(Index{i} * columns + j) * threads + threadIdx.x], sum);
  return sum_of_warp(sum);
}

// The states before the tokens [begin, end), each to the next place of `to` where that is given.
template <class Scalar, class Part>
__device__ void run_forward(Part& state, const Products<Scalar>& p, const Place& at,
                            const Tokens<Scalar>& tokens, int block, Index begin, Index end,
                            Scalar* to, Index fragment) {
  for (Index first = begin; first < end; first += block) {
    const int count = static_cast<int>(min(Index{block}, end - first));
    stage(p.key, at, first, count, 0, tokens.padded, p.rows, tokens.key);
    stage(p.value, at, first, count, at.first_column, tokens.width, p.columns, tokens.value);
    stage_decays(p.gates, at, first, count, false, tokens.decay);
    __syncthreads();
    for (int t = 0; t < count; ++t) {
      if (to != nullptr) save(state, to + (first - begin + t) * fragment);
      update(state, tokens, t);
    }
    __syncthreads();
  }
}

// ---- kernels

template <class Scalar, int rows>
__global__ void __launch_bounds__(threads)
    state_products(const __grid_constant__ Products<Scalar> p, int rows_of_group, int block) {
  extern __shared__ __align__(16) std::byte shared[];
  const Tokens<Scalar> tokens(shared, block, groups * rows_of_group, tile_columns);
  const Index fragment = Index{rows_of_group} * columns * threads;
  Fragment<Scalar, rows, columns> state(p.states + Index{blockIdx.x} * 2 * fragment, rows_of_group),
      gradient(p.states + (Index{blockIdx.x} * 2 + 1) * fragment, rows_of_group);
  Scalar* const before = p.before + Index{blockIdx.x} * period * fragment;
  for (Index problem = blockIdx.x; problem < p.sequences * p.heads * p.tiles;
       problem += gridDim.x) {
    const Index tile = problem % p.tiles, head = problem / p.tiles % p.heads,
                sequence = problem / p.tiles / p.heads;
    const Index begin = p.offsets ? load_integer(p.offsets, Offset{sequence}) : 0,
                end = p.offsets ? load_integer(p.offsets, Offset{sequence + 1}) : p.time;
    const Place at{p.offsets ? 0 : sequence, sequence, head, begin, end - begin, p.reverse,
                   tile * tile_columns};
    // One slot more than whole periods for each sequence that lies before: enough for any lengths.
    const Index first_slot =
        p.offsets ? begin / period + sequence : sequence * ((p.time + period - 1) / period);
    const auto checkpoint = [&](Index i) {
      return p.checkpoints + (((first_slot + i) * p.heads + head) * p.tiles + tile) * fragment;
    };
    load_state<Scalar>(state, at, p.rows, p.columns, p.initial);
    for (Index first = 0; first < at.length; first += period) {
      save(state, checkpoint(first / period));
      run_forward<Scalar>(state, p, at, tokens, block, first, min(first + period, at.length),
                          nullptr, fragment);
    }
    load_state<Scalar>(gradient, at, p.rows, p.columns, p.final_gradient);
    for (Index i = (at.length + period - 1) / period - 1; i >= 0; --i) {
      const Index first = i * period, last = min(first + period, at.length);
      restore(state, checkpoint(i));
      run_forward<Scalar>(state, p, at, tokens, block, first, last, before, fragment);
      for (Index stop = last; stop > first; stop -= min(Index{block}, stop - first)) {
        const int count = static_cast<int>(min(Index{block}, stop - first));
        const Index start = stop - count;
        stage(p.scaled_query, at, start, count, 0, tokens.padded, p.rows, tokens.key);
        stage(p.output_gradient, at, start, count, at.first_column, tokens.width, p.columns,
              tokens.value);
        for (int t = static_cast<int>(threadIdx.x); t < count; t += threads)
          tokens.decay[t] = start + t + 1 < at.length
                                ? exponential(log_decay<Scalar>(p.gates, at, start + t + 1))
                                : Scalar(1);
        __syncthreads();
        for (int t = count - 1; t >= 0; --t) {
          update(gradient, tokens, t);
          const Scalar sum = inner_product(gradient, before + (start - first + t) * fragment);
          if (threadIdx.x % warp == 0) tokens.partial[t * warps + threadIdx.x / warp] = sum;
        }
        __syncthreads();
        for (int t = static_cast<int>(threadIdx.x); t < count; t += threads) {
          Scalar sum = tokens.partial[t * warps];
          for (int w = 1; w < warps; ++w) sum += tokens.partial[t * warps + w];
          p.products[((tile * p.batch + at.batch) * p.time + at.token(start + t)) * p.heads +
                     head] = sum;
        }
        __syncthreads();
      }
    }
  }
}

// dg of every token and value head, from the products of the tiles; also to `dg` [token][head].
template <class Scalar>
__global__ void gate_gradients(const __grid_constant__ Products<Scalar> p, Scalar* dg,
                               const __grid_constant__ DeviceView<Any, Batch, Time, ValueHead> y) {
  const Index elements = p.batch * p.time * p.heads;
  for (Index i = Index{blockIdx.x} * blockDim.x + threadIdx.x; i < elements;
       i += Index{gridDim.x} * blockDim.x) {
    const Index head = i % p.heads, time = i / p.heads % p.time, batch = i / p.heads / p.time;
    const Place at{batch, batch, head, 0, p.time, false, 0};
    const Scalar decay = exponential(log_decay<Scalar>(p.gates, at, time));
    Scalar sum(0);
    for (Index tile = 0; tile < p.tiles; ++tile) sum += p.products[tile * elements + i];
    dg[i] = decay == Scalar(0) ? Scalar(0) : times(decay, sum);
    if (y) store<Scalar>(y, dg[i], Batch{batch}, Time{time}, ValueHead{head});
  }
}

template <class Scalar>
__global__ void __launch_bounds__(threads)
    constant_gate_gradients(const __grid_constant__ Products<Scalar> p, const Scalar* dg,
                            const __grid_constant__ DeviceView<Any, ValueHead> y) {
  __shared__ Scalar partial[warps];
  const Index head = blockIdx.x;
  Scalar total(0);
  for (Index sequence = 0; sequence < p.sequences; ++sequence) {
    const Index begin = p.offsets ? load_integer(p.offsets, Offset{sequence}) : sequence * p.time,
                end = p.offsets ? load_integer(p.offsets, Offset{sequence + 1}) : begin + p.time;
    Scalar sum(0);
    for (Index t = begin + threadIdx.x; t < end; t += threads) sum += dg[t * p.heads + head];
    sum = sum_of_warp(sum);
    __syncthreads();
    if (threadIdx.x % warp == 0) partial[threadIdx.x / warp] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
      sum = partial[0];
      for (int w = 1; w < warps; ++w) sum += partial[w];
      total += sum;
    }
  }
  if (threadIdx.x == 0) store<Scalar>(y, total, ValueHead{head});
}

// ---- launch

// The tensors of one call with everything in the workspace.
template <class Scalar>
struct Call {
  Recurrence dq, dk, dv;
  Scalar *dq_states, *dk_states, *dv_states;  // the recurrences' own parts of the workspace
  Scalar *dq_of_heads, *dk_of_heads;          // [batch][time][value head][key]
  Products<Scalar> products;
  Scalar* dg;
  bool wants_gates;
};

template <class Scalar>
TokenOutput of_value_heads(Scalar* data, const Shape& n) {
  return {data,
          element_type_of<Scalar>::value,
          n.time * n.value_heads * n.key,
          n.value_heads * n.key,
          n.key,
          1};
}

template <class Scalar>
Call<Scalar> plan(const DeviceBackwardInputs& x, const Options& options,
                  const DeviceBackwardOutputs& y, Workspace& workspace) {
  validate(x);
  validate(x, y);
  const Shape n = shape(x);
  const auto input = [&](const auto& view, double scale = 1) {
    return token_input(view, n.value_heads, scale);
  };
  const StateInput h0 = x.initial_state ? state_tensor<const void>(x.initial_state) : StateInput{},
                   dht = x.final_state_gradient ? state_tensor<const void>(x.final_state_gradient)
                                                : StateInput{};
  Call<Scalar> call{};
  const Index elements = n.batch * n.time * n.value_heads;
  call.dq_of_heads = workspace.take<Scalar>(elements * n.key);
  call.dk_of_heads = workspace.take<Scalar>(elements * n.key);

  const Recurrence forward = recurrence_of(x, options);
  call.dq = forward;
  call.dq.rows = n.value;
  call.dq.columns = n.key;
  call.dq.query = input(x.output_gradient, options.scale);
  call.dq.key = input(x.value);
  call.dq.value = input(x.key);
  call.dq.initial = transposed(h0);
  call.dq.output = of_value_heads(call.dq_of_heads, n);
  call.dq_states = take_recurrence<Scalar>(workspace, call.dq);

  call.dk = call.dq;
  call.dk.reverse = !forward.reverse;
  call.dk.decay_later = true;
  call.dk.query = input(x.value);
  call.dk.key = input(x.output_gradient);
  call.dk.value = input(x.query, options.scale);
  call.dk.initial = transposed(dht);
  call.dk.output = of_value_heads(call.dk_of_heads, n);
  call.dk_states = take_recurrence<Scalar>(workspace, call.dk);

  call.dv = forward;
  call.dv.reverse = !forward.reverse;
  call.dv.decay_later = true;
  call.dv.query = input(x.key);
  call.dv.key = input(x.query, options.scale);
  call.dv.value = input(x.output_gradient);
  call.dv.initial = dht;
  call.dv.output = token_output(y.value);
  if (y.initial_state) call.dv.final = state_tensor<void>(y.initial_state);
  call.dv_states = take_recurrence<Scalar>(workspace, call.dv);

  call.wants_gates = y.log_decay || y.constant_log_decay;
  if (!call.wants_gates) return call;
  Products<Scalar>& p = call.products;
  p.sequences = n.sequences;
  p.heads = n.value_heads;
  p.batch = n.batch;
  p.time = n.time;
  p.rows = n.key;
  p.columns = n.value;
  p.tiles = (n.value + tile_columns - 1) / tile_columns;
  p.ctas = std::min(p.sequences * p.heads * p.tiles, most_ctas);
  p.offsets = x.offsets;
  p.gates = forward.gates;
  p.reverse = options.reverse;
  p.scaled_query = input(x.query, options.scale);
  p.key = input(x.key);
  p.value = input(x.value);
  p.output_gradient = input(x.output_gradient);
  p.initial = h0;
  p.final_gradient = dht;
  const Index fragment = fragment_elements(n.key, columns);
  const Index slots =
      x.offsets ? n.time / period + n.sequences : n.sequences * ((n.time + period - 1) / period);
  p.products = workspace.take<Scalar>(elements * p.tiles);
  p.checkpoints = workspace.take<Scalar>(slots * p.heads * p.tiles * fragment);
  p.before = workspace.take<Scalar>(p.ctas * period * fragment);
  const bool registers = rows_of(n.key) <= most_register_rows<Scalar>;
  p.states = workspace.take<Scalar>(registers ? 0 : p.ctas * 2 * fragment);
  call.dg = workspace.take<Scalar>(elements);
  return call;
}

template <class Scalar, int rows>
void launch_products(const Products<Scalar>& p, cudaStream_t stream) {
  const Block block = block_of<Scalar>(p.rows, columns, period);
  if (static_cast<Index>(block.bytes) > shared_limit)
    throw std::invalid_argument("simple_gla: K = " + std::to_string(p.rows) +
                                " does not fit the shared memory of gpu.recurrent");
  if (p.ctas == 0 || p.time == 0) return;
  const auto kernel = state_products<Scalar, rows>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(block.bytes)));
  kernel<<<static_cast<unsigned>(p.ctas), threads, block.bytes, stream>>>(p, rows_of(p.rows),
                                                                          block.tokens);
  check(cudaGetLastError());
}

template <class Scalar>
void launch_products(const Products<Scalar>& p, cudaStream_t stream) {
  switch (rows_of(p.rows)) {
    case 4:
      return launch_products<Scalar, 4>(p, stream);
    case 8:
      return launch_products<Scalar, 8>(p, stream);
    case 16:
      if constexpr (most_register_rows<Scalar> >= 16) return launch_products<Scalar, 16>(p, stream);
      [[fallthrough]];
    default:
      return launch_products<Scalar, 0>(p, stream);
  }
}

template <class Scalar>
void run(const DeviceBackwardInputs& x, const Options& options, const DeviceBackwardOutputs& y,
         const Launch& launch) {
  Workspace workspace(launch);
  const Call<Scalar> call = plan<Scalar>(x, options, y, workspace);
  require_workspace(launch, workspace.size());
  const auto stream = static_cast<cudaStream_t>(launch.stream.handle);
  const Shape n = shape(x);
  const Index elements = n.batch * n.time * n.value_heads;
  launch_recurrence<Scalar>(call.dq, call.dq_states, launch.stream);
  launch_recurrence<Scalar>(call.dk, call.dk_states, launch.stream);
  launch_recurrence<Scalar>(call.dv, call.dv_states, launch.stream);
  sum_heads(call.dq_of_heads, n.value_heads / n.heads, y.query, stream);
  sum_heads(call.dk_of_heads, n.value_heads / n.heads, y.key, stream);
  if (!call.wants_gates) return;
  launch_products(call.products, stream);
  if (elements > 0) {
    const auto blocks = static_cast<unsigned>(std::min<Index>((elements + 255) / 256, 4096));
    gate_gradients<Scalar><<<blocks, 256, 0, stream>>>(call.products, call.dg, y.log_decay);
    check(cudaGetLastError());
  }
  if (y.constant_log_decay) {
    constant_gate_gradients<Scalar><<<static_cast<unsigned>(n.value_heads), threads, 0, stream>>>(
        call.products, call.dg, y.constant_log_decay);
    check(cudaGetLastError());
  }
}

}  // namespace

std::size_t recurrent_backward_workspace(const DeviceBackwardInputs& x,
                                         const DeviceBackwardOutputs& y) {
  Workspace workspace;
  if (is_double(y.query.type()))
    plan<double>(x, {}, y, workspace);
  else
    plan<float>(x, {}, y, workspace);
  return workspace.size();
}

void recurrent_backward(const DeviceBackwardInputs& x, const Options& options,
                        const DeviceBackwardOutputs& y, const Launch& launch) {
  if (is_double(y.query.type()))
    run<double>(x, options, y, launch);
  else
    run<float>(x, options, y, launch);
}

}  // namespace groundstate::gpu::simple_gla
