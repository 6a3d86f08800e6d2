// Which tokens the chunks of a CTA hold: a run of chunks of one sequence, in the order of
// processing.
//
// A chunk lies in shared memory in the order of tokens, as the copy engine brings it: row r is
// processed at position r, or 63 - r in reverse. The grid of chunks begins at the first token of
// the sequence, or at its last one; the short chunk is at the other end, and its rows that the
// sequence does not have are zeros: rows [n, 64), or [0, 64 - n).
#pragma once

#include "gpu/core/element.cuh"
#include "reference/core/view.hpp"

namespace groundstate::gpu::simple_gla {

constexpr int chunk_length = 64;

// Tokens are counted in 32 bits (registers are scarce), offsets in 64.
constexpr int number_of_chunks(int length) { return (length + chunk_length - 1) / chunk_length; }

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
  int batch, begin, length;  // of the sequence
  int first_chunk, chunks;   // of this CTA, in the order of processing

  // Along the grid.
  __device__ int place(int chunk) const {
    return order.reverse == order.grid_at_end ? chunk : number_of_chunks(length) - 1 - chunk;
  }
  __device__ Rows rows(int chunk) const {
    const int left = length - place(chunk) * chunk_length;
    const int count = left < chunk_length ? left : chunk_length;
    return order.grid_at_end ? Rows{chunk_length - count, chunk_length} : Rows{0, count};
  }
  // The token of row 0, which may lie before the sequence.
  __device__ int first_token(int chunk) const {
    return order.grid_at_end ? begin + length - (place(chunk) + 1) * chunk_length
                             : begin + place(chunk) * chunk_length;
  }
  __device__ int row(int position) const {
    return order.reverse ? chunk_length - 1 - position : position;
  }
  // The token whose gate acts before `token`; with late gates the first one has none.
  __device__ int gate_token(int token) const {
    return !order.late_gates ? token : order.reverse ? token + 1 : token - 1;
  }
};

// Segment `segment` of `segments` of a sequence: equal numbers of chunks, as far as that goes.
__device__ inline TokenRange token_range(const Order& order, Index time,
                                         const DeviceView<const Any, Offset>& offsets, int sequence,
                                         int segment, int segments) {
  TokenRange range{order, sequence, 0, static_cast<int>(time), 0, 0};
  if (offsets) {
    range.batch = 0;
    range.begin = static_cast<int>(load_integer(offsets, Offset{sequence}));
    range.length = static_cast<int>(load_integer(offsets, Offset{sequence + 1})) - range.begin;
  }
  const int chunks = number_of_chunks(range.length);
  const int each = (chunks + segments - 1) / segments;
  range.first_chunk = min(each * segment, chunks);
  range.chunks = min(each, chunks - range.first_chunk);
  return range;
}

}  // namespace groundstate::gpu::simple_gla
