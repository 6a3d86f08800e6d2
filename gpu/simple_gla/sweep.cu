// The kernel of a sweep (sweep.hpp) on Hopper: the state stays in registers, nothing but inputs and
// outputs touches device memory.
//
// A CTA owns one segment of a sequence, one value head and 64 or 128 columns of a. Its warpgroups:
//   producer   warp 0 makes the gates, warps 1-3 bring the operands: by the copy engine; by plain
//              loads where it does not take them, and for the short chunk of a packed sequence,
//              beyond whose end is a neighbour that is not ours to read
//   scores     A; and own . y of the chunk before to device memory
//   state      one or two: 64 columns of a each. They hold R in accumulators and compute
//              Y^T = R C^T + a^T A^T with R and a as operands from registers, so the state is
//              rounded and multiplied without ever passing through shared memory.
// A state warpgroup computes the same whether it is alone or one of two, and the depth of the ring
// changes nothing but when data arrive: results are bit for bit the same.
//
// Minimal bytes a token and value head, 16-bit operands: 2 (2 K + 2 V) + 4 for g; flop 2 C (K + V)
// + 4 K V, far below what the tensor cores do in that time. 512 threads with 40 / 88 / 192 / 192
// registers, 227 KiB of shared memory: four stages, three with `own`.
// Measured on an H100, K = V = 128, bf16, cold (`make bench-gpu`): B1 T8192 H96 0.335 ms for
// 821 MB, as fast as the driver's copy of them and 82 % of the fastest one; its sweeps of dq and dk
// each 0.58 ms for 1.4 GB with a state kept of every chunk, of every fourth 0.46 ms. Not all of the
// device is at work: 96 CTAs for 132 multiprocessors. With fewer, one chunk after the other takes
// 1.8 us, the chain of four products that wait for each other: hence segments.
//
// What was learned, in the order in which it mattered:
//   - the gates are one load a token, a stride of heads apart: they must be on the way a chunk
//     ahead with nothing that uses them in between (GateStream), else their latency is the time of
//     a chunk
//   - an operand from registers is made before the products begin; packing between two products
//     makes the compiler wait for the first one, and so does touching any register that a product
//     owns while another is in flight
//   - code that runs once is fetched from cold memory: state in and out is a loop, not unrolled
//   - beside 227 KiB of shared memory there is hardly any L1: a spilled register comes back from
//     L2, and twenty of them a chunk were half of its time. The state warpgroups keep nothing but
//     their state; what needs addresses is done by the others or by the copy engine
#include <cuda/ptx>

#include "gpu/core/check.hpp"
#include "gpu/core/mbarrier.cuh"
#include "gpu/core/tensor_core.cuh"
#include "gpu/core/tensor_map.hpp"
#include "gpu/simple_gla/single_sweep.hpp"
#include "gpu/simple_gla/sweep_work.cuh"

namespace groundstate::gpu::simple_gla {
namespace {

// ---- tile

template <int key_blocks_, int value_blocks_, Purpose purpose_>
struct Tile {
  static constexpr Purpose purpose = purpose_;
  static constexpr bool with_output = purpose != Purpose::states;
  static constexpr bool with_own = reads_own(purpose);
  static constexpr int key_blocks = key_blocks_;      // of 64 columns of b; more are zeros
  static constexpr int value_blocks = value_blocks_;  // of 64 columns of a, a warpgroup each
  static constexpr int warpgroups = 2 + value_blocks;
  static constexpr int threads = warpgroups * warpgroup_threads;
  static constexpr int loader_threads = 3 * warp_threads;
  static constexpr int stage_blocks =
      (with_output ? 2 : 1) * key_blocks + (with_own ? 2 : 1) * value_blocks;
  // 512 registers a thread of every warpgroup are to be shared.
  static constexpr int producer_registers = value_blocks == 2 ? 40 : 56;
  static constexpr int score_registers = value_blocks == 2 ? 88 : 120;
  static constexpr int state_registers = value_blocks == 2 ? 192 : 240;
};

// ---- shared storage

struct alignas(1024) Block {
  unsigned char bytes[block_bytes];
};
constexpr int most_stages = 8;

// Blocks first. A stage: key, value, query, own. Scores and outputs have one slot: a third stage is
// worth more than the wait for them.
template <class Tile>
struct Shared {
  Block *stages, *scores, *outputs;
  ChunkGates* gates;
  float* dots;  // [value_blocks][4 warps][64]
  Barrier *full, *empty, *scores_full, *scores_empty, *dots_full, *dots_empty;

  static constexpr int dot_count = Tile::with_own ? Tile::value_blocks * 4 * chunk_length : 0;
  static constexpr std::size_t bytes(int stages) {
    return static_cast<std::size_t>(stages) *
               (Tile::stage_blocks * sizeof(Block) + sizeof(ChunkGates)) +
           (1 + Tile::value_blocks) * sizeof(Block) + dot_count * sizeof(float) +
           (2 * most_stages + 4) * sizeof(Barrier);
  }

  __device__ Shared(unsigned char* memory, int count) {
    stages = reinterpret_cast<Block*>(memory);
    scores = stages + count * Tile::stage_blocks;
    outputs = scores + 1;
    gates = reinterpret_cast<ChunkGates*>(outputs + Tile::value_blocks);
    dots = reinterpret_cast<float*>(gates + count);
    full = reinterpret_cast<Barrier*>(dots + dot_count);
    empty = full + most_stages;
    scores_full = empty + most_stages;
    scores_empty = scores_full + 1;
    dots_full = scores_empty + 1;
    dots_empty = dots_full + 1;
  }
  __device__ Block* key(int stage) const { return stages + stage * Tile::stage_blocks; }
  __device__ Block* value(int stage) const { return key(stage) + Tile::key_blocks; }
  __device__ Block* query(int stage) const { return value(stage) + Tile::value_blocks; }
  __device__ Block* own(int stage) const { return query(stage) + Tile::key_blocks; }
  __device__ float* dot(int block) const { return dots + block * 4 * chunk_length; }
};

struct Maps {
  CUtensorMap query{}, key{}, value{}, own{}, output{};
};

struct Arguments : Sweep {
  bool engine_loads, engine_stores;  // whole chunks by the copy engine
  bool vector_loads, vector_stores;  // the others by 16 bytes at a time
  bool unrounded_output;             // fp32
  int stages;
};

// ---- phase: gates

template <class Tile>
__device__ void make_gates(const Arguments& s, const Work& w, const Shared<Tile>& shared) {
  GateStream stream(s.gates, w.range, w.head);
  RingPosition at;
  TwoFloat total{0, 0};  // of the segment
  stream.fetch();
  for (int c = 0; c < w.range.chunks; ++c) {
    const float d[2]{stream.log_decay(0), stream.log_decay(1)};
    const bool exists[2]{stream.exists(0), stream.exists(1)};
    stream.fetch();
    shared.empty[at.stage].wait(at.empty());
    ChunkGates& gates = shared.gates[at.stage];
    const TwoFloat last =
        write_gates(gates, d, exists, s.order.reverse, s.read_scale, s.update_scale);
    if (!Tile::with_output) total = add(total, last);
    if (lane_index() == 0) {
      const int chunk = w.range.first_chunk + c;
      if (Tile::with_own || !Tile::with_output) {
        const GatePlace place = gate_place(s, w, chunk);
        gates.kept = place.ends_group ? place.first : -1;
      }
      gates.first_token = w.range.first_token(chunk);
      // The engine leaves out what is behind the end of the tensor, but takes no negative place.
      gates.whole =
          s.engine_stores && (w.range.rows(chunk).all() || (!s.offsets && gates.first_token >= 0));
    }
    shared.full[at.stage].arrive();
    at.advance(s.stages);
  }
  if (!Tile::with_output && s.segments.decays != nullptr && w.first_column == 0 &&
      lane_index() == 0)
    s.segments.decays[(Index{w.sequence} * s.segments.count + w.segment) * s.heads + w.head] =
        exp_of<Accuracy::of_fp32>(total);
}

// ---- phase: load

// One block by ordinary loads; rows and columns that do not exist become zeros.
template <class Tile>
__device__ void load_block(Block& block, const Operand& x, const std::uint16_t* first_token,
                           Index first_column, Rows rows, bool vectors, int thread) {
#pragma unroll 1
  for (int i = thread; i < 64 * 8; i += Tile::loader_threads) {
    const int row = i / 8, piece = i % 8;
    const Index column = first_column + piece * 8;
    const std::uint16_t* const from = first_token + row * x.time + column * x.column;
    uint4 bits{0, 0, 0, 0};
    if (rows.have(row) && column < x.columns) {
      if (vectors) {
        bits = *reinterpret_cast<const uint4*>(from);
      } else {
        std::uint32_t half[8];
#pragma unroll
        for (int e = 0; e < 8; ++e)
          half[e] = column + e < x.columns ? std::uint32_t{from[e * x.column]} : 0u;
        bits = {half[0] | half[1] << 16, half[2] | half[3] << 16, half[4] | half[5] << 16,
                half[6] | half[7] << 16};
      }
    }
    *reinterpret_cast<uint4*>(block.bytes + swizzled(static_cast<unsigned>(row),
                                                     static_cast<unsigned>(piece * 8))) = bits;
  }
}

// Calls use(block, operand, map, column) for every block of a stage.
template <class Tile, class Use>
__device__ void for_each_block(const Arguments& s, const Maps& maps, const Work& w,
                               const Shared<Tile>& shared, int stage, Use&& use) {
  for (int b = 0; b < Tile::key_blocks; ++b) use(shared.key(stage)[b], s.key, maps.key, 64 * b);
  for (int b = 0; b < Tile::value_blocks; ++b)
    use(shared.value(stage)[b], s.value, maps.value, w.first_column + 64 * b);
  if constexpr (Tile::with_output)
    for (int b = 0; b < Tile::key_blocks; ++b)
      use(shared.query(stage)[b], s.query, maps.query, 64 * b);
  if constexpr (Tile::with_own)
    for (int b = 0; b < Tile::value_blocks; ++b)
      use(shared.own(stage)[b], s.own, maps.own, w.first_column + 64 * b);
}

// The threads that bring chunks: one where the copy engine takes them all. Each waits for `empty`
// and arrives at `full` in every phase, also where it has nothing to bring: one that left a phase
// out could find the phase after the next, and one that followed another's wait would look like a
// race to racecheck.
template <class Tile>
__device__ int loaders(const Arguments& s) {
  return s.engine_loads && !s.offsets ? 1 : Tile::loader_threads;
}

template <class Tile>
__device__ void load_chunks(const Arguments& s, const Maps& maps, const Work& w,
                            const Shared<Tile>& shared, int thread) {
  namespace ptx = cuda::ptx;
  if (thread >= loaders<Tile>(s)) return;
  RingPosition at;
  for (int c = w.range.first_chunk; c < w.range.first_chunk + w.range.chunks; ++c) {
    const Rows rows = w.range.rows(c);
    const int token = w.range.first_token(c);
    Barrier& full = shared.full[at.stage];
    shared.empty[at.stage].wait(at.empty());
    if (s.engine_loads && (rows.all() || !s.offsets)) {
      if (thread == 0) {
        full.arrive_expecting(Tile::stage_blocks * sizeof(Block));
        for_each_block(s, maps, w, shared, at.stage,
                       [&](Block& block, const Operand& x, const CUtensorMap& map, Index column) {
                         const std::int32_t place[4]{static_cast<std::int32_t>(column),
                                                     static_cast<std::int32_t>(w.head_of(x)),
                                                     static_cast<std::int32_t>(token),
                                                     static_cast<std::int32_t>(w.range.batch)};
                         ptx::cp_async_bulk_tensor(ptx::space_cluster, ptx::space_global,
                                                   block.bytes, &map, place, full.word());
                       });
      } else {
        full.arrive();
      }
    } else {
      for_each_block(s, maps, w, shared, at.stage,
                     [&](Block& block, const Operand& x, const CUtensorMap&, Index column) {
                       load_block<Tile>(block, x,
                                        static_cast<const std::uint16_t*>(x.data) +
                                            x.offset(w.range.batch, token, w.head_of(x)),
                                        column, rows, s.vector_loads, thread);
                     });
      fence_async_proxy();
      full.arrive();
    }
    at.advance(s.stages);
  }
}

// Register r of an accumulator of a warpgroup is row(r), column(r).
struct FragmentPlace {
  int warp, lane;
  __device__ int row(int r) const { return 16 * warp + lane / 4 + 8 * (r / 2 % 2); }
  __device__ int column(int r) const { return 8 * (r / 4) + 2 * (lane % 4) + r % 2; }
};

// ---- phase: outputs

// Writes 64 columns of y, chunk by chunk, from shared memory: a thread has 8 columns of every 16th
// row. fp32 outputs (one of several value heads that are still to be summed) come in two halves, as
// plain rows.
class OutputColumns {
 public:
  __device__ OutputColumns(const Operand& y, const Work& w, int first_column, int thread)
      : y_(y), thread_(thread), columns_(static_cast<int>(y.columns) - first_column) {
    origin_ = y.offset(w.range.batch, 0, w.head_of(y)) + first_column * y.column;
  }
  __device__ void store(const Block& block, const Rows& rows, int first_token, bool vectors) const {
    const int first_row = thread_ / 8, column = thread_ % 8 * 8, left = columns_ - column;
    if (left <= 0) return;
    auto* to = data<std::uint16_t>() + (first_token + first_row) * y_.time + column * y_.column;
#pragma unroll
    for (int row = first_row; row < chunk_length; row += 16, to += 16 * y_.time) {
      if (!rows.have(row)) continue;
      const uint4 bits = *reinterpret_cast<const uint4*>(
          block.bytes + swizzled(static_cast<unsigned>(row), static_cast<unsigned>(column)));
      if (vectors) [[likely]]
        *reinterpret_cast<uint4*>(to) = bits;
      else
        store_elements(to, bits, left);
    }
  }
  // Rows [32 half, 32 half + 32) in fp32.
  __device__ void store_half(const float* block, const Rows& rows, int first_token,
                             int half) const {
    const int column = thread_ % 64;
    if (column >= columns_) return;
    auto* const to = data<float>() + first_token * y_.time + column * y_.column;
    for (int row = thread_ / 64; row < 32; row += 2)
      if (rows.have(32 * half + row)) to[(32 * half + row) * y_.time] = block[64 * row + column];
  }

 private:
  template <class Stored>
  __device__ Stored* data() const {
    return static_cast<Stored*>(const_cast<void*>(y_.data)) + origin_;
  }
  __device__ void store_elements(std::uint16_t* to, uint4 bits, int left) const {
    const std::uint32_t pair[4]{bits.x, bits.y, bits.z, bits.w};
#pragma unroll
    for (int e = 0; e < 8; ++e)
      if (e < left) to[e * y_.column] = static_cast<std::uint16_t>(pair[e / 2] >> (16 * (e % 2)));
  }
  const Operand& y_;
  int thread_, columns_;
  Index origin_;
};

// own . y of a chunk, which the state warpgroups left by warps.
template <class Tile>
__device__ void store_dots(const Arguments& s, const Work& w, const Shared<Tile>& shared, int chunk,
                           int thread) {
  const int row = thread % chunk_length, number = thread / chunk_length;
  const int block = w.first_column / 64 + number;
  if (number >= Tile::value_blocks || block >= blocks_of(s.value.columns) ||
      !w.range.rows(chunk).have(row))
    return;
  const float* const dots = shared.dot(number) + row;
  const int token = w.range.first_token(chunk) + row;
  s.gate_part.dots[((Index{block} * s.batch + w.range.batch) * s.time + token) * s.heads + w.head] =
      (dots[0] + dots[64]) + (dots[128] + dots[192]);
}

// ---- phase: scores

template <class Tile, class T>
__device__ void make_scores(const Arguments& s, const Work& w, const Shared<Tile>& shared,
                            int warp) {
  const int lane = lane_index();
  const int row = 16 * warp + lane / 4, column = 2 * (lane % 4);
  const float scale = in_register(s.score_scale);
  const bool reverse = s.order.reverse;
  RingPosition at, turn;
  [[maybe_unused]] RingPosition stored;
  [[maybe_unused]] const auto store_last_dots = [&](int c) {
    shared.dots_full->wait(stored.full());
    store_dots(s, w, shared, w.range.first_chunk + c, warp * warp_threads + lane);
    shared.dots_empty->arrive();
    stored.advance(1);
  };
  for (int c = 0; c < w.range.chunks; ++c) {
    shared.full[at.stage].wait(at.full());
    Accumulator product{};
    begin_products();
#pragma unroll
    for (int step = 0; step < 4 * Tile::key_blocks; ++step)
      multiply<T>(
          product, along_columns(block_descriptor(shared.query(at.stage) + step / 4), step % 4),
          along_columns(block_descriptor(shared.key(at.stage) + step / 4), step % 4), step > 0);
    commit_products();
    const ChunkGates& gates = shared.gates[at.stage];
    const float2 own[2]{gates.sum[row], gates.sum[row + 8]};
    wait_products<0>();
#pragma unroll
    for (int group = 0; group < 8; ++group) {
      // Of the warp's 16 rows the columns before group 2 warp are all earlier, those of two groups
      // in part, the others none; in reverse the other way round.
      float* const d = product.d + 4 * group;
      const int behind = reverse ? 2 * warp + 1 - group : group - 2 * warp;
      if (behind > 1) {
        d[0] = d[1] = d[2] = d[3] = 0;
        continue;
      }
      const float4 others = *reinterpret_cast<const float4*>(&gates.sum[8 * group + column]);
      const float2 other[2]{{others.x, others.y}, {others.z, others.w}};
#pragma unroll
      for (int r = 0; r < 4; ++r) d[r] *= decay_between(other[r % 2], own[r / 2]) * scale;
      if (behind < 0) continue;
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const int later = row + 8 * (r / 2) - (8 * group + column + r % 2);
        if (reverse ? later > 0 : later < 0) d[r] = 0;
      }
    }
    shared.empty[at.stage].arrive();
    shared.scores_empty->wait(turn.empty());
    const unsigned block = shared_address(shared.scores);
#pragma unroll
    for (int step = 0; step < 4; ++step)
      store_matrices(block + swizzled(static_cast<unsigned>(16 * warp + lane % 16),
                                      static_cast<unsigned>(16 * step + lane / 16 * 8)),
                     rounded_operand<T>(product, step));
    fence_async_proxy();
    shared.scores_full->arrive();
    // By then the others are at work on this chunk.
    if constexpr (Tile::with_own)
      if (c > 0) store_last_dots(c - 1);
    at.advance(s.stages);
    turn.advance(1);
  }
  if constexpr (Tile::with_own)
    if (w.range.chunks > 0) store_last_dots(w.range.chunks - 1);
}

// ---- phase: state in and out

// R in the accumulators of a warpgroup: register r of block b is row(r), column 64 b + column(r).
template <class Tile>
using State = Accumulator[Tile::key_blocks];

// States pass through shared memory, 32 columns at a time, so that device memory is accessed in its
// own order whatever the fragments' is. 16 registers a strip: the loop over strips moves registers
// by 16 instead of naming them, which keeps it a loop.
class StateStrip {
 public:
  template <class View>
  __device__ StateStrip(const View& tensor, const Work& w, Index first_row, float* shared,
                        int thread)
      : data_(shared), first_row_(first_row), thread_(thread) {
    columns_first_ = tensor.template stride<Key>() < tensor.template stride<Value>();
    rows_ = tensor.template extent<Value>();
    columns_ = tensor.template extent<Key>();
    sequence_ = w.sequence;
    head_ = w.head;
  }

  template <int key_blocks, class View>
  __device__ void load(const View& tensor, FragmentPlace place, int barrier,
                       Accumulator (&state)[key_blocks]) const {
#pragma unroll 1
    for (int strip = 0; strip < 2 * key_blocks; ++strip) {
      std::uint32_t bits[each];  // all loads travel together
#pragma unroll
      for (int i = 0; i < each; ++i) {
        const Index row = first_row_ + row_of(i), column = strip * width + column_of(i);
        bits[i] = load_bits(tensor, row < rows_ && column < columns_, Sequence{sequence_},
                            ValueHead{head_}, Value{row}, Key{column});
      }
#pragma unroll
      for (int i = 0; i < each; ++i)
        at(row_of(i), column_of(i)) = from_bits(tensor.type(), bits[i]);
      named_barrier<warpgroup_threads>(barrier);
#pragma unroll
      for (int r = 0; r + 16 < 32 * key_blocks; ++r)
        state[r / 32].d[r % 32] = state[(r + 16) / 32].d[(r + 16) % 32];
#pragma unroll
      for (int r = 0; r < 16; ++r)
        state[key_blocks - 1].d[16 + r] = at(place.row(r), place.column(r));
      named_barrier<warpgroup_threads>(barrier);
    }
  }

  template <int key_blocks, class View>
  __device__ void store(const View& tensor, FragmentPlace place, int barrier,
                        Accumulator (&state)[key_blocks]) const {
#pragma unroll 1
    for (int strip = 0; strip < 2 * key_blocks; ++strip) {
      named_barrier<warpgroup_threads>(barrier);
#pragma unroll
      for (int r = 0; r < 16; ++r) at(place.row(r), place.column(r)) = state[0].d[r];
#pragma unroll
      for (int r = 0; r + 16 < 32 * key_blocks; ++r)
        state[r / 32].d[r % 32] = state[(r + 16) / 32].d[(r + 16) % 32];
      named_barrier<warpgroup_threads>(barrier);
#pragma unroll 1
      for (int i = 0; i < each; ++i) {
        const Index row = first_row_ + row_of(i), column = strip * width + column_of(i);
        if (row < rows_ && column < columns_)
          groundstate::gpu::store(tensor, at(row_of(i), column_of(i)), Sequence{sequence_},
                                  ValueHead{head_}, Value{row}, Key{column});
      }
    }
  }

 private:
  static constexpr int width = 32, each = width * 64 / warpgroup_threads;  // elements of a thread

  __device__ int row_of(int i) const {
    return columns_first_ ? (i * warpgroup_threads + thread_) / width : thread_ % 64;
  }
  __device__ int column_of(int i) const {
    return columns_first_ ? thread_ % width : (i * warpgroup_threads + thread_) / 64;
  }
  // Fragments meet every bank once.
  __device__ float& at(int row, int column) const {
    return data_[column * 64 + (row ^ (column / 2 % 4 * 8))];
  }
  float* data_;
  Index first_row_;
  int thread_;
  bool columns_first_;
  Index rows_, columns_, sequence_, head_;
};

// As fragments: what only this kernel reads.
template <int key_blocks>
__device__ void load_fragments(const float4* from, int thread, Accumulator (&state)[key_blocks]) {
#pragma unroll
  for (int i = 0; i < 8 * key_blocks; ++i) {
    const float4 x = from[i * warpgroup_threads + thread];
    float* const d = state[i / 8].d + 4 * (i % 8);
    d[0] = x.x, d[1] = x.y, d[2] = x.z, d[3] = x.w;
  }
}
template <int key_blocks>
__device__ void store_fragments(const Accumulator (&state)[key_blocks], int thread, float4* to) {
#pragma unroll
  for (int i = 0; i < 8 * key_blocks; ++i) {
    const float* const d = state[i / 8].d + 4 * (i % 8);
    to[i * warpgroup_threads + thread] = {d[0], d[1], d[2], d[3]};
  }
}
// The same rounded to operands.
template <class T, int key_blocks>
__device__ void load_rounded(const uint4* from, int thread, Accumulator (&state)[key_blocks]) {
#pragma unroll
  for (int i = 0; i < 4 * key_blocks; ++i) {
    const uint4 x = from[i * warpgroup_threads + thread];
    const std::uint32_t pair[4]{x.x, x.y, x.z, x.w};
    float* const d = state[i / 4].d + 8 * (i % 4);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float2 two = unpack<T>(pair[j]);
      d[2 * j] = two.x, d[2 * j + 1] = two.y;
    }
  }
}
template <class T, int key_blocks>
__device__ void store_rounded(const Accumulator (&state)[key_blocks], int thread, uint4* to) {
#pragma unroll
  for (int i = 0; i < 4 * key_blocks; ++i) {
    const OperandA x = rounded_operand<T>(state[i / 4], i % 4);
    to[i * warpgroup_threads + thread] = {x.a[0], x.a[1], x.a[2], x.a[3]};
  }
}
// <R, kept>, summed over the warp.
template <class T, int key_blocks>
__device__ float fragment_product(const Accumulator (&state)[key_blocks], int thread,
                                  const uint4* kept) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < 4 * key_blocks; ++i) {
    const uint4 x = kept[i * warpgroup_threads + thread];
    const std::uint32_t pair[4]{x.x, x.y, x.z, x.w};
    const float* const d = state[i / 4].d + 8 * (i % 4);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float2 own = unpack<T>(pair[j]);
      sum = fmaf(d[2 * j], own.x, fmaf(d[2 * j + 1], own.y, sum));
    }
  }
  return sum_of_warp(sum);
}

// ---- phase: dots

// Calls use(n, low, high, d) for rows [8 n, 8 n + 8) of the chunk, of which a lane has two (x and
// y) in two of the warp's 16 columns: own in `low` and `high`, y in d[2 column + row].
template <class T, class Use>
__device__ void with_own(const Block& own, const Accumulator& y, int warp, int lane, Use&& use) {
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    const OperandA x = transposed_operand(&own, step, warp, lane);
#pragma unroll
    for (int j = 0; j < 2; ++j)
      use(2 * step + j, unpack<T>(x.a[2 * j]), unpack<T>(x.a[2 * j + 1]), y.d + 4 * (2 * step + j));
  }
}

// The sum of own . y over the chunk and the warp's 16 columns.
template <class T>
__device__ float sum_of_dots(const Block& own, const Accumulator& y, int warp, int lane) {
  float sum = 0;
  with_own<T>(own, y, warp, lane, [&](int, float2 low, float2 high, const float* d) {
    sum = fmaf(low.x, d[0], fmaf(low.y, d[1], fmaf(high.x, d[2], fmaf(high.y, d[3], sum))));
  });
  return sum_of_warp(sum);
}

// own . y of the warp's 16 columns for every row of the chunk: to[64].
template <class T>
__device__ void write_dots(const Block& own, const Accumulator& y, int warp, int lane, float* to) {
  float sum[16];
  with_own<T>(own, y, warp, lane, [&](int n, float2 low, float2 high, const float* d) {
    sum[2 * n] = fmaf(low.x, d[0], high.x * d[2]);
    sum[2 * n + 1] = fmaf(low.y, d[1], high.y * d[3]);
  });
  // Eight lanes have the same 16 rows: each round halves what a lane has left.
  const auto halve = [&]<int half, int bit>() {
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const bool upper = (lane & bit) != 0;
      const float give = upper ? sum[i] : sum[i + half], keep = upper ? sum[i + half] : sum[i];
      sum[i] = keep + __shfl_xor_sync(~0u, give, bit);
    }
  };
  halve.template operator()<8, 16>();
  halve.template operator()<4, 8>();
  halve.template operator()<2, 4>();
  // Left: i = 0, 1 of group (lane / 16, lane / 8 % 2, lane / 4 % 2).
  const int group = lane / 4;
  const int first = 8 * (group / 4) + 4 * (group / 2 % 2) + 2 * (group % 2);
  *reinterpret_cast<float2*>(to + 8 * (first / 2) + 2 * (lane % 4)) = {sum[0], sum[1]};
}

// ---- phase: state

template <class Tile, class T>
__device__ void carry_state(const Arguments& s, const Maps& maps, const Work& w,
                            const Shared<Tile>& shared, int number, int thread_of_warpgroup) {
  namespace ptx = cuda::ptx;
  int thread = thread_of_warpgroup;
  const int barrier = 1 + number;
  const FragmentPlace place{thread / warp_threads, lane_index()};
  const int first_column = w.first_column + 64 * number, block = first_column / 64;
  const int blocks = static_cast<int>(blocks_of(s.value.columns));
  constexpr Index fragments = fragments_of_block(64 * Tile::key_blocks);
  Block& staged = shared.outputs[number];
  auto* const strip = reinterpret_cast<float*>(staged.bytes);
  const auto segment_states = [&](int segment) {
    return s.segments.states + (segment_block(s, w, segment) + block) * fragments;
  };

  const bool exists = block < blocks;  // the second warpgroup of the last CTA may have no columns
  const bool in_chunks = s.chunk_states.data != nullptr;
  const auto chunk_fragments = [&](int chunk) {
    return (gate_place(s, w, chunk).first + block) * fragments;
  };
  Accumulator state[Tile::key_blocks] = {};
  if (Tile::with_output && in_chunks) {
    if (exists && w.range.chunks > 0) {
      const Index first = chunk_fragments(w.range.first_chunk);
      if (s.chunk_states.rounded)
        load_rounded<T>(static_cast<const uint4*>(s.chunk_states.data) + first / 2, thread, state);
      else
        load_fragments(static_cast<const float4*>(s.chunk_states.data) + first, thread, state);
    }
  } else if (w.segment == 0 && s.initial_state)
    StateStrip(s.initial_state, w, first_column, strip, thread)
        .load(s.initial_state, place, barrier, state);
  else if (w.segment > 0 && Tile::with_output && exists)
    load_fragments(segment_states(w.segment), thread, state);

  RingPosition at, turn;
  for (int c = w.range.first_chunk; c < w.range.first_chunk + w.range.chunks; ++c) {
    // Else the compiler makes addresses once, and has no registers to keep them.
    thread = unknown_to_compiler(thread_of_warpgroup);
    const int warp = thread / warp_threads, lane = thread % warp_threads;
    const ChunkGates& gates = shared.gates[at.stage];
    shared.full[at.stage].wait(at.full());
    if (!Tile::with_output && in_chunks && exists) {
      const Index first = (gates.kept + block) * fragments;
      if (s.chunk_states.rounded)
        store_rounded<T>(state, thread, static_cast<uint4*>(s.chunk_states.data) + first / 2);
      else
        store_fragments(state, thread, static_cast<float4*>(s.chunk_states.data) + first);
    }
    // Whether this chunk leaves something for the gradient of the gates, and where.
    const bool ends_group = Tile::with_own && exists && gates.kept >= 0;
    const auto gate_block = [&] { return gates.kept + block; };
    [[maybe_unused]] float product = 0;
    if constexpr (Tile::purpose == Purpose::multiply_states)
      if (ends_group)
        product =
            gates.decay *
            fragment_product<T>(state, thread, s.gate_part.states + gate_block() * (fragments / 2));

    // Y^T = R C^T, half of it in flight at most: more operands would not leave registers for the
    // state. All operands are made before the last half and R begin.
    constexpr int steps = 4 * Tile::key_blocks, batch = steps < 8 ? steps : 8;
    Accumulator y{};
    OperandA rounded[batch];
    const auto round_state = [&](int first) {
#pragma unroll
      for (int i = 0; i < batch; ++i)
        rounded[i] = rounded_operand<T>(state[(first + i) / 4], (first + i) % 4);
      if constexpr (Tile::purpose == Purpose::keep_states)
        if (ends_group && s.gate_part.states != nullptr) {
          uint4* const kept = s.gate_part.states + gate_block() * (fragments / 2) + thread;
#pragma unroll
          for (int i = 0; i < batch; ++i)
            kept[(first + i) * warpgroup_threads] = {rounded[i].a[0], rounded[i].a[1],
                                                     rounded[i].a[2], rounded[i].a[3]};
        }
    };
    const auto multiply_query = [&](int first) {
#pragma unroll
      for (int i = 0; i < batch; ++i)
        multiply<T>(y, rounded[i],
                    along_columns(block_descriptor(shared.query(at.stage) + (first + i) / 4),
                                  (first + i) % 4),
                    first + i > 0);
      commit_products();
    };
    if constexpr (Tile::with_output) {
#pragma unroll
      for (int first = 0; first + batch < steps; first += batch) {
        round_state(first);
        begin_products();
        multiply_query(first);
        wait_products<0>();
      }
      round_state(steps - batch);
    }
    // R := exp(G_last) R + a~^T b
    OperandA value[4], decayed[4];
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      value[step] = transposed_operand(shared.value(at.stage) + number, step, warp, lane);
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const float2 factor =
            *reinterpret_cast<const float2*>(&gates.until_end[16 * step + 8 * j + 2 * (lane % 4)]);
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const float2 x = unpack<T>(value[step].a[h + 2 * j]);
          decayed[step].a[h + 2 * j] = pack<T>(x.x * factor.x, x.y * factor.y);
        }
      }
    }
    const float decay = gates.decay;
    // The chunk's products are summed from zero and added to R in fp32: the accumulators of the
    // tensor cores truncate, which a state that only grows would see in every chunk.
    Accumulator gathered{};
    const auto gather = [&](int b) {
#pragma unroll
      for (int step = 0; step < 4; ++step)
        multiply<T, Contiguous::n>(gathered, decayed[step],
                                   along_rows(block_descriptor(shared.key(at.stage) + b), step),
                                   step > 0);
      commit_products();
    };
    const auto add_gathered = [&](int b) {
#pragma unroll
      for (int r = 0; r < 32; ++r) state[b].d[r] = fmaf(decay, state[b].d[r], gathered.d[r]);
    };
    begin_products();
    if constexpr (Tile::with_output) {
      multiply_query(steps - batch);
      wait_products<0>();
      begin_products();
    }
    gather(0);
    if constexpr (Tile::with_output) {
      // Y^T := exp(G_i) Y^T + a^T A^T
#pragma unroll
      for (int group = 0; group < 8; ++group) {
        const float2 factor =
            *reinterpret_cast<const float2*>(&gates.from_start[8 * group + 2 * (lane % 4)]);
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          y.d[4 * group + 2 * h] *= factor.x;
          y.d[4 * group + 2 * h + 1] *= factor.y;
        }
      }
      if constexpr (Tile::purpose == Purpose::multiply_states)
        if (ends_group) {
          const float dots = sum_of_dots<T>(shared.own(at.stage)[number], y, warp, lane);
          if (lane == 0) s.gate_part.products[gate_block() * 4 + warp] = {product, dots};
        }
      shared.scores_full->wait(turn.full());
      begin_products();
#pragma unroll
      for (int step = 0; step < 4; ++step)
        multiply<T>(y, value[step], along_columns(block_descriptor(shared.scores), step), true);
      commit_products();
    }
#pragma unroll
    for (int b = 0; b < Tile::key_blocks; ++b) {
      if (b == 0 && Tile::with_output)
        wait_products<1>();
      else
        wait_products<0>();
      add_gathered(b);
      if (b + 1 == Tile::key_blocks) break;
      begin_products();
      gather(b + 1);
    }
    if constexpr (Tile::with_output) {
      wait_products<0>();
      shared.scores_empty->arrive();
      if constexpr (Tile::with_own) {
        shared.dots_empty->wait(turn.empty());
        write_dots<T>(shared.own(at.stage)[number], y, warp, lane,
                      shared.dot(number) + warp * chunk_length);
        shared.dots_full->arrive();
      }
      const bool whole = gates.whole != 0;
      const int first_token = gates.first_token;
      shared.empty[at.stage].arrive();
      const auto begin_staging = [&] {  // all have read what was staged before
        if (thread == 0) ptx::cp_async_bulk_wait_group_read(ptx::n32_t<0>{});
        named_barrier<warpgroup_threads>(barrier);
      };
      begin_staging();
      if (s.unrounded_output) [[unlikely]] {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          if (half > 0) begin_staging();
#pragma unroll
          for (int r = 0; r < 16; ++r)
            strip[64 * FragmentPlace{warp, lane}.column(r) + FragmentPlace{warp, lane}.row(r)] =
                y.d[16 * half + r];
          named_barrier<warpgroup_threads>(barrier);
          OutputColumns(s.output, w, first_column, thread)
              .store_half(strip, w.range.rows(c), first_token, half);
        }
      } else {
#pragma unroll
        for (int step = 0; step < 4; ++step)
          store_matrices_transposed(
              shared_address(&staged) +
                  swizzled(static_cast<unsigned>(16 * step + lane / 16 * 8 + lane % 8),
                           static_cast<unsigned>(16 * warp + lane / 8 % 2 * 8)),
              rounded_operand<T>(y, step));
        fence_async_proxy();
        named_barrier<warpgroup_threads>(barrier);
        if (whole) [[likely]] {
          if (thread == 0 && exists) {
            const std::int32_t to[4]{first_column, w.head_of(s.output), first_token, w.range.batch};
            ptx::cp_async_bulk_tensor(ptx::space_global, ptx::space_shared, &maps.output, to,
                                      staged.bytes);
            ptx::cp_async_bulk_commit_group();
          }
        } else {
          OutputColumns(s.output, w, first_column, thread)
              .store(staged, w.range.rows(c), first_token, s.vector_stores);
        }
      }
    } else {
      shared.empty[at.stage].arrive();
    }
    at.advance(s.stages);
    turn.advance(1);
  }

  // Before the staged block is a strip of the final state, or the CTA ends.
  if (thread == 0) ptx::cp_async_bulk_wait_group_read(ptx::n32_t<0>{});
  if (!Tile::with_output && !in_chunks) {
    if (exists) store_fragments(state, thread, segment_states(w.segment + 1));
  } else if (s.final_state && w.segment + 1 == s.segments.count) {
    if (s.decay_final_state && w.range.length > 0) {
      const float decay = last_decay(s, w);
#pragma unroll
      for (int r = 0; r < 32 * Tile::key_blocks; ++r) state[r / 32].d[r % 32] *= decay;
    }
    StateStrip(s.final_state, w, first_column, strip, thread)
        .store(s.final_state, place, barrier, state);
  }
}

// ---- kernel

template <class T, class Tile>
__global__ void __launch_bounds__(Tile::threads, 1)
    sweep_kernel(const __grid_constant__ Arguments s, const __grid_constant__ Maps maps) {
  extern __shared__ __align__(1024) unsigned char memory[];
  const Shared<Tile> shared(memory, s.stages);
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < s.stages; ++stage) {
      shared.full[stage].init(warp_threads + loaders<Tile>(s));
      shared.empty[stage].init(warpgroup_threads *
                               (Tile::value_blocks + (Tile::with_output ? 1 : 0)));
    }
    shared.scores_full->init(warpgroup_threads);
    shared.scores_empty->init(warpgroup_threads * Tile::value_blocks);
    shared.dots_full->init(warpgroup_threads * Tile::value_blocks);
    shared.dots_empty->init(warpgroup_threads);
    fence_barrier_init();
  }
  __syncthreads();
  const Work w =
      work_of(s, 64 * Tile::value_blocks, Tile::with_output, static_cast<int>(blockIdx.x));
  const int warp = warp_index();
  if (warp < 4) {
    give_registers<Tile::producer_registers>();
    if (warp == 0)
      make_gates<Tile>(s, w, shared);
    else
      load_chunks<Tile>(s, maps, w, shared, static_cast<int>(threadIdx.x) - warp_threads);
  } else if (warp < 8) {
    give_registers<Tile::score_registers>();
    if constexpr (Tile::with_output) make_scores<Tile, T>(s, w, shared, warp - 4);
  } else {
    take_registers<Tile::state_registers>();
    carry_state<Tile, T>(s, maps, w, shared, warp / 4 - 2,
                         static_cast<int>(threadIdx.x) % warpgroup_threads);
  }
}

// ---- launch

// What fits into shared memory.
template <class Tile>
int stages_of(int wanted) {
  int stages = 1;
  while (stages < wanted && stages < most_stages &&
         Shared<Tile>::bytes(stages + 1) <= most_shared_bytes)
    ++stages;
  return stages;
}

// Calls use.operator()<Tile>() for the smallest tile that has the columns of b.
template <Purpose purpose, class Use>
int with_tile(Index key_columns, int value_blocks, Use&& use) {
  const auto with_keys = [&]<int key_blocks>() {
    if constexpr (key_blocks < 4)
      if (value_blocks == 2) return use.template operator()<Tile<key_blocks, 2, purpose>>();
    return use.template operator()<Tile<key_blocks, 1, purpose>>();
  };
  if (key_columns <= 64) return with_keys.template operator()<1>();
  if (key_columns <= 128) return with_keys.template operator()<2>();
  return with_keys.template operator()<4>();
}

template <class T, class Tile>
int launch_tile(Arguments s, const Maps& maps, int stages, cudaStream_t stream) {
  s.stages = stages_of<Tile>(stages);
  const unsigned ctas = number_of_ctas(s, 64 * Tile::value_blocks, Tile::with_output);
  if (ctas == 0) return s.stages;
  const std::size_t bytes = Shared<Tile>::bytes(s.stages);
  const auto kernel = sweep_kernel<T, Tile>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes)));
  kernel<<<ctas, Tile::threads, bytes, stream>>>(s, maps);
  check(cudaGetLastError());
  return s.stages;
}

}  // namespace

template <Purpose purpose>
int sweep_stages(Index key_columns, const SweepForm& form) {
  return with_tile<purpose>(key_columns, form.value_blocks,
                            [&]<class Tile>() { return stages_of<Tile>(form.stages); });
}

template <Purpose purpose>
void run_sweep(const Sweep& sweep, const SweepForm& form, cudaStream_t stream) {
  if (sweep.type == ElementType::float32)
    return run_single_sweep(purpose, sweep, form.value_blocks, stream);
  Arguments s{sweep, true, false, true, false, sweep.output_type != sweep.type, 0};
  Maps maps;
  // Whether 16 bytes can be moved at a time; in whole blocks, the copy engine takes any width.
  const auto vectors = [&](const Operand& x, bool& engine, CUtensorMap& map) {
    const std::array<Index, 4> extents{s.batch, s.time, s.heads / x.group, x.columns},
        strides{x.batch, x.time, x.head, x.column};
    engine = copy_engine_takes(x.data, s.type, extents, strides);
    if (engine) map = block_map(x.data, s.type, extents, strides);
    return engine && x.columns % 8 == 0;
  };
  const auto load = [&](const Operand& x, CUtensorMap& map) {
    bool engine;
    s.vector_loads &= vectors(x, engine, map);
    s.engine_loads &= engine;
  };
  load(s.key, maps.key);
  load(s.value, maps.value);
  if (reads_own(purpose)) load(s.own, maps.own);
  if (purpose != Purpose::states) {
    load(s.query, maps.query);
    if (!s.unrounded_output) s.vector_stores = vectors(s.output, s.engine_stores, maps.output);
  }
  with_tile<purpose>(s.key.columns, form.value_blocks, [&]<class Tile>() {
    return s.type == ElementType::bfloat16 ? launch_tile<bf16, Tile>(s, maps, form.stages, stream)
                                           : launch_tile<fp16, Tile>(s, maps, form.stages, stream);
  });
}

// ---- variants

template void run_sweep<Purpose::outputs>(const Sweep&, const SweepForm&, cudaStream_t);
template void run_sweep<Purpose::states>(const Sweep&, const SweepForm&, cudaStream_t);
template void run_sweep<Purpose::keep_states>(const Sweep&, const SweepForm&, cudaStream_t);
template void run_sweep<Purpose::multiply_states>(const Sweep&, const SweepForm&, cudaStream_t);
template int sweep_stages<Purpose::outputs>(Index, const SweepForm&);
template int sweep_stages<Purpose::keep_states>(Index, const SweepForm&);

}  // namespace groundstate::gpu::simple_gla
