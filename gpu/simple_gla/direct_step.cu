// gpu.step for one token: states from memory to registers and back.
//
// A CTA owns one sequence and value head. L lanes of a warp (8, 16 or 32) have a row of the state,
// 16 bytes each, and a lane has R rows: those of a group of tile.cuh. Query and key of a row come
// by one lane and go to the others by shuffles. The arithmetic and its order are those of
// gpu.recurrent, so the bits are, too: the sums of groups are added in pairs, ((0 + 1) + (2 + 3)),
// and these fours in ascending order; what of it is in different warps goes through shared memory.
//
// Rounding points: the state after the token, o as it is stored.
// Limits: direct_step().
// Bytes and measurements: step.cu.
//
// Learned on an H100. Rows whole in a warp: with tiles of two times 128 bytes a row it is 93 / 94 %
// where it is 96 / 97 %.
#include "gpu/core/check.hpp"
#include "gpu/core/direct_load.cuh"
#include "gpu/core/state_rows.hpp"
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

template <class Stored, int own_rows, int lanes_a_row>
void launch(const Arguments& a, const Steps& steps, cudaStream_t stream) {
  const dim3 grid(steps.heads, static_cast<unsigned>(steps.batch));
  advance_state<Stored, own_rows, lanes_a_row>
      <<<grid, ctas_warps<lanes_a_row> * warp, 0, stream>>>(a);
  check(cudaGetLastError());
}

}  // namespace

bool direct_step(const Steps& steps, Stream to) {
  const StateOutput& pool = steps.pool;
  const bool whole = (steps.rows == groups * 4 || steps.rows == groups * 8) &&
                     lanes_a_row(pool.type, steps.columns) > 0;
  const auto size = static_cast<Index>(size_of(pool.type));
  const bool adjacent = pool.column == 1 && pool.row == steps.columns &&
                        reinterpret_cast<std::size_t>(pool.data) % 16 == 0 &&
                        pool.sequence * size % 16 == 0 && pool.head * size % 16 == 0;
  const bool is_grid = steps.batch > 0 && steps.batch <= most_ctas && steps.heads <= most_ctas;
  if (!whole || !adjacent || !is_grid || steps.time != 1) return false;
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
                    static_cast<std::byte*>(pool.data),
                    pool.sequence * size,
                    pool.head * size,
                    steps.slots,
                    steps.slot_stride};
  if (!fit(a.query, a.key, a.value, a.gate, a.constant_gate, a.output) ||
      !a.value.has_aligned_rows())
    return false;
  auto* const stream = static_cast<cudaStream_t>(to.handle);
  with_rows(pool.type, steps.columns, [&](auto stored, auto lanes) {
    using Stored = decltype(stored);
    return steps.rows == groups * 4 ? launch<Stored, 4, lanes>(a, steps, stream)
                                    : launch<Stored, 8, lanes>(a, steps, stream);
  });
  return true;
}

}  // namespace groundstate::gpu::simple_gla
