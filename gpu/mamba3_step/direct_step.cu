// gpu.step for one token a lane without a prologue: states come by the copy engine.
//
// A CTA owns one lane and head, a warp sixteen rows of its state of N = 128, which the copy engine
// brings while everything else is under way: no register waits for them, so six CTAs fit on a
// multiprocessor. The warps bring a rank each of B, K and C for all, widened. A lane has four
// columns of each half of four rows, in two passes (row_block.cuh). Sums of four columns go through
// shared memory to the lane that has the row and two ranks of it, for which it also computes u, v
// and the share of the output: half the instructions of exchanges between lanes.
//
// Rounding points: the state where it is stored, out as it is stored. exp is CUDA's in fp32.
// Limits: direct_step(): 16-bit tokens; A, dt, trap, D in fp32; R 1 or 4.
// Bytes: step.cu.
// Measured on an H200, H48 P64 N128 R4, every group its own B and C, B 8 / 64
// (data/timings_h200.jsonl): fp32 13.0 / 63.6 us, 85 / 90 % of a copy of the same bytes, bf16
// 11.0 / 40.2 us, 71 / 82 %. What it was before, in the same minutes: states by loads to
// registers, sums by exchanges, 2480 instructions a warp, 16 warps on a multiprocessor: 14.0 / 65.5
// and 11.5 / 49.4 us. Learned: types of tokens that are known save more than their instructions,
// for of two predicated loads to one register the second waits for all loads under way. What
// holds bf16 back are instructions: 1730 a warp, 830 of them the products; issue slots are 64 %
// full.
#include "gpu/core/check.hpp"
#include "gpu/core/direct_load.cuh"
#include "gpu/core/load_index.cuh"
#include "gpu/core/mbarrier.cuh"
#include "gpu/mamba3_step/direct_step.hpp"
#include "gpu/mamba3_step/row_block.cuh"

namespace groundstate::gpu::mamba3_step {
namespace {

namespace ptx = cuda::ptx;

constexpr int warp = warp_threads, most_warps = 8, columns = 128, most_ranks = 4,
              halves = 2,        // of a row
    half_lanes = warp / halves,  // each has four columns of both halves
    own_rows = 4, pass_rows = warp / half_lanes * own_rows, passes = 2,
              warp_rows = passes * pass_rows;

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
  Index slot, head;   // its strides in bytes
  TokenRows x_state;  // of one slot
  Index x_slot;
};

// An element of known type, or the other value where there is no tensor.
template <class Element>
__device__ Element element(const TokenRows& rows, int at, int of_head, int i, Element other = {}) {
  return rows.data ? *reinterpret_cast<const Element*>(rows.element(at, of_head, i)) : other;
}
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

// Sums of four columns on their way to the lane that adds them up: a lane has a row, and one rank
// or two adjacent ones of it.
template <int ranks>
struct Sums {
  static constexpr int own_ranks = ranks == 1 ? 1 : 2, groups = ranks / own_ranks;
  struct alignas(own_ranks * sizeof(float)) Fours {
    float of_rank[own_ranks];
  };
  Fours of[groups][pass_rows][half_lanes + 1];  // one more: rows begin in different banks
};

// term(0) + ... + term(count - 1), the first with the first of the second half.
template <int count, class Term>
__device__ float sum_by_halves(const Term& term, int first = 0, int step = 1) {
  if constexpr (count == 1)
    return term(first);
  else
    return sum_by_halves<count / 2>(term, first, 2 * step) +
           sum_by_halves<count / 2>(term, first + step, 2 * step);
}

// ---- shared storage

template <int ranks>
struct SharedKeys {
  float4 B[ranks][warp], K[ranks][warp], C[ranks][warp];
};
// Sums take the place of the rows they are of.
template <class Stored, int ranks>
struct WarpTile {
  static constexpr unsigned pass_bytes = pass_rows * columns * sizeof(Stored), shift = 192,
                            sums_pitch = shift + pass_bytes;
  static_assert(sizeof(Sums<ranks>) <= sums_pitch);
  static_assert(sizeof(Sums<ranks>) <= pass_bytes + 128);  // and the second is not in the numbers
  alignas(128) std::byte before_state[shift];
  typename Four<Stored>::Word state[warp_rows][halves][half_lanes];
  std::byte behind_state[128];
  float now[ranks][warp_rows], before[ranks][warp_rows];  // x gamma xproj, X beta xproj
  Barrier arrived;

  __device__ Sums<ranks>& sums(int pass) {
    return *reinterpret_cast<Sums<ranks>*>(before_state + static_cast<unsigned>(pass) * sums_pitch);
  }
};
constexpr unsigned align_up(std::size_t bytes) {
  return static_cast<unsigned>((bytes + 127) / 128 * 128);
}

// ---- kernel

template <class Stored, class Key, class Weight, int ranks>
__global__ void __launch_bounds__(most_warps* warp, 3)
    advance_rows(const __grid_constant__ Arguments a) {
  using Row = Four<Stored>;
  using Tile = WarpTile<Stored, ranks>;
  constexpr int own_ranks = Sums<ranks>::own_ranks, groups = Sums<ranks>::groups;
  extern __shared__ __align__(128) std::byte shared[];
  auto& keys = *reinterpret_cast<SharedKeys<ranks>*>(shared);
  const auto sequence = static_cast<int>(blockIdx.y), head = static_cast<int>(blockIdx.x),
             group = a.heads_a_group.quotient(blockIdx.x);
  const int lane = static_cast<int>(threadIdx.x % warp),
            own_warp = static_cast<int>(threadIdx.x / warp), first = own_warp * warp_rows;
  auto& tile = reinterpret_cast<Tile*>(shared + align_up(sizeof(keys)))[own_warp];
  // Of x, z and out: a row and a group of ranks.
  const int own_row = lane % warp_rows, row = first + own_row, own_group = lane / warp_rows,
            first_rank = own_group < groups ? own_group * own_ranks : 0;
  const bool has_ranks = own_group < groups, has_key = own_warp < ranks;

  // Everything is asked for before anything is looked at, the slot first.
  const Index source =
      a.lanes.source ? load_integer(a.lanes.source, Sequence{sequence}, Time{0}) : Index{sequence};
  const auto key = [&](const KeyRows& rows, Index at, int of_head) {
    return reinterpret_cast<uint2*>(rows.row(at, of_head, own_warp)) + lane;
  };
  uint2 B = {}, C = {}, K = {};
  if (has_key) {
    B = *key(a.B, sequence, group);
    C = *key(a.C, sequence, group);
  }
  const float A = element<float>(a.A, sequence, head, 0),
              dt = element<float>(a.dt, sequence, head, 0),
              trap = element<float>(a.trap, sequence, head, 0), D = element<float>(a.D, 0, head, 0);
  const Key x_now = element<Key>(a.x, sequence, head, row),
            z = element<Key>(a.z, sequence, head, row);
  Weight up[own_ranks], gate[own_ranks], down[own_ranks];
#pragma unroll
  for (int i = 0; i < own_ranks; ++i) {
    up[i] = element<Weight>(a.xproj, first_rank + i, head, row, Weight(1.0f));
    gate[i] = element<Weight>(a.zproj, first_rank + i, head, row);
    down[i] = element<Weight>(a.outproj, first_rank + i, head, row);
  }
  const auto rows_of = [&](Index slot) {
    return a.state + slot * a.slot + head * a.head + first * (columns * int{sizeof(Stored)});
  };
  const auto x_state_of = [&](Index slot) {
    return reinterpret_cast<Key*>(a.x_state.element(0, head, row) + slot * a.x_slot);
  };
  if (a.lanes.source && is_padding(a.options, source)) {
    if (own_group == 0) *reinterpret_cast<Key*>(a.out.element(sequence, head, row)) = Key{};
    return;
  }
  if (lane == 0) {
    tile.arrived.init(1);
    fence_barrier_init();
    tile.arrived.arrive_expecting(sizeof(tile.state));
    ptx::cp_async_bulk(ptx::space_cluster, ptx::space_global, &tile.state, rows_of(source),
                       static_cast<unsigned>(sizeof(tile.state)), tile.arrived.word());
  }
  const Key x_last = *x_state_of(source);
  if (has_key) {
    K = *key(a.k_state, source, head);
    keys.B[own_warp][lane] = widen_key<Key>(B);
    keys.C[own_warp][lane] = widen_key<Key>(C);
  }
  const Lane own{.batch = sequence, .length = 1, .given = 1, .source = source};
  LaneIndices<Space::device, Any> indices;
  indices.destination = a.lanes.destination;
  const Index to = destination(indices, a.options, sequence, own, 0, LoadIndex{});
  const bool writes = to != nowhere, writes_kv = writes && a.options.update_kv_state;
  const auto [alpha, gamma, beta] = factors_of(A, dt, trap);
  const float now = load<float>(x_now) * gamma, before = load<float>(x_last) * beta;
#pragma unroll
  for (int i = 0; i < own_ranks; ++i)
    if (has_ranks) {
      tile.now[first_rank + i][own_row] = now * load<float>(up[i]);
      tile.before[first_rank + i][own_row] = before * load<float>(up[i]);
    }
  if (has_key) keys.K[own_warp][lane] = widen_key<Key>(K);
  __syncthreads();
  // Every warp has read K.
  if (writes_kv) {
    if (has_key) *key(a.k_state, to, head) = B;
    if (own_group == 0) *x_state_of(to) = x_now;
  }

  // Of the state: four rows of a pass, and four columns of each half of them.
  const int in_row = lane % half_lanes, first_row = lane / half_lanes * own_rows;
  auto* const back = reinterpret_cast<typename Row::Word*>(rows_of(to)) + first_row * warp + in_row;
#pragma unroll 1
  for (int pass = 0; pass < passes; ++pass) {
    const int of_warp = pass * pass_rows + first_row;
    RowBlock<own_rows> s[halves] = {};
#pragma unroll
    for (int r = 0; r < ranks; ++r)
#pragma unroll
      for (int half = 0; half < halves; ++half) {
        const int four = half * half_lanes + in_row;
        add_rank(s[half], keys.B[r][four], tile.now[r] + of_warp, keys.K[r][four],
                 tile.before[r] + of_warp);
      }
    if (pass == 0) tile.arrived.wait(0);
#pragma unroll
    for (int j = 0; j < own_rows; ++j)
#pragma unroll
      for (int half = 0; half < halves; ++half) {
        float stored[own_columns];
        Row::widen(tile.state[of_warp + j][half][in_row], stored);
        advance(stored, alpha, s[half][j]);
#pragma unroll
        for (int e = 0; e < own_columns; ++e) s[half][j][e] = stored[e];
        if (writes) back[(pass * pass_rows + j) * warp + half * half_lanes] = Row::narrow(stored);
      }
    __syncwarp();  // nobody needs these rows in their place any more
#pragma unroll
    for (int g = 0; g < groups; ++g) {
      float4 c[own_ranks][halves];
#pragma unroll
      for (int i = 0; i < own_ranks; ++i)
#pragma unroll
        for (int half = 0; half < halves; ++half)
          c[i][half] = keys.C[g * own_ranks + i][half * half_lanes + in_row];
#pragma unroll
      for (int j = 0; j < own_rows; ++j) {
        typename Sums<ranks>::Fours sum;
#pragma unroll
        for (int i = 0; i < own_ranks; ++i)
          sum.of_rank[i] = output_of_four(s[0][j], c[i][0]) + output_of_four(s[1][j], c[i][1]);
        tile.sums(pass).of[g][first_row + j][in_row] = sum;
      }
    }
  }
  __syncwarp();
  const auto& sums =
      tile.sums(own_row / pass_rows).of[has_ranks ? own_group : 0][own_row % pass_rows];
  float y[own_ranks];
#pragma unroll
  for (int i = 0; i < own_ranks; ++i) {
    y[i] = sum_by_halves<half_lanes>([&](int k) { return sums[k].of_rank[i]; });
    if (a.D.data) y[i] = fmaf(D * load<float>(x_now), load<float>(up[i]), y[i]);
    if (a.z.data) {
      const float own_gate = load<float>(z) * load<float>(gate[i]);
      y[i] *= own_gate / (1.0f + expf(-own_gate));
    }
  }
  const auto added = [&](float out) {
#pragma unroll
    for (int i = 0; i < own_ranks; ++i) out = fmaf(y[i], load<float>(down[i]), out);
    return out;
  };
  float out = added(0);
  if constexpr (groups == 2) out = added(__shfl_sync(~0u, out, own_row));
  if (own_group == groups - 1)
    *reinterpret_cast<Key*>(a.out.element(sequence, head, row)) = rounded<Key>(out);
}

// ---- launch

template <class Stored, class Key, class Weight, int ranks>
void launch(const Arguments& a, const Shape& n, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(n.heads), static_cast<unsigned>(n.sequences));
  const auto warps = static_cast<unsigned>(n.value / warp_rows);
  const unsigned bytes = align_up(sizeof(SharedKeys<ranks>)) +
                         warps * static_cast<unsigned>(sizeof(WarpTile<Stored, ranks>));
  const auto kernel = advance_rows<Stored, Key, Weight, ranks>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes)));
  kernel<<<grid, warps * warp, bytes, stream>>>(a);
  check(cudaGetLastError());
}
template <class Stored, class Key, class Weight>
void run(const Arguments& a, const Shape& n, cudaStream_t stream) {
  return n.ranks == 1 ? launch<Stored, Key, Weight, 1>(a, n, stream)
                      : launch<Stored, Key, Weight, most_ranks>(a, n, stream);
}
template <class Stored, class Key>
void run(const Arguments& a, const Shape& n, cudaStream_t stream) {
  return a.outproj.size == int{sizeof(Key)} ? run<Stored, Key, Key>(a, n, stream)
                                            : run<Stored, Key, float>(a, n, stream);
}
template <class Stored>
void run(const Arguments& a, ElementType key, const Shape& n, cudaStream_t stream) {
  return key == ElementType::bfloat16 ? run<Stored, bf16>(a, n, stream)
                                      : run<Stored, fp16>(a, n, stream);
}

constexpr Index key_bytes = 2;
template <class HeadAxis, class View>
KeyRows keys_of(const View& v, Index lead) {
  return {static_cast<std::byte*>(const_cast<void*>(v.data())), lead * key_bytes,
          static_cast<int>(v.template stride<HeadAxis>() * key_bytes),
          static_cast<int>(v.template stride<Rank>() * key_bytes)};
}
template <class HeadAxis, class View>
bool are_key_rows(const KeyRows& rows, const View& v) {
  constexpr Index access = 8;
  return v.template stride<State>() == 1 &&
         reinterpret_cast<std::size_t>(rows.data) % access == 0 && rows.lead % access == 0 &&
         rows.head % access == 0 && rows.rank % access == 0 &&
         rows.head == v.template stride<HeadAxis>() * key_bytes &&
         rows.rank == v.template stride<Rank>() * key_bytes;
}
TokenRows of_head(const DeviceView<const Any, Batch, Time, Head>& v) {
  return TokenRows::of(v.type(), v.data(), v.stride<Batch>(), v.stride<Head>(), 0);
}
// What the kernel is made for.
bool have_types(const DeviceInputs& x, const DeviceOutputs& y) {
  const ElementType state = y.state.type(), key = x.B.type(), weights = x.outproj.type();
  const auto is_half = [](ElementType own) {
    return own == ElementType::bfloat16 || own == ElementType::float16;
  };
  const auto all_have = [](ElementType own, const auto&... tensors) {
    return (... && (!tensors || tensors.type() == own));
  };
  return (is_half(state) || state == ElementType::float32) && is_half(key) &&
         all_have(key, x.x, x.z, x.C, y.out, y.k_state, y.x_state) &&
         all_have(ElementType::float32, x.A, x.dt, x.trap, x.D) &&
         (weights == key || weights == ElementType::float32) && all_have(weights, x.xproj, x.zproj);
}

}  // namespace

bool direct_step(const DeviceInputs& x, const Options& options, const DeviceOutputs& y,
                 cudaStream_t stream) {
  const Shape n = shape(x, y);
  const bool one_token =
      n.time == 1 && !x.lanes.offsets && !x.lanes.accepted && !x.lanes.replayed && !y.intermediate;
  const bool plain = !x.theta && !options.stochastic && y.out && !y.state_out;
  const bool sizes = n.state == columns && y.state.stride<Value>() == columns &&
                     (n.ranks == 1 || n.ranks == most_ranks) && n.value % warp_rows == 0 &&
                     n.value >= n.ranks * warp_rows && n.value <= most_warps * warp_rows;
  const bool is_grid =
      n.sequences > 0 && n.sequences <= most_ctas && n.heads > 0 && n.heads <= most_ctas;
  if (!one_token || !plain || !sizes || !is_grid || !have_types(x, y)) return false;
  const auto size = static_cast<Index>(size_of(y.state.type()));
  const Arguments a{
      of_head(x.A),
      of_head(x.dt),
      of_head(x.trap),
      x.D ? TokenRows::of(x.D.type(), x.D.data(), 0, x.D.stride<Head>(), 0) : TokenRows{},
      TokenRows::of<Batch, Head, Value>(x.x),
      TokenRows::of<Batch, Head, Value>(x.z),
      TokenRows::of<Batch, Head, Value>(y.out),
      TokenRows::of<Rank, Head, Value>(x.xproj),
      TokenRows::of<Rank, Head, Value>(x.zproj),
      TokenRows::of<Rank, Head, Value>(x.outproj),
      keys_of<Group>(x.B, x.B.stride<Batch>()),
      keys_of<Group>(x.C, x.C.stride<Batch>()),
      keys_of<Head>(y.k_state, y.k_state.stride<Slot>()),
      Divisor(n.heads / n.groups),
      x.lanes,
      options,
      static_cast<std::byte*>(y.state.data()),
      y.state.stride<Slot>() * size,
      y.state.stride<Head>() * size,
      TokenRows::of<Head, Value>(y.x_state),
      y.x_state.stride<Slot>() * key_bytes};
  if (!fit(a.A, a.dt, a.trap, a.D, a.x, a.z, a.out, a.xproj, a.zproj, a.outproj, a.x_state) ||
      !are_key_rows<Group>(a.B, x.B) || !are_key_rows<Group>(a.C, x.C) ||
      !are_key_rows<Head>(a.k_state, y.k_state))
    return false;
  switch (y.state.type()) {
    case ElementType::float32:
      run<float>(a, x.B.type(), n, stream);
      break;
    case ElementType::bfloat16:
      run<bf16>(a, x.B.type(), n, stream);
      break;
    default:
      run<fp16>(a, x.B.type(), n, stream);
  }
  return true;
}

}  // namespace groundstate::gpu::mamba3_step
