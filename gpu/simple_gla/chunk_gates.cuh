// The gates of one chunk, from whichever of g and g_gamma there are.
//
//   d = max(g + g_gamma, -104)          a factor of 0 in fp32; 0 at rows that do not exist
//   G_i = d_0 + .. + d_i                in the order of processing, a two-float: differences do not
//                                       cancel behind a hard reset
//
// One warp makes them for all warpgroups: 64 positions are two a lane, the sum is a scan by
// shuffles in a fixed order.
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

// What is known of a chunk, most of it by row. Four numbers are read at a time.
struct alignas(16) ChunkGates {
  float2 sum[chunk_length];        // G_i in base 2: high, low
  float from_start[chunk_length];  // exp(G_i) read_scale
  float until_end[chunk_length];   // exp(G_last - G_i) update_scale; 0: no such row
  Index kept;                      // where the state of the chunk is kept; below 0: nowhere
  float decay;                     // exp(G_last)
  int first_token;                 // TokenRange::first_token
  int whole;                       // whether the copy engine may write all of its rows
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

// Exponentials of gates are to be as exact as the operands that they multiply.
enum class Accuracy { of_16_bits, of_fp32 };

template <Accuracy accuracy>
__device__ inline float exp_of_base2(float x) {
  if constexpr (accuracy == Accuracy::of_fp32) return exp2f(x);
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}
// exp(to - from); for fp32 by way of fp64, because the error of a factor is that of a whole row or
// state.
template <Accuracy accuracy>
__device__ inline float exp_of(TwoFloat to, TwoFloat from = {0, 0}) {
  if constexpr (accuracy == Accuracy::of_fp32)
    return static_cast<float>(
        exp((double{to.high} - from.high) + (double{to.low} - double{from.low})));
  const float x = __fadd_rn(__fsub_rn(to.high, from.high), __fsub_rn(to.low, from.low));
  return exp_of_base2<accuracy>(x * 1.44269504f);
}

// exp(G_to - G_from)
template <Accuracy accuracy = Accuracy::of_16_bits>
__device__ inline float decay_between(float2 from, float2 to) {
  return exp_of_base2<accuracy>(__fadd_rn(__fsub_rn(to.x, from.x), __fsub_rn(to.y, from.y)));
}

// The raw gates of a lane, positions 2 l and 2 l + 1 of chunk after chunk. fetch() queues the loads
// of the next chunk and nothing that uses them, so they travel while the present one is summed;
// those of chunks further ahead are brought into L2.
class GateStream {
 public:
  __device__ GateStream(const GateTensors& x, const TokenRange& range, Index head)
      : x_(x), begin_(range.begin), end_(range.begin + range.length) {
    constant_ = x.constant ? load<float>(x.constant, ValueHead{head}) : 0;
    step_ = range.order.reverse ? -chunk_length : chunk_length;
    lead_ = range.gate_token(0);
    bytes_ = x.log_decay ? static_cast<int>(size_of(x.log_decay.type())) : 0;
    first_ = range.first_token(range.first_chunk) + range.row(2 * lane_index());
    next_ = range.order.reverse ? -1 : 1;
    if (!x.log_decay) return;
    stride_ = x.log_decay.template stride<Time>() * bytes_;
    address_ =
        static_cast<const std::byte*>(x.log_decay.data()) +
        x.log_decay.offset(Batch{range.batch}, Time{first_ + lead_}, ValueHead{head}) * bytes_;
  }
  __device__ void fetch() {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int token = first_ + i * next_;
      exists_[i] = has(token);
      decays_[i] = exists_[i] && has(token + lead_);
      if (bytes_ == 8)
        bits_[i] = decays_[i] ? __float_as_uint(static_cast<float>(*reinterpret_cast<const double*>(
                                    address_ + i * next_ * stride_)))
                              : 0;
      else if (bytes_ > 0)
        bits_[i] = load_bits(address_ + i * next_ * stride_, decays_[i] ? bytes_ : 0);
    }
    const std::byte* const ahead = address_ + prefetch_distance * step_ * stride_;
    if (bytes_ > 0 && has(first_ + prefetch_distance * step_ + lead_)) {
      asm volatile("prefetch.global.L2 [%0];" ::"l"(ahead));
      asm volatile("prefetch.global.L2 [%0];" ::"l"(ahead + next_ * stride_));
    }
    first_ += step_;
    address_ += step_ * stride_;
  }
  // Of what the last fetch() brought.
  __device__ bool exists(int i) const { return exists_[i]; }
  __device__ float log_decay(int i) const {
    float d = constant_;
    if (bytes_ > 0) d = __fadd_rn(from_bits(x_.log_decay.type(), bits_[i]), d);
    return decays_[i] ? clamped(d) : 0;
  }

 private:
  static constexpr int prefetch_distance = 4;  // chunks
  __device__ bool has(int token) const { return token >= begin_ && token < end_; }
  const GateTensors& x_;
  int begin_, end_, first_;
  Index stride_ = 0;
  const std::byte* address_ = nullptr;
  float constant_;
  int step_, lead_, next_, bytes_;
  std::uint32_t bits_[2] = {0, 0};
  bool exists_[2], decays_[2];
};

// The factors, from d and existence of the lane's two positions. The result is G_last.
template <Accuracy accuracy = Accuracy::of_16_bits>
__device__ inline TwoFloat write_gates(ChunkGates& gates, const float (&d)[2],
                                       const bool (&exists)[2], bool reverse, float read_scale,
                                       float update_scale) {
  const int lane = lane_index();
  TwoFloat until = two_sum(d[0], d[1]);
#pragma unroll
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
    const int position = 2 * lane + i, row = reverse ? chunk_length - 1 - position : position;
    const TwoFloat sum = i == 0 ? add(before, {d[0], 0}) : until;
    gates.sum[row] = to_base2(sum);
    gates.from_start[row] = read_scale * exp_of<accuracy>(sum);
    gates.until_end[row] = exists[i] ? update_scale * exp_of<accuracy>(last, sum) : 0;
  }
  if (lane == 0) gates.decay = exp_of<Accuracy::of_fp32>(last);
  return last;
}

}  // namespace groundstate::gpu::simple_gla
