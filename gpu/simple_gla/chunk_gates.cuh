// The gates of one chunk, from whichever of g and g_gamma there are.
//
//   d = max(g + g_gamma, -104)          a factor of 0 in fp32; 0 at positions that do not exist
//   G_i = d_0 + .. + d_i                a two-float: differences do not cancel behind a hard reset
//
// One warp makes them for all warpgroups: 64 tokens are two a lane, the sum is a scan by shuffles in
// a fixed order.
#pragma once

#include "gpu/core/warpgroup.cuh"
#include "gpu/simple_gla/token_range.cuh"

namespace groundstate::simple_gla::gpu {

using groundstate::gpu::lane_index;

struct ChunkGates {
  float2 sum[chunk_length];         // G of the row: high, low
  float from_start[chunk_length];   // exp(G_i)
  float until_end[chunk_length];    // exp(G_{n-1} - G_j); 0 where the row does not exist
  float2 total;                     // G_{n-1}
  float decay;                      // exp(G_{n-1})
  float unused;
};

struct TwoFloat {
  float high, low;
};
__device__ inline TwoFloat two_sum(float a, float b) {
  const float sum = __fadd_rn(a, b), of_b = __fsub_rn(sum, a);
  return {sum, __fadd_rn(__fsub_rn(a, __fsub_rn(sum, of_b)), __fsub_rn(b, of_b))};
}
__device__ inline TwoFloat add(TwoFloat a, TwoFloat b) {
  const TwoFloat sum = two_sum(a.high, b.high);
  const float low = __fadd_rn(sum.low, __fadd_rn(a.low, b.low));
  const float high = __fadd_rn(sum.high, low);
  return {high, __fsub_rn(low, __fsub_rn(high, sum.high))};
}

// exp((a_high - b_high) + (a_low - b_low)), to the accuracy of a 16-bit operand.
__device__ inline float decay_between(float2 from, float2 to) {
  const float x = __fadd_rn(__fsub_rn(to.x, from.x), __fsub_rn(to.y, from.y));
  return exp2f(__fmul_rn(x, 1.44269504f));
}

// The raw log decays of a chunk that a lane owns: positions 2 l and 2 l + 1. Loading them early
// hides the latency of memory.
template <class E>
__device__ float2 load_log_decay(const Inputs<Space::device, E>& x, const TokenRange& range,
                                 Index chunk, Index head) {
  constexpr float floor = -104;
  const float constant = x.constant_log_decay ? load_float(x.constant_log_decay, ValueHead{head}) : 0;
  float own[2];
  for (int i = 0; i < 2; ++i) {
    const int position = 2 * lane_index() + i;
    own[i] = 0;
    if (chunk >= range.first_chunk + range.chunks || position >= range.valid(chunk)) continue;
    const Index token = range.first_token(chunk) + range.position(position);
    float d = constant;
    if (x.log_decay)
      d = __fadd_rn(load_float(x.log_decay, Batch{range.batch}, Time{token}, ValueHead{head}), d);
    own[i] = d < floor ? floor : d;  // a NaN stays
  }
  return {own[0], own[1]};
}

__device__ inline void write_gates(ChunkGates& gates, float2 log_decay, int valid, bool reverse) {
  const int lane = lane_index();
  const TwoFloat pair = two_sum(log_decay.x, log_decay.y);
  TwoFloat until = pair;
  for (int distance = 1; distance < 32; distance *= 2) {
    const TwoFloat before{__shfl_up_sync(~0u, until.high, distance),
                          __shfl_up_sync(~0u, until.low, distance)};
    if (lane >= distance) until = add(before, until);
  }
  TwoFloat before{__shfl_up_sync(~0u, until.high, 1), __shfl_up_sync(~0u, until.low, 1)};
  if (lane == 0) before = {0, 0};
  const TwoFloat last{__shfl_sync(~0u, until.high, 31), __shfl_sync(~0u, until.low, 31)};
  for (int i = 0; i < 2; ++i) {
    const int position = 2 * lane + i, row = reverse ? chunk_length - 1 - position : position;
    const TwoFloat sum = i == 0 ? add(before, {log_decay.x, 0}) : until;
    gates.sum[row] = {sum.high, sum.low};
    gates.from_start[row] = expf(__fadd_rn(sum.high, sum.low));
    gates.until_end[row] =
        position < valid
            ? expf(__fadd_rn(__fsub_rn(last.high, sum.high), __fsub_rn(last.low, sum.low)))
            : 0;
  }
  if (lane == 0) {
    gates.total = {last.high, last.low};
    gates.decay = expf(__fadd_rn(last.high, last.low));
  }
}

}  // namespace groundstate::simple_gla::gpu
