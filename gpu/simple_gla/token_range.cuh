// Which tokens the chunks of a CTA hold: a run of chunks of one sequence, in the order of processing.
//
// A chunk lies in shared memory in the order of tokens, as the copy engine brings it: row r is
// processed at position r, or 63 - r in reverse. The grid of chunks begins at the first token of the
// sequence, or at its last one; the short chunk is at the other end, and its rows that the sequence
// does not have are zeros: rows [n, 64), or [0, 64 - n).
#pragma once

#include "gpu/core/element.cuh"
#include "reference/core/view.hpp"

namespace groundstate::gpu::simple_gla {

constexpr int chunk_length = 64;

constexpr Index number_of_chunks(Index length) {
  return (length + chunk_length - 1) / chunk_length;
}

// In which order the tokens of a sequence are processed.
struct Order {
  bool reverse;      // from the last token to the first
  bool grid_at_end;  // chunks are counted from the last token
  bool late_gates;   // a token is decayed by the gate of the one processed before it (adjoint)
};

struct Rows {
  int first, last;  // [first, last) exist
  __device__ bool have(int row) const { return row >= first && row < last; }
  __device__ bool all() const { return last - first == chunk_length; }
};

struct TokenRange {
  Order order;
  Index batch, begin, length;  // of the sequence
  Index first_chunk, chunks;   // of this CTA, in the order of processing

  // Along the grid.
  __device__ Index place(Index chunk) const {
    return order.reverse == order.grid_at_end ? chunk : number_of_chunks(length) - 1 - chunk;
  }
  __device__ Rows rows(Index chunk) const {
    const Index left = length - place(chunk) * chunk_length;
    const int count = static_cast<int>(left < chunk_length ? left : Index{chunk_length});
    return order.grid_at_end ? Rows{chunk_length - count, chunk_length} : Rows{0, count};
  }
  // The token of row 0, which may lie before the sequence.
  __device__ Index first_token(Index chunk) const {
    return order.grid_at_end ? begin + length - (place(chunk) + 1) * chunk_length
                             : begin + place(chunk) * chunk_length;
  }
  __device__ int row(int position) const {
    return order.reverse ? chunk_length - 1 - position : position;
  }
  // The token whose gate comes before `token`; none before the first.
  __device__ Index gate_token(Index token) const {
    return !order.late_gates ? token : order.reverse ? token + 1 : token - 1;
  }
  __device__ bool has(Index token) const { return token >= begin && token < begin + length; }
};

// Segment `segment` of `segments` of a sequence: equal numbers of chunks, as far as that goes.
__device__ inline TokenRange token_range(const Order& order, Index time,
                                         const DeviceView<const Any, Offset>& offsets,
                                         Index sequence, Index segment, Index segments) {
  TokenRange range{order, sequence, 0, time, 0, 0};
  if (offsets) {
    range.batch = 0;
    range.begin = load_integer(offsets, Offset{sequence});
    range.length = load_integer(offsets, Offset{sequence + 1}) - range.begin;
  }
  const Index chunks = number_of_chunks(range.length);
  const Index each = (chunks + segments - 1) / segments;
  range.first_chunk = each * segment < chunks ? each * segment : chunks;
  const Index left = chunks - range.first_chunk;
  range.chunks = each < left ? each : left;
  return range;
}

}  // namespace groundstate::gpu::simple_gla
