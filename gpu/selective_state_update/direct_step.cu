// gpu.step for one token: states from memory to registers and back.
//
//   S[p, n] := fma(S[p, n], decay, (B[n] d) x[p])
//   y[p] = sum_n S[p, n] C[n],  out = (y + D x) silu(z)
//
// A warp owns eight accesses of 32 x 16 bytes: L lanes (8, 16 or 32) have a row, a piece of 16
// bytes each, and a lane has the same piece of eight rows, [group 8, group 8 + 8), group = lane /
// L. So B and C of a piece serve eight rows from registers. x, z and D of a row come by the lane
// that writes its output, and x goes to the others by shuffles. y is summed within a piece,
// ascending n, then by halving over the pieces of a row; the eight sums of a lane are halved
// together, half of them to each side.
//
// Rounding points: the state where it is stored, out as it is stored. exp and log1p are CUDA's in
// fp32.
// Limits: direct_step().
// Bytes and measurements: step.cu.
//
// Learned on an H100. What is lost to a copy is the time from the beginning of a CTA to its first
// load, and instructions: with divisions by numbers of lanes and strides of 64 bits a warp had 1200
// of them for 4 KB, 280 before the first load, and bf16 states ran at 90 / 92 % (B 32 / 128); with
// lanes known to the compiler and strides of 32 bits at 94 / 96 %. Loads and stores marked as
// streaming (ld.cs, st.cs) cost 3 % at B 128.
#include <algorithm>

#include "gpu/core/check.hpp"
#include "gpu/core/direct_load.cuh"
#include "gpu/core/load_index.cuh"
#include "gpu/core/state_rows.hpp"
#include "gpu/core/warpgroup.cuh"
#include "gpu/selective_state_update/direct_step.hpp"

namespace groundstate::gpu::selective_state_update {
namespace {

constexpr int warp = 32, most_warps = 4, own_rows = 8;

struct Arguments {
  TokenRows x, dt, A, B, C, D, z, dt_bias, out;
  DeviceView<const Any, Sequence, Time> source, destination;
  Options options;
  std::byte* state;
  Index slot, head;  // its strides in bytes
  Divisor heads_a_group;
  int rows;
};

__device__ float time_step(float d, bool softplus) {
  return softplus && d <= 20.0f ? log1pf(expf(d)) : d;
}

template <class Stored, int lanes>
__global__ void __launch_bounds__(most_warps* warp, sizeof(Stored) == 2 ? 6 : 7)
    advance_rows(const __grid_constant__ Arguments a) {
  using Piece = StatePiece<Stored>;
  constexpr int count = Piece::count;
  constexpr int rows_a_warp = own_rows * (warp / lanes), sharing = lanes / own_rows;
  const auto sequence = static_cast<int>(blockIdx.z), head = static_cast<int>(blockIdx.y),
             group = a.heads_a_group.quotient(blockIdx.y);
  const unsigned lane = threadIdx.x % warp, piece = lane % lanes;
  const int first_of_warp =
      static_cast<int>(blockIdx.x * (blockDim.x / warp) + threadIdx.x / warp) * rows_a_warp;
  const int first = first_of_warp + static_cast<int>(lane) / lanes * own_rows,
            output_row = first_of_warp + static_cast<int>(lane) / sharing;
  const bool exists = first < a.rows;

  // Everything is asked for before anything is looked at, the slot first.
  const Index source =
      a.source ? load_integer(a.source, Sequence{sequence}, Time{0}) : Index{sequence};
  const std::uint32_t dt_bits = a.dt.bits(sequence, head, 0), A_bits = a.A.bits(0, head, 0),
                      bias_bits = a.dt_bias.bits(0, head, 0),
                      x_bits = a.x.bits(sequence, head, output_row, exists),
                      z_bits = a.z.bits(sequence, head, output_row, exists),
                      D_bits = a.D.bits(0, head, output_row, exists);
  const auto column = static_cast<int>(piece) * count;
  const ArrivingPiece<count> arriving_B(a.B, a.B.element(sequence, group, column)),
      arriving_C(a.C, a.C.element(sequence, group, column));
  const auto store_output = [&](float y) {
    if (exists && lane % sharing == 0) a.out.store(sequence, head, output_row, y);
  };
  if (a.source && is_padding(a.options, source)) return store_output(0);
  const auto rows_of = [&](Index slot) {
    return reinterpret_cast<uint4*>(a.state + slot * a.slot + head * a.head) + first * lanes +
           piece;
  };
  uint4 stored[own_rows];
  const uint4* const from = rows_of(source);
#pragma unroll
  for (int i = 0; i < own_rows; ++i) stored[i] = exists ? from[i * lanes] : uint4{};

  const Index to = destination_of(a.destination, a.options, sequence, source, Time{0}, LoadIndex{});
  uint4* const back = rows_of(to);
  const bool stores = exists && to != nowhere;
  const float d = time_step(a.dt.value(dt_bits) + a.dt_bias.value(bias_bits), a.options.softplus),
              decay = expf(a.A.value(A_bits) * d), x = a.x.value(x_bits);
  float B[count], C[count], y[own_rows];
  arriving_B.widen(B);
  arriving_C.widen(C);
#pragma unroll
  for (int e = 0; e < count; ++e) B[e] *= d;
#pragma unroll
  for (int i = 0; i < own_rows; ++i) {
    const float own_x = __shfl_sync(~0u, x, static_cast<int>(lane - piece) + i * sharing);
    float s[count];
    Piece::widen(stored[i], s);
    y[i] = 0;
#pragma unroll
    for (int e = 0; e < count; ++e) {
      s[e] = fmaf(s[e], decay, B[e] * own_x);
      y[i] = fmaf(s[e], C[e], y[i]);
    }
    if (stores) back[i * lanes] = Piece::narrow(s);
  }
  float sum = sum_of_eight(y, lanes);
  if (a.D.size != 0) sum = fmaf(x, a.D.value(D_bits), sum);
  if (a.z.size != 0) {
    const float z = a.z.value(z_bits);
    sum *= z / (1.0f + expf(-z));
  }
  store_output(sum);
}

// ---- launch

template <class Stored, int lanes>
void launch(const Arguments& a, const Shape& n, cudaStream_t stream) {
  constexpr int rows_a_warp = own_rows * (warp / lanes);
  const int warps = std::min(most_warps, (a.rows + rows_a_warp - 1) / rows_a_warp),
            rows_a_cta = warps * rows_a_warp;
  const dim3 grid(static_cast<unsigned>((a.rows + rows_a_cta - 1) / rows_a_cta),
                  static_cast<unsigned>(n.heads), static_cast<unsigned>(n.sequences));
  advance_rows<Stored, lanes><<<grid, static_cast<unsigned>(warps * warp), 0, stream>>>(a);
  check(cudaGetLastError());
}

}  // namespace

bool direct_step(const DeviceInputs& given, const Options& options, const DeviceOutputs& y,
                 cudaStream_t stream) {
  const DeviceInputs x = broadcast(given);
  const Shape n = shape(x, y);
  const ElementType type = y.state.type();
  const bool one_token = n.time == 1 && !x.offsets && !x.accepted && !y.intermediate;
  const bool adjacent = lanes_a_row(type, n.state) > 0 && y.state.stride<Value>() == n.state &&
                        n.value % own_rows == 0 && n.value < Index{1} << 24;
  const bool is_grid = n.sequences > 0 && n.sequences <= most_ctas && n.heads > 0 &&
                       n.heads <= most_ctas && n.value > 0;
  if (!one_token || !adjacent || !is_grid || !is_tied(x) || options.stochastic) return false;
  const auto size = static_cast<Index>(size_of(type));
  const Arguments a{TokenRows::of<Batch, Head, Value>(x.x),
                    TokenRows::of<Batch, Head, Value>(x.dt),
                    TokenRows::of<Head, Value>(x.A),
                    TokenRows::of<Batch, Group, State>(x.B),
                    TokenRows::of<Batch, Group, State>(x.C),
                    TokenRows::of<Head, Value>(x.D),
                    TokenRows::of<Batch, Head, Value>(x.z),
                    TokenRows::of<Head, Value>(x.dt_bias),
                    TokenRows::of<Batch, Head, Value>(y.out),
                    x.source,
                    x.destination,
                    options,
                    static_cast<std::byte*>(y.state.data()),
                    y.state.stride<Slot>() * size,
                    y.state.stride<Head>() * size,
                    Divisor(n.heads / n.groups),
                    static_cast<int>(n.value)};
  if (!fit(a.x, a.dt, a.A, a.B, a.C, a.D, a.z, a.dt_bias, a.out) || !a.B.has_aligned_rows() ||
      !a.C.has_aligned_rows())
    return false;
  with_rows(type, n.state,
            [&](auto stored, auto lanes) { launch<decltype(stored), lanes>(a, n, stream); });
  return true;
}

}  // namespace groundstate::gpu::selective_state_update
