// Where the tokens of a CTA's chunks lie: a run of chunks of one sequence, in the order of
// processing.
//
// Position p of chunk c is the token processed at 64 c + p. A chunk lies in shared memory in the
// order of tokens, as the copy engine brings it: row r is position r, or 63 - r in reverse. Rows of
// positions that the sequence does not have are zeros.
#pragma once

#include "reference/simple_gla/contract.hpp"

namespace groundstate::simple_gla::gpu {

constexpr int chunk_length = 64;

struct TokenRange {
  Index batch, begin, length;  // of the sequence
  Index first_chunk, chunks;   // of this CTA
  bool reverse;

  __device__ int valid(Index chunk) const {
    const Index left = length - chunk * chunk_length;
    return static_cast<int>(left < chunk_length ? left : Index{chunk_length});
  }
  // The token of row 0; rows of the last chunk may lie outside of the sequence.
  __device__ Index first_token(Index chunk) const {
    return reverse ? begin + length - (chunk + 1) * chunk_length : begin + chunk * chunk_length;
  }
  __device__ int position(int row) const { return reverse ? chunk_length - 1 - row : row; }
};

// Segment `segment` of `segments` of a sequence: equal numbers of chunks, as far as that goes.
template <class E>
__device__ TokenRange token_range(const Inputs<Space::device, E>& x, bool reverse, Index sequence,
                                  Index segment, Index segments) {
  TokenRange range{sequence, 0, x.query.template extent<Time>(), 0, 0, reverse};
  if (x.offsets) {
    range.batch = 0;
    range.begin = load_index(x.offsets, Offset{sequence});
    range.length = load_index(x.offsets, Offset{sequence + 1}) - range.begin;
  }
  const Index chunks = (range.length + chunk_length - 1) / chunk_length;
  const Index each = (chunks + segments - 1) / segments;
  range.first_chunk = each * segment < chunks ? each * segment : chunks;
  const Index left = chunks - range.first_chunk;
  range.chunks = each < left ? each : left;
  return range;
}

}  // namespace groundstate::simple_gla::gpu
