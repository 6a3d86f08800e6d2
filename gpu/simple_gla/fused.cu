// Fused chunk forward on Hopper's tensor cores: the state stays in registers, nothing but inputs and
// outputs touches device memory.
//
// With the chunk's cumulative log decay G (chunk_gates.cuh), S the state before the chunk:
//   A_ij = score((q_i . k_j) exp(G_i - G_j)), j <= i
//   o_i  = scale (exp(G_i) (q_i state(S)) + sum_j A_ij v_j)
//   S   := exp(G_{n-1}) S + k^T update(v_j exp(G_{n-1} - G_j))
// score, update and state round to the type of q, k, v; sums are fp32. The same points as
// reference/simple_gla/fused.hpp with the recipes tensorcore-bf16 and tensorcore-fp16, chunks of 64.
//
// A CTA owns one segment of a sequence, one value head and 64 or 128 value columns. Its warpgroups:
//   producer   warp 0 makes the gates, warps 1-3 bring q, k, v: the copy engine, or a plain loader
//              for sizes that the engine does not take and for the last chunk of a packed sequence
//   scores     A, into a ring of two blocks
//   state      one or two: 64 value columns each. They hold S^T [value, key], and compute
//              O^T = S^T q^T + v^T A^T: S and v are operands from registers, so the state is
//              rounded and multiplied without ever passing through shared memory.
// A state warpgroup computes the same whether it is alone or one of two, and the depth of the ring
// (num_steps) changes nothing but when data arrive: results are bit for bit the same.
#include <cuda/ptx>

#include "gpu/core/check.hpp"
#include "gpu/core/mbarrier.cuh"
#include "gpu/core/tensor_core.cuh"
#include "gpu/core/tensor_map.hpp"
#include "gpu/core/warpgroup.cuh"
#include "gpu/simple_gla/chunk_gates.cuh"
#include "gpu/simple_gla/simple_gla.hpp"

namespace groundstate::simple_gla::gpu {
namespace {

using namespace groundstate::gpu;

// ---- tile

template <int key_blocks_, int value_blocks_>
struct Tile {
  static constexpr int key_blocks = key_blocks_;      // of 64 key columns; more are zeros
  static constexpr int value_blocks = value_blocks_;  // of 64 value columns, a warpgroup each
  static constexpr int warpgroups = 2 + value_blocks;
  static constexpr int threads = warpgroups * warpgroup_threads;
  static constexpr int loader_threads = 3 * warp_threads;
  static constexpr int stage_blocks = 2 * key_blocks + value_blocks;
  // Registers of 65536 / 128 = 512 a thread of each warpgroup.
  static constexpr int producer_registers = 32;
  static constexpr int score_registers = 96;
  static constexpr int state_registers = value_blocks == 2 ? 192 : 240;
};

// ---- shared storage

struct alignas(1024) Block {
  unsigned char bytes[block_bytes];
};
constexpr int score_slots = 2, output_slots = 2, most_stages = 8;

// Blocks first: 1024-byte aligned. q, k, v of every stage, then scores, then outputs.
template <class Tile>
struct Shared {
  Block* stages;
  Block* scores;
  Block* outputs;  // [output_slots][value_blocks]
  ChunkGates* gates;
  Barrier *full, *empty, *scores_full, *scores_empty;

  static constexpr int fixed_blocks = score_slots + output_slots * Tile::value_blocks;
  static constexpr std::size_t stage_bytes =
      Tile::stage_blocks * sizeof(Block) + sizeof(ChunkGates);
  static constexpr std::size_t bytes(int stages) {
    return static_cast<std::size_t>(stages) * stage_bytes + fixed_blocks * sizeof(Block) +
           (2 * most_stages + 2 * score_slots) * sizeof(Barrier);
  }
  static constexpr int stages_that_fit(std::size_t available) {
    int stages = 1;
    while (stages < most_stages && bytes(stages + 1) <= available) ++stages;
    return stages;
  }

  __device__ Shared(unsigned char* memory, int count) {
    stages = reinterpret_cast<Block*>(memory);
    scores = stages + count * Tile::stage_blocks;
    outputs = scores + score_slots;
    gates = reinterpret_cast<ChunkGates*>(outputs + output_slots * Tile::value_blocks);
    full = reinterpret_cast<Barrier*>(gates + count);
    empty = full + most_stages;
    scores_full = empty + most_stages;
    scores_empty = scores_full + score_slots;
  }
  __device__ Block* query(int stage) const { return stages + stage * Tile::stage_blocks; }
  __device__ Block* key(int stage) const { return query(stage) + Tile::key_blocks; }
  __device__ Block* value(int stage) const { return key(stage) + Tile::key_blocks; }
  __device__ Block* output(int slot) const { return outputs + slot * Tile::value_blocks; }
};

// What a launch computes.
enum class Purpose {
  outputs,  // o, and ht after the last segment
  states,   // what each segment but the last does to a state of zero; no q, no o
};

// The state before each segment, in the workspace: per (sequence, segment, head, 64 values) the
// fragments of a warpgroup, and per (sequence, segment, head) what a segment multiplies it by.
struct SegmentStates {
  Index segments = 1, heads = 0, value_blocks = 0, key_blocks = 0;
  float* decays = nullptr;
  float4* states = nullptr;

  __device__ Index number(Index sequence, Index segment, Index head) const {
    return (sequence * segments + segment) * heads + head;
  }
  __device__ float4* at(Index sequence, Index segment, Index head, Index value_block) const {
    return states + (number(sequence, segment, head) * value_blocks + value_block) * key_blocks *
                        (8 * warpgroup_threads);
  }
};

template <class T>
struct Arguments {
  Inputs<Space::device, Storage<T>> x;
  Outputs<Space::device, Storage<T>> y;
  Shape shape;
  float scale;
  bool reverse;
  bool copy_engine;     // takes whole chunks
  bool vector_access;   // 16 bytes at a time, inputs; outputs
  bool vector_output;
  int stages;
  SegmentStates states;  // no segments: absent
};

struct Work {
  TokenRange range;
  Index sequence, segment, head, key_head, first_value;
};

template <class Tile, Purpose purpose, class T>
__device__ Work work_of(const Arguments<T>& a, Index block) {
  const Index tiles = (a.shape.value + 64 * Tile::value_blocks - 1) / (64 * Tile::value_blocks);
  Work w;
  w.first_value = block % tiles * (64 * Tile::value_blocks);
  w.head = block / tiles % a.shape.value_heads;
  const Index problem = block / tiles / a.shape.value_heads;
  const Index segments = a.states.segments - (purpose == Purpose::states ? 1 : 0);
  w.segment = problem % segments;
  w.sequence = problem / segments;
  w.key_head = w.head / (a.shape.value_heads / a.shape.heads);
  w.range = token_range(a.x, a.reverse, w.sequence, w.segment, a.states.segments);
  return w;
}

// ---- phase: gates

template <class Tile, Purpose purpose, class T>
__device__ void make_gates(const Arguments<T>& a, const Work& w, const Shared<Tile>& shared) {
  RingPosition at;
  TwoFloat total{0, 0};  // of the segment
  float2 next = load_log_decay(a.x, w.range, w.range.first_chunk, w.head);
  for (Index c = w.range.first_chunk; c < w.range.first_chunk + w.range.chunks; ++c) {
    const float2 own = next;
    next = load_log_decay(a.x, w.range, c + 1, w.head);
    shared.empty[at.stage].wait(at.empty());
    write_gates(shared.gates[at.stage], own, w.range.valid(c), a.reverse);
    __syncwarp();
    if (purpose == Purpose::states)
      total = add(total, {shared.gates[at.stage].total.x, shared.gates[at.stage].total.y});
    if (lane_index() == 0) shared.full[at.stage].arrive();
    at.advance(a.stages);
  }
  if (purpose == Purpose::states && w.first_value == 0 && lane_index() == 0)
    a.states.decays[a.states.number(w.sequence, w.segment, w.head)] =
        expf(__fadd_rn(total.high, total.low));
}

// ---- phase: load

// One block of one tensor by ordinary loads; rows and columns that do not exist become zeros.
template <class Tile, class View>
__device__ void load_block(Block& block, const View& tensor, Index origin, Index time_stride,
                           Index column_stride, Index first_column, Index columns, int valid,
                           bool reverse, bool vector_access, int thread) {
  const auto* const data = reinterpret_cast<const std::uint16_t*>(tensor.data());
  for (int i = thread; i < 64 * 8; i += Tile::loader_threads) {
    const int row = i / 8, piece = i % 8;
    const int position = reverse ? chunk_length - 1 - row : row;
    const Index column = first_column + piece * 8;
    uint4 bits{0, 0, 0, 0};
    if (position < valid) {
      const std::uint16_t* const from = data + origin + row * time_stride + column * column_stride;
      if (vector_access && column < columns) {
        bits = *reinterpret_cast<const uint4*>(from);
      } else {
        std::uint32_t half[8];
        for (int e = 0; e < 8; ++e)
          half[e] = column + e < columns ? std::uint32_t{from[e * column_stride]} : 0u;
        bits = {half[0] | half[1] << 16, half[2] | half[3] << 16, half[4] | half[5] << 16,
                half[6] | half[7] << 16};
      }
    }
    *reinterpret_cast<uint4*>(block.bytes +
                              swizzled(static_cast<unsigned>(row), static_cast<unsigned>(piece * 8))) =
        bits;
  }
}

template <class Tile, Purpose purpose, class T>
__device__ void load_chunks(const Arguments<T>& a, const CUtensorMap& query_map,
                            const CUtensorMap& key_map, const CUtensorMap& value_map, const Work& w,
                            const Shared<Tile>& shared, int thread) {
  namespace ptx = cuda::ptx;
  constexpr bool with_query = purpose == Purpose::outputs;
  constexpr unsigned bytes =
      ((with_query ? 2 : 1) * Tile::key_blocks + Tile::value_blocks) * sizeof(Block);
  RingPosition at;
  for (Index c = w.range.first_chunk; c < w.range.first_chunk + w.range.chunks; ++c) {
    const int valid = w.range.valid(c);
    const Index token = w.range.first_token(c);
    Barrier& full = shared.full[at.stage];
    // Beyond its end a packed sequence has a neighbour, whose values are not ours to read.
    if (a.copy_engine && (valid == chunk_length || !a.x.offsets)) {
      if (thread == 0) {
        shared.empty[at.stage].wait(at.empty());
        full.arrive_expecting(bytes);
        const auto load = [&](Block& block, const CUtensorMap& map, Index column, Index head) {
          const std::int32_t coordinates[4]{
              static_cast<std::int32_t>(column), static_cast<std::int32_t>(head),
              static_cast<std::int32_t>(token), static_cast<std::int32_t>(w.range.batch)};
          ptx::cp_async_bulk_tensor(ptx::space_cluster, ptx::space_global, block.bytes, &map,
                                    coordinates, full.word());
        };
        for (int b = 0; b < Tile::key_blocks; ++b) {
          load(shared.key(at.stage)[b], key_map, b * 64, w.key_head);
          if (with_query) load(shared.query(at.stage)[b], query_map, b * 64, w.key_head);
        }
        for (int b = 0; b < Tile::value_blocks; ++b)
          load(shared.value(at.stage)[b], value_map, w.first_value + b * 64, w.head);
      }
    } else {
      shared.empty[at.stage].wait(at.empty());
      const auto load = [&](Block& block, const auto& tensor, Index origin, Index time_stride,
                            Index column_stride, Index column, Index columns) {
        load_block<Tile>(block, tensor, origin, time_stride, column_stride, column, columns, valid,
                         a.reverse, a.vector_access, thread);
      };
      const auto &q = a.x.query, &k = a.x.key;
      const auto& v = a.x.value;
      for (int b = 0; b < Tile::key_blocks; ++b) {
        load(shared.key(at.stage)[b], k,
             k.offset(Batch{w.range.batch}, Time{token}, Head{w.key_head}, Key{0}),
             k.template stride<Time>(), k.template stride<Key>(), b * 64, a.shape.key);
        if (with_query)
          load(shared.query(at.stage)[b], q,
               q.offset(Batch{w.range.batch}, Time{token}, Head{w.key_head}, Key{0}),
               q.template stride<Time>(), q.template stride<Key>(), b * 64, a.shape.key);
      }
      for (int b = 0; b < Tile::value_blocks; ++b)
        load(shared.value(at.stage)[b], v,
             v.offset(Batch{w.range.batch}, Time{token}, ValueHead{w.head}, Value{0}),
             v.template stride<Time>(), v.template stride<Value>(), w.first_value + b * 64,
             a.shape.value);
      fence_async_proxy();
      named_barrier<Tile::loader_threads>(7);
      if (thread == 0) full.arrive();
    }
    at.advance(a.stages);
  }
}

// ---- phase: scores

template <class Tile, class T>
__device__ void make_scores(const Arguments<T>& a, const Work& w, const Shared<Tile>& shared,
                            int warp) {
  const int lane = lane_index();
  const int row = 16 * warp + lane / 4, column = 2 * (lane % 4);
  RingPosition at, slot;
  for (Index c = 0; c < w.range.chunks; ++c) {
    shared.full[at.stage].wait(at.full());
    Accumulator product{};
    begin_products();
#pragma unroll
    for (int step = 0; step < 4 * Tile::key_blocks; ++step)
      multiply<T>(product,
                  along_columns(block_descriptor(shared.query(at.stage) + step / 4), step % 4),
                  along_columns(block_descriptor(shared.key(at.stage) + step / 4), step % 4),
                  step > 0);
    commit_products();
    const ChunkGates& gates = shared.gates[at.stage];
    const float2 own[2]{gates.sum[row], gates.sum[row + 8]};
    wait_products<0>();
#pragma unroll
    for (int group = 0; group < 8; ++group) {
      float* const d = product.d + 4 * group;
      const bool none = a.reverse ? 8 * group + 7 < 16 * warp : 8 * group > 16 * warp + 15;
      if (none) {
        d[0] = d[1] = d[2] = d[3] = 0;
        continue;
      }
      const float4 others = *reinterpret_cast<const float4*>(&gates.sum[8 * group + column]);
      const float2 other[2]{{others.x, others.y}, {others.z, others.w}};
#pragma unroll
      for (int h = 0; h < 2; ++h)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int i = row + 8 * h, j = 8 * group + column + e;
          const bool causal = a.reverse ? j >= i : j <= i;
          d[2 * h + e] = causal ? d[2 * h + e] * decay_between(other[e], own[h]) : 0;
        }
    }
    __syncwarp();
    if (lane == 0) shared.empty[at.stage].arrive();
    shared.scores_empty[slot.stage].wait(slot.empty());
    const unsigned block = shared_address(shared.scores + slot.stage);
#pragma unroll
    for (int step = 0; step < 4; ++step)
      store_matrices(block + swizzled(static_cast<unsigned>(16 * warp + lane % 16),
                                      static_cast<unsigned>(16 * step + lane / 16 * 8)),
                     rounded_operand<T>(product, step));
    fence_async_proxy();
    __syncwarp();
    if (lane == 0) shared.scores_full[slot.stage].arrive();
    at.advance(a.stages);
    slot.advance(score_slots);
  }
}

// ---- phase: state

// S^T in fragments: register r of block b is value row(r), key 64 b + column(r).
struct FragmentPlace {
  int warp, lane;
  __device__ int row(int r) const { return 16 * warp + lane / 4 + 8 * (r / 2 % 2); }
  __device__ int column(int r) const { return 8 * (r / 4) + 2 * (lane % 4) + r % 2; }
};

// h0 and ht pass through shared memory, 32 keys at a time, so that device memory is accessed in its
// own order whatever the fragments' is. `visit(key, value, x)` runs for every element of the strip
// of keys [32 strip, 32 strip + 32); value is that of the tensor.
struct StateStrip {
  static constexpr int keys = 32;
  float* data;  // [keys][64 values], value ^ 8 (key / 2 % 4): fragments meet every bank once

  __device__ float& at(int key, int value) const {
    return data[key * 64 + (value ^ (key / 2 % 4 * 8))];
  }
  template <class Visit>
  __device__ void for_each(int strip, Index first_value, const Shape& n, int thread,
                           Visit visit) const {
    for (int i = thread; i < keys * 64; i += warpgroup_threads) {
      const int key = i / 64, value = i % 64;
      visit(Key{strip * keys + key}, Value{first_value + value},
            strip * keys + key < n.key && first_value + value < n.value, at(key, value));
    }
  }
};

template <class Tile, class T>
__device__ void load_state(const Arguments<T>& a, const Work& w, Index first_value, int barrier,
                           StateStrip strip, FragmentPlace place, int thread,
                           Accumulator (&state)[Tile::key_blocks]) {
#pragma unroll
  for (int s = 0; s < 2 * Tile::key_blocks; ++s) {
    strip.for_each(s, first_value, a.shape, thread,
                   [&](Key key, Value value, bool exists, float& x) {
                     x = exists ? load_float(a.x.initial_state, Sequence{w.sequence},
                                             ValueHead{w.head}, key, value)
                                : 0;
                   });
    named_barrier<warpgroup_threads>(barrier);
#pragma unroll
    for (int r = 0; r < 16; ++r)
      state[s / 2].d[16 * (s % 2) + r] = strip.at(place.column(r), place.row(r));
    named_barrier<warpgroup_threads>(barrier);
  }
}
template <class Tile, class T>
__device__ void store_state(const Arguments<T>& a, const Work& w, Index first_value, int barrier,
                            StateStrip strip, FragmentPlace place, int thread,
                            const Accumulator (&state)[Tile::key_blocks]) {
#pragma unroll
  for (int s = 0; s < 2 * Tile::key_blocks; ++s) {
    named_barrier<warpgroup_threads>(barrier);
#pragma unroll
    for (int r = 0; r < 16; ++r)
      strip.at(place.column(r), place.row(r)) = state[s / 2].d[16 * (s % 2) + r];
    named_barrier<warpgroup_threads>(barrier);
    strip.for_each(s, first_value, a.shape, thread,
                   [&](Key key, Value value, bool exists, float& x) {
                     if (exists)
                       store_float(a.y.final_state, x, Sequence{w.sequence}, ValueHead{w.head}, key,
                                   value);
                   });
  }
}

template <class Tile>
__device__ void zero_state(Accumulator (&state)[Tile::key_blocks]) {
#pragma unroll
  for (int b = 0; b < Tile::key_blocks; ++b)
#pragma unroll
    for (int r = 0; r < 32; ++r) state[b].d[r] = 0;
}
template <class Tile>
__device__ void load_segment(const float4* from, int thread,
                             Accumulator (&state)[Tile::key_blocks]) {
#pragma unroll
  for (int b = 0; b < Tile::key_blocks; ++b)
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const float4 x = from[(8 * b + i) * warpgroup_threads + thread];
      float* const d = state[b].d + 4 * i;
      d[0] = x.x, d[1] = x.y, d[2] = x.z, d[3] = x.w;
    }
}
template <class Tile>
__device__ void store_segment(const Accumulator (&state)[Tile::key_blocks], int thread,
                              float4* to) {
#pragma unroll
  for (int b = 0; b < Tile::key_blocks; ++b)
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const float* const d = state[b].d + 4 * i;
      to[(8 * b + i) * warpgroup_threads + thread] = {d[0], d[1], d[2], d[3]};
    }
}

// The chunk's o of one block of value columns, from shared memory.
template <class T>
__device__ void store_output(const Arguments<T>& a, const Work& w, Index chunk, const Block& block,
                             Index first_value, int thread) {
  const auto& o = a.y.output;
  const int valid = w.range.valid(chunk);
  const Index origin = o.offset(Batch{w.range.batch}, Time{w.range.first_token(chunk)},
                                ValueHead{w.head}, Value{first_value});
  const Index time_stride = o.template stride<Time>(), column_stride = o.template stride<Value>();
  auto* const data = reinterpret_cast<std::uint16_t*>(o.data());
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int row = thread / 8 + 16 * i, piece = thread % 8;
    const Index left = a.shape.value - first_value - piece * 8;
    if (w.range.position(row) >= valid || left <= 0) continue;
    const uint4 bits = *reinterpret_cast<const uint4*>(
        block.bytes + swizzled(static_cast<unsigned>(row), static_cast<unsigned>(piece * 8)));
    std::uint16_t* const to = data + origin + row * time_stride + piece * 8 * column_stride;
    if (a.vector_output) {
      *reinterpret_cast<uint4*>(to) = bits;
    } else {
      const std::uint32_t pair[4]{bits.x, bits.y, bits.z, bits.w};
#pragma unroll
      for (int e = 0; e < 8; ++e)
        if (e < left)
          to[e * column_stride] = static_cast<std::uint16_t>(pair[e / 2] >> (16 * (e % 2)));
    }
  }
}

template <class Tile, Purpose purpose, class T>
__device__ void carry_state(const Arguments<T>& a, const Work& w, const Shared<Tile>& shared,
                            int number, int thread) {
  const int warp = thread / warp_threads, lane = lane_index();
  const FragmentPlace place{warp, lane};
  const Index first_value = w.first_value + 64 * number;
  Accumulator state[Tile::key_blocks];
  const StateStrip strip{reinterpret_cast<float*>(shared.output(0)[number].bytes)};
  const int barrier = 1 + number;
  const bool initial = w.segment == 0 && a.x.initial_state;
  if (initial)
    load_state<Tile>(a, w, first_value, barrier, strip, place, thread, state);
  else if (purpose == Purpose::states || w.segment == 0)
    zero_state<Tile>(state);
  else
    load_segment<Tile>(a.states.at(w.sequence, w.segment, w.head, first_value / 64), thread, state);
  RingPosition at, slot;
  for (Index c = w.range.first_chunk; c < w.range.first_chunk + w.range.chunks; ++c) {
    const ChunkGates& gates = shared.gates[at.stage];
    shared.full[at.stage].wait(at.full());
    // O^T = S^T q^T, half of it in flight at most: more operands would not leave registers for the
    // state. All operands are made before the last half and S begin, so that nothing that a product
    // owns is touched while one is in flight.
    constexpr int steps = 4 * Tile::key_blocks, batch = steps < 8 ? steps : 8;
    Accumulator output{};
    OperandA rounded[batch];
    const auto round_state = [&](int first) {
#pragma unroll
      for (int i = 0; i < batch; ++i)
        rounded[i] = rounded_operand<T>(state[(first + i) / 4], (first + i) % 4);
    };
    const auto multiply_query = [&](int first) {
#pragma unroll
      for (int i = 0; i < batch; ++i)
        multiply<T>(output, rounded[i],
                    along_columns(block_descriptor(shared.query(at.stage) + (first + i) / 4),
                                  (first + i) % 4),
                    first + i > 0);
      commit_products();
    };
    if constexpr (purpose == Purpose::outputs) {
#pragma unroll
      for (int first = 0; first + batch < steps; first += batch) {
        round_state(first);
        begin_products();
        multiply_query(first);
        wait_products<0>();
      }
      round_state(steps - batch);
    }
    // S^T := exp(G_{n-1}) S^T + v~^T k
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
          const float2 own = unpack<T>(value[step].a[h + 2 * j]);
          decayed[step].a[h + 2 * j] = pack<T>(own.x * factor.x, own.y * factor.y);
        }
      }
    }
    const float decay = gates.decay;
#pragma unroll
    for (int b = 0; b < Tile::key_blocks; ++b)
#pragma unroll
      for (int r = 0; r < 32; ++r) state[b].d[r] *= decay;
    begin_products();
    if constexpr (purpose == Purpose::outputs) multiply_query(steps - batch);
#pragma unroll
    for (int b = 0; b < Tile::key_blocks; ++b)
#pragma unroll
      for (int step = 0; step < 4; ++step)
        multiply<T, Contiguous::n>(state[b], decayed[step],
                                   along_rows(block_descriptor(shared.key(at.stage) + b), step),
                                   true);
    commit_products();
    if constexpr (purpose == Purpose::outputs) {
      wait_products<1>();
      // O^T := exp(G_i) O^T + v^T A^T
#pragma unroll
      for (int group = 0; group < 8; ++group) {
        const float2 factor =
            *reinterpret_cast<const float2*>(&gates.from_start[8 * group + 2 * (lane % 4)]);
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          output.d[4 * group + 2 * h] *= factor.x;
          output.d[4 * group + 2 * h + 1] *= factor.y;
        }
      }
      shared.scores_full[slot.stage].wait(slot.full());
      begin_products();
#pragma unroll
      for (int step = 0; step < 4; ++step)
        multiply<T>(output, value[step],
                    along_columns(block_descriptor(shared.scores + slot.stage), step), true);
      commit_products();
      wait_products<1>();
      if (lane == 0) shared.empty[at.stage].arrive();
      wait_products<0>();
      if (lane == 0) shared.scores_empty[slot.stage].arrive();
#pragma unroll
      for (int r = 0; r < 32; ++r) output.d[r] *= a.scale;
      Block& staged = shared.output(slot.stage)[number];
#pragma unroll
      for (int step = 0; step < 4; ++step)
        store_matrices_transposed(
            shared_address(&staged) +
                swizzled(static_cast<unsigned>(16 * step + lane / 16 * 8 + lane % 8),
                         static_cast<unsigned>(16 * warp + lane / 8 % 2 * 8)),
            rounded_operand<T>(output, step));
      // Two slots: whoever writes one has passed the barrier after which all have read it.
      named_barrier<warpgroup_threads>(barrier);
      store_output(a, w, c, staged, first_value, thread);
    } else {
      wait_products<0>();
      if (lane == 0) shared.empty[at.stage].arrive();
    }
    at.advance(a.stages);
    slot.advance(output_slots);
  }
  if constexpr (purpose == Purpose::states)
    store_segment<Tile>(state, thread,
                        a.states.at(w.sequence, w.segment + 1, w.head, first_value / 64));
  else if (a.y.final_state && w.segment + 1 == a.states.segments)
    store_state<Tile>(a, w, first_value, barrier, strip, place, thread, state);
}

// ---- kernel

template <class T, class Tile, Purpose purpose>
__global__ void __launch_bounds__(Tile::threads, 1)
    fused_kernel(const __grid_constant__ Arguments<T> a, const __grid_constant__ CUtensorMap query,
                 const __grid_constant__ CUtensorMap key, const __grid_constant__ CUtensorMap value) {
  extern __shared__ __align__(1024) unsigned char memory[];
  const Shared<Tile> shared(memory, a.stages);
  constexpr bool with_output = purpose == Purpose::outputs;
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < a.stages; ++stage) {
      shared.full[stage].init(2);
      shared.empty[stage].init((with_output ? 4 : 0) + 4 * Tile::value_blocks);
    }
    for (int slot = 0; slot < score_slots; ++slot) {
      shared.scores_full[slot].init(4);
      shared.scores_empty[slot].init(4 * Tile::value_blocks);
    }
    fence_barrier_init();
  }
  __syncthreads();
  const Work w = work_of<Tile, purpose>(a, blockIdx.x);
  const int warp = warp_index();
  if (warp < 4) {
    give_registers<Tile::producer_registers>();
    if (warp == 0)
      make_gates<Tile, purpose>(a, w, shared);
    else
      load_chunks<Tile, purpose>(a, query, key, value, w, shared,
                                 static_cast<int>(threadIdx.x) - warp_threads);
  } else if (warp < 8) {
    give_registers<Tile::score_registers>();
    if constexpr (with_output) make_scores<Tile>(a, w, shared, warp - 4);
  } else {
    take_registers<Tile::state_registers>();
    const int number = warp / 4 - 2;
    carry_state<Tile, purpose>(a, w, shared, number,
                               static_cast<int>(threadIdx.x) % warpgroup_threads);
  }
}

// state[s + 1] := what segment s made of zero + decay_s state[s]; segment 0 began with h0.
__global__ void combine_segments(SegmentStates states, Index sequences) {
  const Index each = states.value_blocks * states.key_blocks * (8 * warpgroup_threads);
  const Index i = Index{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= sequences * states.heads * each) return;
  const Index element = i % each, head = i / each % states.heads, sequence = i / each / states.heads;
  float4 state = states.at(sequence, 1, head, 0)[element];
  for (Index segment = 1; segment + 1 < states.segments; ++segment) {
    const float decay = states.decays[states.number(sequence, segment, head)];
    float4& next = states.at(sequence, segment + 1, head, 0)[element];
    const float4 own = next;
    state = {fmaf(decay, state.x, own.x), fmaf(decay, state.y, own.y), fmaf(decay, state.z, own.z),
             fmaf(decay, state.w, own.w)};
    next = state;
  }
}

// ---- launch

struct DeviceLimits {
  int shared_memory;
};
const DeviceLimits& limits() {
  static const DeviceLimits found = [] {
    int device, bytes;
    check(cudaGetDevice(&device));
    check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
    return DeviceLimits{bytes};
  }();
  return found;
}

template <class View>
auto strides_of(const View& v) {
  return [&]<class T, Space space, class... Axes>(const groundstate::View<space, T, Axes...>&) {
    return std::array<Index, sizeof...(Axes)>{v.template stride<Axes>()...};
  }(v);
}

struct Maps {
  CUtensorMap query{}, key{}, value{};
};

template <class T, class Tile, Purpose purpose>
void launch(const Arguments<T>& a, const Maps& maps, cudaStream_t stream) {
  const auto kernel = fused_kernel<T, Tile, purpose>;
  const std::size_t bytes = Shared<Tile>::bytes(a.stages);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes)));
  const Index tiles = (a.shape.value + 64 * Tile::value_blocks - 1) / (64 * Tile::value_blocks);
  const Index segments = a.states.segments - (purpose == Purpose::states ? 1 : 0);
  const Index blocks = tiles * a.shape.value_heads * segments * a.shape.sequences;
  kernel<<<static_cast<unsigned>(blocks), Tile::threads, bytes, stream>>>(a, maps.query, maps.key,
                                                                          maps.value);
  check(cudaGetLastError());
}

template <class T, class Tile>
int launch_form(Arguments<T> a, const Maps& maps, int num_steps, cudaStream_t stream) {
  const int fit = Shared<Tile>::stages_that_fit(static_cast<std::size_t>(limits().shared_memory));
  a.stages = num_steps < fit ? num_steps : fit;
  if (a.states.segments > 1) {
    launch<T, Tile, Purpose::states>(a, maps, stream);
    const Index elements = a.shape.sequences * a.states.heads * a.states.value_blocks *
                           a.states.key_blocks * (8 * warpgroup_threads);
    combine_segments<<<static_cast<unsigned>((elements + 255) / 256), 256, 0, stream>>>(
        a.states, a.shape.sequences);
    check(cudaGetLastError());
  }
  launch<T, Tile, Purpose::outputs>(a, maps, stream);
  return a.stages;
}

}  // namespace

template <class T>
int fused(const Inputs<Space::device, Storage<T>>& x, const Options& options,
          const Outputs<Space::device, Storage<T>>& y, const FusedForm& form, const Launch& how) {
  validate(x);
  validate(x, y);
  Arguments<T> a;
  a.x = x;
  a.y = y;
  a.shape = shape(x);
  a.scale = static_cast<float>(options.scale);
  a.reverse = options.reverse;
  a.states.segments = form.segments;
  a.states.heads = a.shape.value_heads;
  a.states.value_blocks = (a.shape.value + 63) / 64;
  const Index key_blocks = a.shape.key <= 64 ? 1 : a.shape.key <= 128 ? 2 : 4;
  a.states.key_blocks = key_blocks;
  if (form.segments > 1) {
    const Index count = a.shape.sequences * form.segments * a.shape.value_heads;
    a.states.states = reinterpret_cast<float4*>(how.workspace);
    a.states.decays = reinterpret_cast<float*>(
        how.workspace + count * a.states.value_blocks * key_blocks * 64 * 64 * 4);
  }
  if (a.shape.value == 0 || a.shape.sequences == 0) return form.num_steps;
  constexpr ElementType type = element_type_of<T>::value;
  a.copy_engine = copy_engine_takes(x.query.data(), type, x.query.extents(), strides_of(x.query)) &&
                  copy_engine_takes(x.key.data(), type, x.key.extents(), strides_of(x.key)) &&
                  copy_engine_takes(x.value.data(), type, x.value.extents(), strides_of(x.value));
  a.vector_access = a.copy_engine && a.shape.key % 8 == 0 && a.shape.value % 8 == 0;
  a.vector_output = a.shape.value % 8 == 0 &&
                    copy_engine_takes(y.output.data(), type, y.output.extents(), strides_of(y.output));
  Maps maps;
  if (a.copy_engine) {
    maps.query = block_map(x.query.data(), type, x.query.extents(), strides_of(x.query));
    maps.key = block_map(x.key.data(), type, x.key.extents(), strides_of(x.key));
    maps.value = block_map(x.value.data(), type, x.value.extents(), strides_of(x.value));
  }
  const bool wide = form.value_tile == 0 ? a.shape.value > 64 : form.value_tile == 128;
  if (key_blocks == 1)
    return wide ? launch_form<T, Tile<1, 2>>(a, maps, form.num_steps, how.stream)
                : launch_form<T, Tile<1, 1>>(a, maps, form.num_steps, how.stream);
  if (key_blocks == 2)
    return wide ? launch_form<T, Tile<2, 2>>(a, maps, form.num_steps, how.stream)
                : launch_form<T, Tile<2, 1>>(a, maps, form.num_steps, how.stream);
  return launch_form<T, Tile<4, 1>>(a, maps, form.num_steps, how.stream);
}

std::size_t fused_workspace(const Shape& n, const FusedForm& form) {
  if (form.segments <= 1) return 0;
  const Index key_blocks = n.key <= 64 ? 1 : n.key <= 128 ? 2 : 4;
  const Index count = n.sequences * form.segments * n.value_heads;
  return static_cast<std::size_t>(count * ((n.value + 63) / 64) * key_blocks * 64 * 64 * 4 + count * 4);
}

template int fused(const Inputs<Space::device, Storage<bf16>>&, const Options&,
                   const Outputs<Space::device, Storage<bf16>>&, const FusedForm&, const Launch&);

template int fused(const Inputs<Space::device, Storage<fp16>>&, const Options&,
                   const Outputs<Space::device, Storage<fp16>>&, const FusedForm&, const Launch&);

}  // namespace groundstate::simple_gla::gpu
