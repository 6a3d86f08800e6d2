// gpu.step for one token a lane: states come by the copy engine.
//
// A CTA owns one head of some sequences, one after the other, a warp sixteen rows of the state of
// N = 128. As soon as rows are read, the copy engine brings those of the next sequence to their
// place, and what else is needed of it is asked for: memory works while the products are made. The
// warps bring a rank each of B, K and C for all, widened, and behind the prologue where there is
// one (direct_prologue.cuh). A lane has four columns of each half of four rows, in two passes
// (row_block.cuh). Sums of four columns go through shared memory to the lane that has the row and
// two ranks of it, for which it also computes u, v and the share of the output: half the
// instructions of exchanges between lanes.
//
// Rounding points: the state where it is stored; K behind the prologue; out as it is stored. exp,
// tanh, sin and cos are CUDA's in fp32.
// Limits: direct_step(): 16-bit tokens; A, dt, trap, D and angles in fp32; R 1 or 4; strides below
// 2^31 bytes.
// Bytes: step.cu.
// Measured on an H200, H48 P64 N128 R4 (data/timings_h200.jsonl). Every group its own B and C,
// B 8 / 64 / 256: fp32 12.1 / 60.4 / 221 us, 94 / 96 / 98 % of a copy of the same bytes,
// bf16 10.0 / 36.1 / 123 us, 80 / 92 / 95 %. One group, norm and all angles, B 128: fp32 113 us,
// 96 %, bf16 72.5 us, 81 %; with the prologue in a launch of its own 184 and 135 us. A sequence
// costs a warp 1400 instructions, 830 of them the products, with the prologue 300 more; a CTA that
// begins 550.
//
// Learned there.
// - What is needed first is asked for first: K and X before their state, behind which they would
//   wait. Slots take 1.5 us, in which the memory has nothing else to do: tokens of all sequences of
//   a CTA are fetched into the L2 then. Where all CTAs begin at once, half of the states wait for
//   the first keys. With sums read eight bytes at once, which as two words conflict in their banks,
//   this is 11 % at B 8, 2 % at B 64 and 1 % at B 256 in bf16, 8 % and 1 % at B 8 and 64 in fp32.
//   Tokens asked for by loads are waited for with the slots, up to 6 % slower, and so are slots
//   behind a branch on their type.
// - Types of tokens that are known save more than their instructions: of two predicated loads to
//   one register the second waits for all loads under way.
// - Sequences a CTA, in bf16 at B 256: one, 143 us; three, 126; four and the last one each, 124;
//   all of its place on the device, 132, since multiprocessors do not get the same share of the
//   memory.
// - Time that a copy does not take is a constant, 3 us for any B, and 2 %: the first slot comes
//   after 1.5 us, the first keys after 3, and the last state is worked on for 1. bf16 at B 64:
//   counters have the memory at 70 % of its peak (a copy 78), instructions at 61 %, shared memory
//   at 62 %.
// - The prologue at B 128: fp32 115 us, bf16 75. With theta fetched into the L2 beside the other
//   tokens 114 and 73; with angles by the first half of the threads in one CTA and by the second in
//   the next 113 and 72.
// - Tokens by cp.async, 1 to 5 % slower. Two sets of keys, one barrier a sequence: 0.4 % faster,
//   and in fp32 P 128 has no room for two CTAs.
// - More under way is slower: two places for states 1 to 4 %; states of the CTA that follows
//   fetched into the L2, 2 to 5 %; all states, 10 to 30 %.
// - Warps of eight rows are 20 % slower, 96 registers and five CTAs 5 %, loops of products that are
//   not unrolled 1 to 3 %. Products of the second pass made ahead, in shared memory: 2 to 4 %.
//   Eight rows a lane, 168 registers and three CTAs, spare a quarter of the accesses to shared
//   memory and no time, neighbours with the same columns neither.
// - First CTAs of two, four and six sequences, so that those which follow do not begin all at once:
//   the memory is busy more evenly, and no time is spared.
// - Hints to the L2: evict_first for states read or written is 1 to 6 % slower; evict_last for
//   those read is 1 to 3 % faster at B 256 and 3 to 4 % slower at B 64.
#include <algorithm>

#include "gpu/core/check.hpp"
#include "gpu/core/device.hpp"
#include "gpu/core/direct_load.cuh"
#include "gpu/core/load_index.cuh"
#include "gpu/core/mbarrier.cuh"
#include "gpu/mamba3_step/direct_prologue.cuh"
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
constexpr int most_own = 4;  // sequences of a CTA

// Rows of 16-bit keys, [sequence or slot][head][rank]; strides in bytes.
struct KeyRows {
  std::byte* data;
  int lead = 0, head = 0, rank = 0;
  bool fits = true;  // strides and addresses

  template <class LeadAxis, class HeadAxis, class View>
  static KeyRows of(const View& v) {
    constexpr Index size = 2, access = 8;
    KeyRows rows{static_cast<std::byte*>(const_cast<void*>(v.data()))};
    rows.lead = byte_stride(v.template stride<LeadAxis>(), size, rows.fits);
    rows.head = byte_stride(v.template stride<HeadAxis>(), size, rows.fits);
    rows.rank = byte_stride(v.template stride<Rank>(), size, rows.fits);
    rows.fits = rows.fits && v.template stride<State>() == 1 &&
                (rows.lead | rows.head | rows.rank) % access == 0 &&
                reinterpret_cast<std::size_t>(rows.data) % access == 0;
    return rows;
  }
  // Four columns of a row.
  __device__ std::byte* four(int of_head, int r, int column) const {
    return stepped(stepped(data, of_head, head), r, rank) + column * 8;
  }
};

// The pool, [slot][head]; strides in bytes.
struct States {
  std::byte* data;
  int slot = 0, head = 0;
  bool fits = true;

  template <class View>
  static States of(const View& v) {
    const auto size = static_cast<Index>(size_of(v.type()));
    States states{static_cast<std::byte*>(v.data())};
    states.slot = byte_stride(v.template stride<Slot>(), size, states.fits);
    states.head = byte_stride(v.template stride<Head>(), size, states.fits);
    return states;
  }
};

struct Arguments {
  TokenRows A, dt, trap, D, x, z, out;
  TokenRows xproj, zproj, outproj;  // [rank][head][row]
  TokenRows x_state;                // [slot][head][row]
  KeyRows B, C, k_state;
  States state;
  Divisor heads_a_group;
  View<Space::device, const Any, Sequence, Time> source, destination;
  PrologueRows prologue;
  Options options;
  // `sharing` CTAs of a head work on the first sequences in turn, others on one of the rest each.
  int sharing = 0, shared_sequences = 0;
  bool at_once = false;  // all CTAs find room on the device
};

// An element of known type, or the other value where there is no tensor.
template <class Element>
__device__ Element element(const TokenRows& rows, int at, int of_head, int i, Element other = {}) {
  return rows.data ? *reinterpret_cast<const Element*>(rows.element(at, of_head, i)) : other;
}

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

// Of all warps, of one sequence.
template <int ranks>
struct alignas(128) Keys {
  float4 B[ranks][warp], K[ranks][warp], C[ranks][warp];
};

template <class Weight, int ranks, bool has_prologue>
constexpr std::size_t key_bytes = sizeof(Keys<ranks>) +
                                  (has_prologue ? sizeof(PrologueStage<Weight, ranks>) : 0);

// Sums of four columns on their way to the lane that adds them up: a lane has a row, and one rank
// or two adjacent ones of it.
template <int ranks>
struct Sums {
  static constexpr int own_ranks = ranks == 1 ? 1 : 2, groups = ranks / own_ranks;
  struct alignas(own_ranks * sizeof(float)) Fours {
    float of_rank[own_ranks];
  };
  Fours of[groups][warp_rows][half_lanes + 1];  // one more: rows begin in different banks
};

template <class Stored, int ranks>
struct alignas(128) WarpTile {
  using Piece = StatePiece<Stored, own_columns>;
  using Pass = typename Piece::Bits[pass_rows][halves][half_lanes];
  Pass pass[passes];
  float now[ranks][warp_rows], before[ranks][warp_rows];  // x gamma xproj, X beta xproj
  Sums<ranks> sums;
  Barrier arrived[passes];
};

// ---- what a CTA is for, and what a lane asks for

// Sequences first, first + stride, ... before end.
struct Share {
  int first, stride, end;
};
__device__ Share share_of(const Arguments& a, int cta_of_head) {
  if (cta_of_head < a.sharing) return {cta_of_head, a.sharing, a.shared_sequences};
  const int alone = a.shared_sequences + cta_of_head - a.sharing;
  return {alone, 1, alone + 1};
}

// Of one sequence: four columns of the warp's rank, numbers of its own row, and of A, dt and trap
// one; with a prologue an angle.
template <class Key>
struct Token {
  uint2 B, C, K;
  Key x, z, x_last;
  float number;
  AngleToken angle;
};

// Where a lane finds them in sequence or slot 0.
template <class Key, bool has_prologue>
struct TokenPlaces {
  std::byte *B, *C, *K, *x, *z, *x_last, *number;
  int number_stride, head, frequency;
  bool has_key;

  __device__ TokenPlaces(const Arguments& a, int head_, int group, int own_warp, int lane, int row,
                         bool has_key_)
      : B(a.B.four(group, own_warp, lane)),
        C(a.C.four(group, own_warp, lane)),
        K(a.k_state.four(head_, own_warp, lane)),
        x(a.x.element(0, head_, row)),
        z(a.z.element(0, head_, row)),
        x_last(a.x_state.element(0, head_, row)),
        head(head_),
        frequency(own_frequency()),
        has_key(has_key_) {
    const TokenRows& numbers = lane == 0 ? a.A : lane == 1 ? a.dt : a.trap;
    number = numbers.element(0, head_, 0);
    number_stride = numbers.sequence;
  }
  __device__ void ask(const Arguments& a, Token<Key>& token, int sequence) const {
    if (has_key) {
      token.B = *reinterpret_cast<const uint2*>(stepped(B, sequence, a.B.lead));
      token.C = *reinterpret_cast<const uint2*>(stepped(C, sequence, a.C.lead));
    }
    token.number = *reinterpret_cast<const float*>(stepped(number, sequence, number_stride));
    token.x = *reinterpret_cast<const Key*>(stepped(x, sequence, a.x.sequence));
    if (a.z.data) token.z = *reinterpret_cast<const Key*>(stepped(z, sequence, a.z.sequence));
    if constexpr (has_prologue) token.angle.ask(a.prologue, sequence, head, frequency);
  }
  __device__ void ask_slot(const Arguments& a, Token<Key>& token, int slot) const {
    if (has_key) token.K = *reinterpret_cast<const uint2*>(stepped(K, slot, a.k_state.lead));
    token.x_last = *reinterpret_cast<const Key*>(stepped(x_last, slot, a.x_state.sequence));
    if constexpr (has_prologue) token.angle.ask_slot(a.prologue, slot, head, frequency);
  }
  // B and x become K and X; `writes_x`: of the lanes that have a row, one.
  __device__ void store_slot(const Arguments& a, const Token<Key>& token, int slot,
                             bool writes_x) const {
    if (has_key) *reinterpret_cast<uint2*>(stepped(K, slot, a.k_state.lead)) = token.B;
    if (writes_x) *reinterpret_cast<Key*>(stepped(x_last, slot, a.x_state.sequence)) = token.x;
  }
};

// Tokens of the whole share go to the L2: memory has nothing else to do before slots are there.
// Eight lanes fetch B, eight C, eight x and z, eight theta: two lines of each of most_own
// sequences.
template <bool has_prologue>
__device__ void fetch_tokens(const Arguments& a, const Share& share, int head, int group,
                             int own_warp, int lane, bool has_key) {
  constexpr int line_bytes = 128, warps_a_line = line_bytes / (warp_rows * 2);
  static_assert(columns * 2 == 2 * line_bytes && most_own == 4);
  const int tensor = lane / 8, second = lane % 2,
            sequence = share.first + lane % 8 / 2 * share.stride;
  const std::byte* from = nullptr;
  if (tensor < 2 && has_key) {
    const KeyRows& key = tensor == 0 ? a.B : a.C;
    from = stepped(key.four(group, own_warp, 0), sequence, key.lead) + second * line_bytes;
  } else if (tensor == 2 && own_warp % warps_a_line == 0) {
    const TokenRows& rows = second == 0 ? a.x : a.z;
    if (rows.data) from = rows.element(sequence, head, own_warp * warp_rows);
  } else if (has_prologue && tensor == 3 && own_warp == 0) {
    const TokenRows& theta = a.prologue.theta;
    if (second * line_bytes < a.prologue.frequencies * theta.size)
      from = theta.element(sequence, head, 0) + second * line_bytes;
  }
  if (from != nullptr && sequence < share.end) fetch_line(from);
}

// ---- kernel

template <class Stored, class Key, class Weight, int ranks, bool has_prologue>
__global__ void __launch_bounds__(most_warps* warp, 2)
    advance_rows(const __grid_constant__ Arguments a) {
  using Tile = WarpTile<Stored, ranks>;
  using Piece = typename Tile::Piece;
  constexpr int own_ranks = Sums<ranks>::own_ranks, groups = Sums<ranks>::groups;
  extern __shared__ __align__(128) std::byte shared[];
  auto& keys = *reinterpret_cast<Keys<ranks>*>(shared);
  auto& prologue = *reinterpret_cast<PrologueStage<Weight, ranks>*>(shared + sizeof(keys));
  const auto head = static_cast<int>(blockIdx.x);
  const int group = a.heads_a_group.quotient(blockIdx.x);
  const int lane = static_cast<int>(threadIdx.x % warp),
            own_warp = static_cast<int>(threadIdx.x / warp);
  auto& tile = reinterpret_cast<Tile*>(shared + key_bytes<Weight, ranks, has_prologue>)[own_warp];
  const bool has_key = own_warp < ranks;
  const Share share = share_of(a, static_cast<int>(blockIdx.y));

  // A lane finds the slots of one sequence; those that are no padding are `left`.
  const int found = share.first + lane * share.stride;
  const bool exists = found < share.end;
  const ArrivingIndex slot_of_source(a.source, exists && a.source, Sequence{found}, Time{0});
  fetch_tokens<has_prologue>(a, share, head, group, own_warp, lane, has_key);
  if constexpr (has_prologue)
    if (has_key) prologue.load(a.prologue, own_warp, head);
  int source = nowhere, destination = nowhere;
  if (exists) {
    const Index slot = a.source ? slot_of_source.value() : Index{found};
    source = a.source && is_padding(a.options, slot) ? nowhere : static_cast<int>(slot);
    destination = static_cast<int>(
        destination_of(a.destination, a.options, found, slot, Time{0}, LoadIndex{}));
  }

  // Of x, z and out: a row and a group of ranks.
  const int own_row = lane % warp_rows, row = own_warp * warp_rows + own_row,
            own_group = lane / warp_rows,
            first_rank = own_group < groups ? own_group * own_ranks : 0;
  const bool has_ranks = own_group < groups;
  const float D = element<float>(a.D, 0, head, 0);
  Weight up[own_ranks], gate[own_ranks], down[own_ranks];
#pragma unroll
  for (int i = 0; i < own_ranks; ++i) {
    up[i] = element<Weight>(a.xproj, first_rank + i, head, row, Weight(1.0f));
    gate[i] = element<Weight>(a.zproj, first_rank + i, head, row);
    down[i] = element<Weight>(a.outproj, first_rank + i, head, row);
  }
  const TokenPlaces<Key, has_prologue> places(a, head, group, own_warp, lane, row, has_key);
  std::byte* const first_out = a.out.element(0, head, row);
  std::byte* const first_state = stepped(a.state.data, head, a.state.head) +
                                 own_warp * (warp_rows * columns * int{sizeof(Stored)});
  const auto request = [&](int pass, int slot) {
    if (lane != 0) return;
    constexpr unsigned bytes = sizeof(typename Tile::Pass);
    tile.arrived[pass].arrive_expecting(bytes);
    ptx::cp_async_bulk(
        ptx::space_cluster, ptx::space_global, &tile.pass[pass],
        stepped(first_state, slot, a.state.slot) + static_cast<unsigned>(pass) * bytes, bytes,
        tile.arrived[pass].word());
  };
  const auto store_out = [&](int sequence, Key out) {
    *reinterpret_cast<Key*>(stepped(first_out, sequence, a.out.sequence)) = out;
  };

  Token<Key> token = {};
  places.ask(a, token, share.first);
  unsigned left = __ballot_sync(~0u, source != nowhere);
  for (unsigned padded = __ballot_sync(~0u, exists && source == nowhere); padded != 0;
       padded &= padded - 1)
    if (own_group == 0) store_out(share.first + (__ffs(padded) - 1) * share.stride, Key{});
  if (left == 0) return;
  if (lane == 0) {
    for (Barrier& barrier : tile.arrived) barrier.init(1);
    fence_barrier_init();
  }
  __syncwarp();
  int at = __ffs(left) - 1;
  const int first_slot = __shfl_sync(~0u, source, at);
  if (at > 0) places.ask(a, token, share.first + at * share.stride);
  places.ask_slot(a, token, first_slot);
  // Behind K and X, which are needed first. Where all CTAs begin at once, half of the states wait
  // until those are there.
  request(0, first_slot);
  bool asks_rest = a.at_once;
  if (!asks_rest) request(1, first_slot);
  // Of the state: four rows of a pass, and four columns of each half of them.
  const int in_row = lane % half_lanes, first_row = lane / half_lanes * own_rows;

#pragma unroll 1
  for (unsigned phase = 0; left != 0; phase ^= 1) {
    const auto number = [&](int i) { return __shfl_sync(~0u, token.number, i); };
    const float dt = number(1);
    const auto [alpha, gamma, beta] = factors_of(number(0), dt, number(2));
    const float x = load<float>(token.x), z = load<float>(token.z), now = x * gamma,
                before = load<float>(token.x_last) * beta;
    if (asks_rest) request(1, first_slot);
    asks_rest = false;
#pragma unroll
    for (int i = 0; i < own_ranks; ++i)
      if (has_ranks) {
        tile.now[first_rank + i][own_row] = now * load<float>(up[i]);
        tile.before[first_rank + i][own_row] = before * load<float>(up[i]);
      }
    const int sequence = share.first + at * share.stride, to = __shfl_sync(~0u, destination, at);
    const bool writes = to != nowhere;
    if constexpr (has_prologue)
      if (places.frequency < a.prologue.frequencies) {
        const float angle = token.angle.advanced(a.prologue, dt);
        prologue.turns[places.frequency] = turn_of(angle);
        if (writes)
          *reinterpret_cast<float*>(a.prologue.angle.element(to, head, places.frequency)) = angle;
      }
    __syncthreads();  // nobody needs the keys of the sequence before
    if (has_key) {
      using KeyPiece = StatePiece<Key, own_columns>;
      float b[own_columns], c[own_columns], k[own_columns];
      KeyPiece::widen(token.B, b);
      KeyPiece::widen(token.C, c);
      KeyPiece::widen(token.K, k);
      if constexpr (has_prologue) {
        prologue.apply(a.prologue, own_warp, b, c);
        token.B = KeyPiece::narrow(b);
      }
      keys.B[own_warp][lane] = {b[0], b[1], b[2], b[3]};
      keys.C[own_warp][lane] = {c[0], c[1], c[2], c[3]};
      keys.K[own_warp][lane] = {k[0], k[1], k[2], k[3]};
    }
    __syncthreads();
    // What it overwrites, a warp has read itself.
    if (writes && a.options.update_kv_state) places.store_slot(a, token, to, own_group == 0);
    left &= left - 1;
    int next_slot = nowhere;
    if (left != 0) {
      at = __ffs(left) - 1;
      next_slot = __shfl_sync(~0u, source, at);
      places.ask(a, token, share.first + at * share.stride);
      places.ask_slot(a, token, next_slot);
    }

    auto* back = reinterpret_cast<typename Piece::Bits*>(stepped(first_state, to, a.state.slot)) +
                 (first_row * warp + in_row);
#pragma unroll
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
      tile.arrived[pass].wait(phase);
#pragma unroll
      for (int j = 0; j < own_rows; ++j)
#pragma unroll
        for (int half = 0; half < halves; ++half) {
          float stored[own_columns];
          Piece::widen(tile.pass[pass][first_row + j][half][in_row], stored);
          advance(stored, alpha, s[half][j]);
#pragma unroll
          for (int e = 0; e < own_columns; ++e) s[half][j][e] = stored[e];
        }
      __syncwarp();  // nobody needs these rows in their place any more
      if (next_slot != nowhere) request(pass, next_slot);
      if (writes)
#pragma unroll
        for (int j = 0; j < own_rows; ++j)
#pragma unroll
          for (int half = 0; half < halves; ++half)
            back[j * warp + half * half_lanes] = Piece::narrow(s[half][j]);
      back += pass_rows * warp;
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
          tile.sums.of[g][of_warp + j][in_row] = sum;
        }
      }
    }
    __syncwarp();
    typename Sums<ranks>::Fours sums[half_lanes];
#pragma unroll
    for (int k = 0; k < half_lanes; ++k)
      sums[k] = tile.sums.of[has_ranks ? own_group : 0][own_row][k];
    float y[own_ranks];
#pragma unroll
    for (int i = 0; i < own_ranks; ++i) {
      y[i] = sum_by_halves<half_lanes>([&](int k) { return sums[k].of_rank[i]; });
      if (a.D.data) y[i] = fmaf(D * x, load<float>(up[i]), y[i]);
      if (a.z.data) {
        const float own_gate = z * load<float>(gate[i]);
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
    if (own_group == groups - 1) store_out(sequence, rounded<Key>(out));
  }
}

// ---- launch

// What the CTAs of a head work on: `sharing` of them on the first `shared` sequences, each other on
// one of the rest. All CTAs have the same work where they find room on the device at once with up
// to three sequences each. Else four each, and the last one each: what ends late is small.
struct Division {
  Index shared, sharing;
};
Division division_of(Index sequences, Index heads, Index room) {
  const auto divided = [](Index n, Index d) { return (n + d - 1) / d; };
  for (Index own = 1; own < most_own; ++own)
    if (const Index sharing = divided(sequences, own); heads * sharing <= room)
      return {sequences, sharing};
  const Index alone = std::min(sequences, divided(5 * room, 4 * heads)), shared = sequences - alone;
  return {shared, divided(shared, most_own)};
}

template <class Stored, class Key, class Weight, int ranks, bool has_prologue>
void launch(Arguments a, const Shape& n, cudaStream_t stream) {
  const int threads = static_cast<int>(n.value) / warp_rows * warp;
  const std::size_t bytes =
      key_bytes<Weight, ranks, has_prologue> +
      static_cast<std::size_t>(n.value / warp_rows) * sizeof(WarpTile<Stored, ranks>);
  const auto kernel = advance_rows<Stored, Key, Weight, ranks, has_prologue>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes)));
  int resident = 0;  // CTAs of a multiprocessor
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, kernel, threads, bytes));
  const auto [shared, sharing] =
      division_of(n.sequences, n.heads, Index{resident} * multiprocessors());
  a.shared_sequences = static_cast<int>(shared);
  a.sharing = static_cast<int>(sharing);
  a.at_once = shared == n.sequences;
  const dim3 grid(static_cast<unsigned>(n.heads),
                  static_cast<unsigned>(sharing + n.sequences - shared));
  kernel<<<grid, static_cast<unsigned>(threads), bytes, stream>>>(a);
  check(cudaGetLastError());
}
template <class Stored, class Key, class Weight, int ranks>
void launch(const Arguments& a, const Shape& n, cudaStream_t stream) {
  return a.prologue.theta.data ? launch<Stored, Key, Weight, ranks, true>(a, n, stream)
                               : launch<Stored, Key, Weight, ranks, false>(a, n, stream);
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
         (weights == key || weights == ElementType::float32) &&
         all_have(weights, x.xproj, x.zproj, x.B_bias, x.C_bias, x.B_norm, x.C_norm) &&
         (!x.theta || x.theta.type() == key || x.theta.type() == ElementType::float32) &&
         all_have(ElementType::float32, y.angle_state);
}

}  // namespace

bool direct_step(const DeviceInputs& x, const Options& options, const DeviceOutputs& y,
                 cudaStream_t stream) {
  const Shape n = shape(x, y);
  const bool one_token =
      n.time == 1 && !x.lanes.offsets && !x.lanes.accepted && !x.lanes.replayed && !y.intermediate;
  const bool plain = !options.stochastic && y.out && !y.state_out;
  const bool sizes = n.state == columns && y.state.stride<Value>() == columns &&
                     (n.ranks == 1 || n.ranks == most_ranks) && n.value % warp_rows == 0 &&
                     n.value >= n.ranks * warp_rows && n.value <= most_warps * warp_rows &&
                     n.frequencies <= n.value / warp_rows * warp;  // a thread has one
  const bool is_grid =
      n.sequences > 0 && n.sequences <= most_ctas && n.heads > 0 && n.heads <= most_ctas;
  if (!one_token || !plain || !sizes || !is_grid || !have_types(x, y)) return false;
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
      TokenRows::of<Slot, Head, Value>(y.x_state),
      KeyRows::of<Batch, Group>(x.B),
      KeyRows::of<Batch, Group>(x.C),
      KeyRows::of<Slot, Head>(y.k_state),
      States::of(y.state),
      Divisor(n.heads / n.groups),
      x.lanes.source,
      x.lanes.destination,
      PrologueRows::of(x, y, options),
      options};
  if (!fit(a.A, a.dt, a.trap, a.D, a.x, a.z, a.out, a.xproj, a.zproj, a.outproj, a.x_state, a.B,
           a.C, a.k_state, a.state) ||
      !a.prologue.fit())
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
