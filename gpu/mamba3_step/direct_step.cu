// gpu.step for one token a lane without a prologue: states from memory to registers and back.
//
// A CTA owns one lane and head, a warp two blocks of eight rows of its state of N = 128, a lane
// four columns of them (row_block.cuh). Everything that a warp needs comes to its own registers:
// pieces of B, K and C of all ranks, four columns a lane, and of x, z and the projections the
// numbers of one row and one rank of a block, those for which the lane computes u, v and the
// output's share. The second block is asked for as soon as the first is in its sums. Warps meet
// once, before K is written where others may have read it.
//
// Rounding points: the state where it is stored, out as it is stored. exp is CUDA's in fp32.
// Limits: direct_step_takes().
// Bytes: step.cu.
// Measured on an H100, H48 P64 N128 R4, every group its own B and C, B 8 / 64
// (data/timings_h100.jsonl): fp32 16.2 / 83.8 us, 85 / 93 % of a copy of the same bytes, bf16 12.8
// / 56.2 us, 73 / 78 %; through shared memory 33.4 / 175 us and 36.4 / 160 us. Gathered, dense and
// scattered: 33.3 / 230 us and 24.4 / 138 us. What holds it back are instructions: 2480 a warp, 450
// of them before its first state is asked for, 800 the products; issue slots are half full. With
// one block of rows a warp it was 88 and 61 % at B 64, with three CTAs and spilled registers 67 and
// 69 %.
#include <algorithm>
#include <array>

#include "gpu/core/check.hpp"
#include "gpu/core/direct_load.cuh"
#include "gpu/core/load_index.cuh"
#include "gpu/mamba3_step/direct_step.hpp"
#include "gpu/mamba3_step/row_block.cuh"

namespace groundstate::gpu::mamba3_step {
namespace {

constexpr int warp = warp_threads, most_warps = 8, blocks = 2, warp_rows = blocks * own_rows,
              columns = warp * own_columns,
              most_ranks = warp / own_rows;  // a lane for each row and rank

// Rows of 16-bit keys, [sequence or slot][head][rank]; strides in bytes.
struct KeyRows {
  std::byte* data;
  Index lead;
  int head, rank;

  __device__ std::byte* row(Index at, int of_head, int r) const {
    return stepped(stepped(data + at * lead, of_head, head), r, rank);
  }
};

struct Arguments {
  TokenRows A, dt, trap, D, x, z, out;
  TokenRows xproj, zproj, outproj;  // [rank][head][row]
  KeyRows B, C, k_state;
  Divisor heads_a_group;
  LaneIndices<Space::device, Any> lanes;
  Options options;
  std::byte* state;
  Index slot, head;    // its strides in bytes
  std::byte* x_state;  // of the type of x
  Index x_slot, x_head, x_row;
};

// Four elements of 16 bits as floats.
template <class Key>
__device__ float4 widen_key(uint2 bits) {
  const auto low = [](std::uint32_t word) {
    return widened(Key::from_bits(static_cast<std::uint16_t>(word)));
  };
  const auto high = [](std::uint32_t word) {
    return widened(Key::from_bits(static_cast<std::uint16_t>(word >> 16)));
  };
  return {low(bits.x), high(bits.x), low(bits.y), high(bits.y)};
}

// Four columns of a row of the state, in one access.
template <class Stored>
struct Four {
  using Word = std::conditional_t<sizeof(Stored) == 4, uint4, uint2>;
  static __device__ void widen(Word bits, float (&s)[own_columns]) {
    float4 own;
    if constexpr (sizeof(Stored) == 4)
      own = std::bit_cast<float4>(bits);
    else
      own = widen_key<Stored>(bits);
    s[0] = own.x, s[1] = own.y, s[2] = own.z, s[3] = own.w;
  }
  static __device__ Word narrow(const float (&s)[own_columns]) {
    if constexpr (sizeof(Stored) == 4)
      return std::bit_cast<Word>(float4{s[0], s[1], s[2], s[3]});
    else
      return {pair_of<Stored>(s[0], s[1]), pair_of<Stored>(s[2], s[3])};
  }
};

// ---- kernel

template <class Stored, class Key, int ranks>
__global__ void __launch_bounds__(most_warps* warp, 2)
    advance_rows(const __grid_constant__ Arguments a) {
  using Row = Four<Stored>;
  __shared__ float row_numbers[most_warps][2][ranks][own_rows];
  const auto sequence = static_cast<int>(blockIdx.y), head = static_cast<int>(blockIdx.x),
             group = a.heads_a_group.quotient(blockIdx.x);
  const int lane = static_cast<int>(threadIdx.x % warp),
            own_warp = static_cast<int>(threadIdx.x / warp), first = own_warp * warp_rows;
  // The row of a block and the rank whose numbers are this lane's.
  const int own_row = static_cast<int>(threadIdx.x % own_rows),
            rank = static_cast<int>(threadIdx.x % warp / own_rows);
  const bool has_rank = rank < ranks;

  // Everything is asked for before anything is looked at, the slot first.
  const Index source =
      a.lanes.source ? load_integer(a.lanes.source, Sequence{sequence}, Time{0}) : Index{sequence};
  const std::uint32_t A_bits = a.A.bits(sequence, head, 0), dt_bits = a.dt.bits(sequence, head, 0),
                      trap_bits = a.trap.bits(sequence, head, 0), D_bits = a.D.bits(0, head, 0);
  const auto key = [&](const KeyRows& rows, Index at, int of_head, int r) {
    return reinterpret_cast<uint2*>(rows.row(at, of_head, r)) + lane;
  };
  uint2 B[ranks], C[ranks], K[ranks];
#pragma unroll
  for (int r = 0; r < ranks; ++r) {
    B[r] = *key(a.B, sequence, group, r);
    C[r] = *key(a.C, sequence, group, r);
  }
  if (a.lanes.source && is_padding(a.options, source)) {
    for (int i = static_cast<int>(threadIdx.x); i < static_cast<int>(blockDim.x) / warp * warp_rows;
         i += static_cast<int>(blockDim.x))
      a.out.store(sequence, head, i, 0);
    return;
  }
  const auto rows_of = [&](Index slot, int block) {
    return reinterpret_cast<typename Row::Word*>(a.state + slot * a.slot + head * a.head) +
           (first + block * own_rows) * warp + lane;
  };
  const auto x_state_of = [&](Index slot, int row) {
    return a.x_state + slot * a.x_slot + head * a.x_head + row * a.x_row;
  };
  struct Block {
    typename Row::Word state[own_rows];
    std::uint32_t x, last, z, up, gate, down;
  };
  const auto fetch = [&](int block) {
    const int row = first + block * own_rows + own_row;
    Block own{.state = {},
              .x = a.x.bits(sequence, head, row),
              .last = load_bits(x_state_of(source, row), a.x.size),
              .z = a.z.bits(sequence, head, row),
              .up = a.xproj.bits(rank, head, row, has_rank),
              .gate = a.zproj.bits(rank, head, row, has_rank),
              .down = a.outproj.bits(rank, head, row, has_rank)};
    const auto* const from = rows_of(source, block);
#pragma unroll
    for (int j = 0; j < own_rows; ++j) own.state[j] = from[j * warp];
    return own;
  };
#pragma unroll
  for (int r = 0; r < ranks; ++r) K[r] = *key(a.k_state, source, head, r);
  Block next = fetch(0);
  const Lane own{.batch = sequence, .length = 1, .given = 1, .source = source};
  LaneIndices<Space::device, Any> indices;
  indices.destination = a.lanes.destination;
  const Index to = destination(indices, a.options, sequence, own, 0, LoadIndex{});
  const bool writes = to != nowhere, writes_kv = writes && a.options.update_kv_state;
  const auto [alpha, gamma, beta] =
      factors_of(a.A.value(A_bits), a.dt.value(dt_bits), a.trap.value(trap_bits));
  const float D = a.D.value(D_bits);
  auto& numbers = row_numbers[own_warp];

#pragma unroll
  for (int block = 0; block < blocks; ++block) {
    const std::uint32_t x_bits = next.x;
    const float x = a.x.value(x_bits), up = a.xproj.size == 0 ? 1.0f : a.xproj.value(next.up),
                gate = a.z.value(next.z) * a.zproj.value(next.gate),
                down = a.outproj.value(next.down);
    __syncwarp();  // those of the block before have been read
    if (has_rank) {
      numbers[0][rank][own_row] = x * gamma * up;
      numbers[1][rank][own_row] = a.x.value(next.last) * beta * up;
    }
    __syncwarp();
    RowBlock m = {};
#pragma unroll
    for (int r = 0; r < ranks; ++r)
      add_rank(m, widen_key<Key>(B[r]), numbers[0][r], widen_key<Key>(K[r]), numbers[1][r]);
    RowBlock s;
#pragma unroll
    for (int j = 0; j < own_rows; ++j) Row::widen(next.state[j], s[j]);
    advance(s, alpha, m);
    if (block + 1 < blocks) next = fetch(block + 1);
    if (writes) {
      auto* const back = rows_of(to, block);
#pragma unroll
      for (int j = 0; j < own_rows; ++j) back[j * warp] = Row::narrow(s[j]);
    }

    float y = 0;  // of this lane's row and rank
#pragma unroll
    for (int r = 0; r < ranks; ++r) {
      const float sum = output_of_rank(s, widen_key<Key>(C[r]), warp);
      if (r == rank) y = sum;
    }
    if (a.D.size != 0) y = fmaf(D * x, up, y);
    if (a.z.size != 0) y *= gate / (1.0f + expf(-gate));
    float out = 0;
#pragma unroll
    for (int r = 0; r < ranks; ++r) {
      const int of = r * own_rows + own_row;
      out = fmaf(__shfl_sync(~0u, y, of), __shfl_sync(~0u, down, of), out);
    }
    if (rank == 0) {
      const int row = first + block * own_rows + own_row;
      a.out.store(sequence, head, row, out);
      if (writes_kv) {
        std::byte* const own_x = x_state_of(to, row);
        if (a.x.size == 4)
          *reinterpret_cast<std::uint32_t*>(own_x) = x_bits;
        else
          *reinterpret_cast<std::uint16_t*>(own_x) = static_cast<std::uint16_t>(x_bits);
      }
    }
  }

  if (!writes_kv) return;  // all threads
  __syncthreads();         // every warp has read K
#pragma unroll
  for (int r = 0; r < ranks; ++r)
    if (r == own_warp) *key(a.k_state, to, head, r) = B[r];
}

// ---- launch

template <class Stored, class Key, int ranks>
void launch(const Arguments& a, const Shape& n, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(n.heads), static_cast<unsigned>(n.sequences));
  advance_rows<Stored, Key, ranks>
      <<<grid, static_cast<unsigned>(n.value / warp_rows * warp), 0, stream>>>(a);
  check(cudaGetLastError());
}
template <class Stored, class Key>
void run(const Arguments& a, const Shape& n, cudaStream_t stream) {
  return n.ranks == 1 ? launch<Stored, Key, 1>(a, n, stream)
                      : launch<Stored, Key, most_ranks>(a, n, stream);
}
template <class Stored>
void run(const Arguments& a, ElementType key, const Shape& n, cudaStream_t stream) {
  return key == ElementType::bfloat16 ? run<Stored, bf16>(a, n, stream)
                                      : run<Stored, fp16>(a, n, stream);
}

struct TokenTensors {
  TokenRows A, dt, trap, D, x, z, xproj, zproj, outproj;
  explicit TokenTensors(const DeviceInputs& v)
      : A(of_head(v.A)),
        dt(of_head(v.dt)),
        trap(of_head(v.trap)),
        D(v.D ? TokenRows::of(v.D.type(), v.D.data(), 0, v.D.stride<Head>(), 0) : TokenRows{}),
        x(TokenRows::of<Batch, Head, Value>(v.x)),
        z(TokenRows::of<Batch, Head, Value>(v.z)),
        xproj(TokenRows::of<Rank, Head, Value>(v.xproj)),
        zproj(TokenRows::of<Rank, Head, Value>(v.zproj)),
        outproj(TokenRows::of<Rank, Head, Value>(v.outproj)) {}
  bool fit() const {
    return A.fits && dt.fits && trap.fits && D.fits && x.fits && z.fits && xproj.fits &&
           zproj.fits && outproj.fits;
  }

 private:
  static TokenRows of_head(const DeviceView<const Any, Batch, Time, Head>& v) {
    return TokenRows::of(v.type(), v.data(), v.stride<Batch>(), v.stride<Head>(), 0);
  }
};

constexpr Index key_bytes = 2;
template <class HeadAxis, class View>
KeyRows keys_of(const View& v, Index lead) {
  return {static_cast<std::byte*>(const_cast<void*>(v.data())), lead * key_bytes,
          static_cast<int>(v.template stride<HeadAxis>() * key_bytes),
          static_cast<int>(v.template stride<Rank>() * key_bytes)};
}
template <class HeadAxis, class View>
bool are_key_rows(const View& v, Index lead) {
  const KeyRows rows = keys_of<HeadAxis>(v, lead);
  constexpr Index access = 8;
  return v.template stride<State>() == 1 && reinterpret_cast<std::size_t>(v.data()) % access == 0 &&
         rows.lead % access == 0 && rows.head % access == 0 && rows.rank % access == 0 &&
         rows.head == v.template stride<HeadAxis>() * key_bytes &&
         rows.rank == v.template stride<Rank>() * key_bytes;
}

}  // namespace

bool direct_step_takes(const DeviceInputs& x, const Options& options, const DeviceOutputs& y) {
  const Shape n = shape(x, y);
  const ElementType type = y.state.type(), key = x.B.type();
  const auto is_half = [](ElementType own) {
    return own == ElementType::bfloat16 || own == ElementType::float16;
  };
  const bool types = (is_half(type) || type == ElementType::float32) && is_half(key) &&
                     x.C.type() == key && y.k_state.type() == key && y.x_state.type() == x.x.type();
  const bool one_token =
      n.time == 1 && !x.lanes.offsets && !x.lanes.accepted && !x.lanes.replayed && !y.intermediate;
  const bool plain = !x.theta && !options.stochastic && y.out && !y.state_out;
  const bool sizes = n.state == columns && (n.ranks == 1 || n.ranks == most_ranks) &&
                     n.value % warp_rows == 0 && n.value >= n.ranks * warp_rows &&
                     n.value <= most_warps * warp_rows;
  constexpr Index most = 65535;  // of a grid, and of a Divisor
  return types && one_token && plain && sizes && y.state.stride<Value>() == columns &&
         n.sequences <= most && n.heads <= most && TokenTensors(x).fit() &&
         TokenRows::of<Batch, Head, Value>(y.out).fits &&
         are_key_rows<Group>(x.B, x.B.stride<Batch>()) &&
         are_key_rows<Group>(x.C, x.C.stride<Batch>()) &&
         are_key_rows<Head>(y.k_state, y.k_state.stride<Slot>());
}

void direct_step(const DeviceInputs& x, const Options& options, const DeviceOutputs& y,
                 cudaStream_t stream) {
  const Shape n = shape(x, y);
  const auto size = static_cast<Index>(size_of(y.state.type())),
             x_size = static_cast<Index>(size_of(y.x_state.type()));
  const TokenTensors tokens(x);
  const Arguments a{tokens.A,
                    tokens.dt,
                    tokens.trap,
                    tokens.D,
                    tokens.x,
                    tokens.z,
                    TokenRows::of<Batch, Head, Value>(y.out),
                    tokens.xproj,
                    tokens.zproj,
                    tokens.outproj,
                    keys_of<Group>(x.B, x.B.stride<Batch>()),
                    keys_of<Group>(x.C, x.C.stride<Batch>()),
                    keys_of<Head>(y.k_state, y.k_state.stride<Slot>()),
                    Divisor(n.heads / n.groups),
                    x.lanes,
                    options,
                    static_cast<std::byte*>(y.state.data()),
                    y.state.stride<Slot>() * size,
                    y.state.stride<Head>() * size,
                    static_cast<std::byte*>(y.x_state.data()),
                    y.x_state.stride<Slot>() * x_size,
                    y.x_state.stride<Head>() * x_size,
                    y.x_state.stride<Value>() * x_size};
  switch (y.state.type()) {
    case ElementType::float32:
      return run<float>(a, x.B.type(), n, stream);
    case ElementType::bfloat16:
      return run<bf16>(a, x.B.type(), n, stream);
    default:
      return run<fp16>(a, x.B.type(), n, stream);
  }
}

}  // namespace groundstate::gpu::mamba3_step
