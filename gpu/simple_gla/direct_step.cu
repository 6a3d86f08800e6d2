// gpu.step for one token: states from memory to registers and back.
//
// A CTA owns one sequence and value head. L lanes of a warp (8, 16 or 32) have a row of the state,
// 16 bytes each, and a lane has R rows: those of a group of tile.cuh. Query and key of a row come
// by one lane and go to the others by shuffles. The arithmetic and its order are those of
// gpu.recurrent, so the bits are, too: the sums of groups are added in pairs, ((0 + 1) + (2 + 3)),
// and these fours in ascending order; what of it is in different warps goes through shared memory.
//
// Rounding points: the state after the token, o as it is stored.
// Limits: direct_step_takes().
// Bytes and measurements: step.cu.
//
// Learned on an H100. Rows whole in a warp: with tiles of two times 128 bytes a row it is 93 / 94 %
// where it is 96 / 97 %.
#include <algorithm>
#include <array>

#include "gpu/core/check.hpp"
#include "gpu/core/direct_load.cuh"
#include "gpu/simple_gla/direct_step.hpp"
#include "gpu/simple_gla/tile.cuh"

namespace groundstate::gpu::simple_gla {
namespace {

struct Arguments {
  TokenRows query, key, value, gate, constant_gate, output;
  Divisor query_group, key_group, value_group;
  float scale;
  std::byte* state;
  Index slot, head;  // its strides in bytes
  const std::int32_t* slots;
  Index slot_stride;
};

template <int lanes_a_row>
constexpr int ctas_warps = groups* lanes_a_row / warp;

template <class Stored, int own_rows, int lanes_a_row>
__global__ void __launch_bounds__(ctas_warps<lanes_a_row>* warp, 32 / ctas_warps<lanes_a_row>)
    advance_state(const __grid_constant__ Arguments a) {
  using Piece = StatePiece<Stored>;
  constexpr int count = Piece::count, columns = lanes_a_row * count,
                rows_a_warp = own_rows * (warp / lanes_a_row), warps_of_four = lanes_a_row / lanes;
  __shared__ float partial[ctas_warps<lanes_a_row>][columns];
  const auto sequence = static_cast<int>(blockIdx.y), head = static_cast<int>(blockIdx.x),
             own = static_cast<int>(threadIdx.x);
  const unsigned lane = threadIdx.x % warp, piece = lane % lanes_a_row;
  const int first_of_warp = static_cast<int>(threadIdx.x / warp) * rows_a_warp,
            row = first_of_warp + static_cast<int>(lane);  // of query and key

  // Everything is asked for before anything is looked at, the slot first.
  const Index slot = a.slots == nullptr ? sequence : a.slots[sequence * a.slot_stride];
  const bool brings = lane < rows_a_warp;
  const std::uint32_t gate_bits = a.gate.bits(sequence, head, 0),
                      constant_bits = a.constant_gate.bits(0, head, 0),
                      query_bits =
                          a.query.bits(sequence, a.query_group.quotient(blockIdx.x), row, brings),
                      key_bits =
                          a.key.bits(sequence, a.key_group.quotient(blockIdx.x), row, brings);
  const ArrivingPiece<count> arriving_value(
      a.value, a.value.element(sequence, a.value_group.quotient(blockIdx.x),
                               static_cast<int>(piece) * count));
  const auto store_output = [&](float o) { a.output.store(sequence, head, own, o); };
  if (slot < 0) {
    if (own < columns) store_output(0);
    return;
  }
  auto* const state =
      reinterpret_cast<uint4*>(a.state + slot * a.slot + head * a.head) +
      (first_of_warp + static_cast<int>(lane) / lanes_a_row * own_rows) * lanes_a_row + piece;
  uint4 stored[own_rows];
#pragma unroll
  for (int i = 0; i < own_rows; ++i) stored[i] = state[i * lanes_a_row];

  const float decay = exponential(a.gate.value(gate_bits) + a.constant_gate.value(constant_bits)),
              query = a.scale * a.query.value(query_bits), key = a.key.value(key_bits);
  float value[count], sum[count] = {};
  arriving_value.widen(value);
#pragma unroll
  for (int i = 0; i < own_rows; ++i) {
    const int from = static_cast<int>(lane) / lanes_a_row * own_rows + i;
    const float q = __shfl_sync(~0u, query, from), k = __shfl_sync(~0u, key, from);
    float s[count];
    Piece::widen(stored[i], s);
#pragma unroll
    for (int j = 0; j < count; ++j) s[j] = fma(k, value[j], times(decay, s[j]));
    const uint4 rounded_state = Piece::narrow(s);
    Piece::widen(rounded_state, s);
#pragma unroll
    for (int j = 0; j < count; ++j) sum[j] = fma(q, s[j], sum[j]);
    state[i * lanes_a_row] = rounded_state;
  }
#pragma unroll
  for (int distance = lanes_a_row; distance < warp; distance *= 2)
#pragma unroll
    for (int j = 0; j < count; ++j) sum[j] += __shfl_xor_sync(~0u, sum[j], distance);
  if (lane < lanes_a_row)
#pragma unroll
    for (int j = 0; j < count; j += 4)
      *reinterpret_cast<float4*>(&partial[threadIdx.x / warp][lane * count + j]) = {
          sum[j], sum[j + 1], sum[j + 2], sum[j + 3]};
  __syncthreads();
  if (own >= columns) return;
  float o = 0;
#pragma unroll
  for (int four = 0; four < groups / 4; ++four) {
    const auto of = [&](int i) { return partial[four * warps_of_four + i][own]; };
    float sum_of_four = of(0);
    if constexpr (warps_of_four >= 2) sum_of_four += of(1);
    if constexpr (warps_of_four == 4) sum_of_four += of(2) + of(3);
    o = four == 0 ? sum_of_four : o + sum_of_four;
  }
  store_output(o);
}

// ---- launch

template <class Data>
TokenRows rows_of(const TokenTensor<Data>& x) {
  return TokenRows::of(x.type, x.data, x.batch, x.head, x.channel);
}
TokenRows gates_of(const Gates& gates) {
  const auto& g = gates.token;
  return g ? TokenRows::of(g.type(), g.data(), g.stride<Batch>(), g.stride<ValueHead>(), 0)
           : TokenRows{};
}
TokenRows constant_gates_of(const Gates& gates) {
  const auto& g = gates.constant;
  return g ? TokenRows::of(g.type(), g.data(), 0, g.stride<ValueHead>(), 0) : TokenRows{};
}

// Of a row; 0 where it is no whole number of pieces for 8, 16 or 32 lanes.
int lanes_a_row(const Steps& a) {
  const Index bytes = a.columns * static_cast<Index>(size_of(a.pool.type));
  return bytes == 128 || bytes == 256 || bytes == 512 ? static_cast<int>(bytes / 16) : 0;
}

template <class Stored, int own_rows, int lanes_a_row>
void launch(const Arguments& a, const Steps& steps, cudaStream_t stream) {
  const dim3 grid(steps.heads, static_cast<unsigned>(steps.batch));
  advance_state<Stored, own_rows, lanes_a_row>
      <<<grid, ctas_warps<lanes_a_row> * warp, 0, stream>>>(a);
  check(cudaGetLastError());
}
template <class Stored, int own_rows>
void run(const Arguments& a, const Steps& steps, cudaStream_t stream) {
  switch (lanes_a_row(steps)) {
    case 8:
      return launch<Stored, own_rows, 8>(a, steps, stream);
    case 16:
      return launch<Stored, own_rows, 16>(a, steps, stream);
    default:
      return launch<Stored, own_rows, 32>(a, steps, stream);
  }
}
template <class Stored>
void run(const Arguments& a, const Steps& steps, cudaStream_t stream) {
  return steps.rows == groups * 4 ? run<Stored, 4>(a, steps, stream)
                                  : run<Stored, 8>(a, steps, stream);
}

}  // namespace

bool direct_step_takes(const Steps& a) {
  const StateOutput& pool = a.pool;
  const auto size = static_cast<Index>(size_of(pool.type));
  const bool plain = pool.type == ElementType::float32 || pool.type == ElementType::bfloat16 ||
                     pool.type == ElementType::float16;
  if (!plain) return false;
  const bool adjacent = pool.column == 1 && pool.row == a.columns &&
                        reinterpret_cast<std::size_t>(pool.data) % 16 == 0 &&
                        pool.sequence * size % 16 == 0 && pool.head * size % 16 == 0;
  const bool whole = (a.rows == groups * 4 || a.rows == groups * 8) && lanes_a_row(a) > 0;
  const std::array tokens{rows_of(a.query),           rows_of(a.key),
                          rows_of(a.value),           gates_of(a.gates),
                          constant_gates_of(a.gates), rows_of(a.output)};
  constexpr Index most = 65535;  // of a grid, and of a Divisor
  return adjacent && whole && a.time == 1 && a.batch <= most && a.heads <= most &&
         std::ranges::all_of(tokens, [](const TokenRows& x) { return x.fits; }) &&
         rows_of(a.value).has_aligned_rows();
}

void direct_step(const Steps& steps, Stream to) {
  const auto size = static_cast<Index>(size_of(steps.pool.type));
  const Arguments a{rows_of(steps.query),
                    rows_of(steps.key),
                    rows_of(steps.value),
                    gates_of(steps.gates),
                    constant_gates_of(steps.gates),
                    rows_of(steps.output),
                    Divisor(steps.query.group),
                    Divisor(steps.key.group),
                    Divisor(steps.value.group),
                    static_cast<float>(steps.query.scale),
                    static_cast<std::byte*>(steps.pool.data),
                    steps.pool.sequence * size,
                    steps.pool.head * size,
                    steps.slots,
                    steps.slot_stride};
  auto* const stream = static_cast<cudaStream_t>(to.handle);
  switch (steps.pool.type) {
    case ElementType::float32:
      return run<float>(a, steps, stream);
    case ElementType::bfloat16:
      return run<bf16>(a, steps, stream);
    default:
      return run<fp16>(a, steps, stream);
  }
}

}  // namespace groundstate::gpu::simple_gla
