// Which part of a sweep (sweep.hpp) a CTA has: one segment of a sequence, one value head and a tile
// of the columns of a, tiles first.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

#include "gpu/simple_gla/sweep.hpp"

namespace groundstate::gpu::simple_gla {

constexpr std::size_t most_shared_bytes = 227 * 1024;  // of a CTA on Hopper

struct Work {
  TokenRange range;
  int sequence, segment, head, first_column;  // of a
  int key_head;                               // of operands that value heads share
  __device__ int head_of(const Operand& x) const { return x.group == 1 ? head : key_head; }
};

// The final state of the last segment is nobody's initial one.
__host__ __device__ constexpr Index segments_swept(Index segments, bool with_output) {
  return with_output || segments == 1 ? segments : segments - 1;
}

// Throws std::invalid_argument where there are too many for a grid.
inline unsigned number_of_ctas(const Sweep& s, Index tile_columns, bool with_output) {
  const Index ctas = (s.value.columns + tile_columns - 1) / tile_columns * s.heads * s.sequences *
                     segments_swept(s.segments.count, with_output);
  if (ctas > 0x7fffffff)
    throw std::invalid_argument("simple_gla: " + std::to_string(ctas) +
                                " blocks of sequences, heads and columns; at most 2^31 - 1");
  return static_cast<unsigned>(ctas);
}

__device__ inline Work work_of(const Sweep& s, int tile_columns, bool with_output, int cta) {
  const int heads = static_cast<int>(s.heads), count = static_cast<int>(s.segments.count);
  const int tiles = (static_cast<int>(s.value.columns) + tile_columns - 1) / tile_columns;
  const auto segments = static_cast<int>(segments_swept(count, with_output));
  const int problem = cta / tiles / heads;
  Work w;
  w.first_column = cta % tiles * tile_columns;
  w.head = cta / tiles % heads;
  w.segment = problem % segments;
  w.sequence = problem / segments;
  w.key_head = w.head / static_cast<int>(
                            max(max(s.key.group, s.query.group), max(s.value.group, s.own.group)));
  w.range = token_range(s.order, s.time, s.offsets, w.sequence, w.segment, count);
  return w;
}

// What the gate of the last token processed decays by.
__device__ inline float last_decay(const Sweep& s, const Work& w) {
  const int last = s.order.reverse ? w.range.begin : w.range.begin + w.range.length - 1;
  return expf(clamped_log_decay(s.gates, w.range.batch, last, w.head));
}

// Where a segment has its blocks of a in Segments::states.
__device__ inline Index segment_block(const Sweep& s, const Work& w, int segment) {
  return ((Index{w.sequence} * s.segments.count + segment) * s.heads + w.head) *
         blocks_of(s.value.columns);
}

// Where a chunk keeps its state, or what the gradient of the gates needs of it: the blocks of a
// lie one after the other.
struct GatePlace {
  Index first;      // block
  bool ends_group;  // else nothing but dots
};

__device__ inline GatePlace gate_place(const Sweep& s, const Work& w, int chunk) {
  const int place = w.range.place(chunk);
  const Index begin = s.offsets ? Index{w.range.begin} : w.sequence * s.time;
  const Index slot = group_slot(s.gate_part.group, w.sequence, begin, place);
  return {(slot * s.heads + w.head) * blocks_of(s.value.columns),
          s.gate_part.ends_group(place, number_of_chunks(w.range.length))};
}

}  // namespace groundstate::gpu::simple_gla
