// The gates of one chunk, from whichever of g and g_gamma there are.
//
//   d = max(g + g_gamma, -104)          a factor of 0 in fp32; 0 at rows that do not exist
//   G_i = d_0 + .. + d_i                in the order of processing, a two-float: differences do not
//                                       cancel behind a hard reset
//
// One warp makes them for all warpgroups: 64 positions are two a lane, the sum is a scan by shuffles
// in a fixed order.
#pragma once

#include "gpu/core/warpgroup.cuh"
#include "gpu/simple_gla/token_range.cuh"

namespace groundstate::gpu::simple_gla {

struct GateTensors {
  DeviceView<const Any, Batch, Time, ValueHead> log_decay;
  DeviceView<const Any, ValueHead> constant;
};

constexpr float log_decay_floor = -104;

__device__ inline float clamped(float log_decay) {
  return log_decay < log_decay_floor ? log_decay_floor : log_decay;  // a NaN stays
}
// d of one token.
__device__ inline float clamped_log_decay(const GateTensors& x, Index batch, Index token,
                                          Index head) {
  float d = x.constant ? load<float>(x.constant, ValueHead{head}) : 0;
  if (x.log_decay)
    d = __fadd_rn(load<float>(x.log_decay, Batch{batch}, Time{token}, ValueHead{head}), d);
  return clamped(d);
}

// Of every row of a chunk. 16-byte aligned.
struct ChunkGates {
  float2 sum[chunk_length];        // G_i in base 2: high, low
  float from_start[chunk_length];  // exp(G_i)
  float until_end[chunk_length];   // exp(G_last - G_i) times the sweep's scale; 0: no such row
  float2 total;                    // G_last
  float decay;                     // exp(G_last)
  float entry;                     // exp(d) of the first token
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
__device__ inline float2 to_base2(TwoFloat x) {
  constexpr float log2_e = 1.44269504f, rest = 1.92596303e-8f;  // log2(e) = log2_e + rest
  const float high = __fmul_rn(x.high, log2_e);
  return {high, fmaf(x.low, log2_e, fmaf(x.high, rest, fmaf(x.high, log2_e, -high)))};
}

// exp(G_to - G_from), to the accuracy of a 16-bit operand.
__device__ inline float decay_between(float2 from, float2 to) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;"
      : "=f"(result)
      : "f"(__fadd_rn(__fsub_rn(to.x, from.x), __fsub_rn(to.y, from.y))));
  return result;
}

// What a lane owns of g, as bits: positions 2 l and 2 l + 1 of a chunk. Nothing but the load touches
// them, so one chunk's can travel while another's are summed.
class RawGates {
 public:
  __device__ RawGates(const GateTensors& x, const TokenRange& range, Index chunk, Index head) {
    for (int i = 0; i < 2; ++i) {
      const int row = range.row(2 * lane_index() + i);
      const bool in_range = chunk < range.first_chunk + range.chunks;
      const Index token = in_range ? range.gate_token(range.first_token(chunk) + row) : 0;
      exists_[i] = in_range && range.rows(chunk).have(row) && range.has(token);
      if (x.log_decay)
        bits_[i] = load_bits(x.log_decay, exists_[i], Batch{range.batch}, Time{token},
                             ValueHead{head});
    }
  }
  __device__ float log_decay(const GateTensors& x, float constant, int i) const {
    float d = constant;
    if (x.log_decay) d = __fadd_rn(from_bits(x.log_decay.type(), bits_[i]), d);
    return exists_[i] ? clamped(d) : 0;
  }

 private:
  std::uint32_t bits_[2] = {0, 0};
  bool exists_[2];
};

__device__ inline void write_gates(ChunkGates& gates, float first, float second,
                                   const TokenRange& range, Index chunk, float scale) {
  const int lane = lane_index();
  const Rows rows = range.rows(chunk);
  TwoFloat until = two_sum(first, second);
  for (int distance = 1; distance < warp_threads; distance *= 2) {
    const TwoFloat before{__shfl_up_sync(~0u, until.high, distance),
                          __shfl_up_sync(~0u, until.low, distance)};
    if (lane >= distance) until = add(before, until);
  }
  TwoFloat before{__shfl_up_sync(~0u, until.high, 1), __shfl_up_sync(~0u, until.low, 1)};
  if (lane == 0) before = {0, 0};
  const TwoFloat last{__shfl_sync(~0u, until.high, 31), __shfl_sync(~0u, until.low, 31)};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = range.row(2 * lane + i);
    const TwoFloat sum = i == 0 ? add(before, {first, 0}) : until;
    gates.sum[row] = to_base2(sum);
    gates.from_start[row] = expf(__fadd_rn(sum.high, sum.low));
    gates.until_end[row] =
        rows.have(row) ? scale * expf(__fadd_rn(__fsub_rn(last.high, sum.high),
                                                __fsub_rn(last.low, sum.low)))
                       : 0;
    if (row == (range.order.reverse ? rows.last - 1 : rows.first))
      gates.entry = expf(i == 0 ? first : second);
  }
  if (lane == 0) {
    gates.total = {last.high, last.low};
    gates.decay = expf(__fadd_rn(last.high, last.low));
  }
}

}  // namespace groundstate::gpu::simple_gla
