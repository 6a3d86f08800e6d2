// The prologue inside of the direct step (direct_step.cu), for one token: a thread has one angle of
// its CTA's head, and the warp that brings a rank of B and C four columns a lane. The arithmetic is
// that of prologue.cuh, so gpu.step has the same bits with several tokens.
#pragma once

#include "gpu/core/direct_load.cuh"
#include "gpu/mamba3_step/prologue.cuh"
#include "gpu/mamba3_step/row_block.cuh"

namespace groundstate::gpu::mamba3_step {

struct PrologueRows {
  TokenRows theta, angle;    // [sequence or slot][head][frequency]
  TokenRows B_bias, C_bias;  // [rank][head][column], adjacent columns
  TokenRows B_norm, C_norm;  // [column]
  int frequencies = 0;
  bool wraps = false, is_halved = false;

  static PrologueRows of(const DeviceInputs& x, const DeviceOutputs& y, const Options& options) {
    if (!x.theta) return {};
    const auto of_norm = [](const auto& v) {
      return v ? TokenRows::of(v.type(), v.data(), 0, 0, v.template stride<State>()) : TokenRows{};
    };
    return {TokenRows::of<Batch, Head, Frequency>(x.theta),
            TokenRows::of<Slot, Head, Frequency>(y.angle_state),
            TokenRows::of<Rank, Head, State>(x.B_bias),
            TokenRows::of<Rank, Head, State>(x.C_bias),
            of_norm(x.B_norm),
            of_norm(x.C_norm),
            static_cast<int>(x.theta.extent<Frequency>()),
            options.wrap_angle,
            options.rotation == Rotation::halved};
  }
  // Whether all can be loaded.
  bool fit() const {
    const auto aligned = [](const TokenRows& rows) {
      return !rows.data || rows.has_aligned_rows();
    };
    return gpu::fit(theta, angle, B_bias, C_bias, B_norm, C_norm) && aligned(B_bias) &&
           aligned(C_bias) && aligned(B_norm) && aligned(C_norm);
  }
};

// The frequency of this thread, if there are so many. In every second CTA of a head the other half
// of the threads begins: the schedulers of a multiprocessor, each with its own warps, get as much.
__device__ inline int own_frequency() {
  const unsigned first = blockIdx.y % 2 * (blockDim.x / 2);
  return static_cast<int>((threadIdx.x + first) % blockDim.x);
}

// What a thread asks for ahead. The bits of theta come to one register in fp32 and to another in 16
// bits. load_bits() has a second load to the first, of 16 bits and never made here, for which the
// thread waits all the same: what is left to gain.
struct AngleToken {
  std::uint32_t wide_theta = 0, half_theta = 0;
  float angle = 0;

  __device__ void ask(const PrologueRows& rows, int sequence, int head, int f) {
    if (f >= rows.frequencies) return;
    const std::byte* const from = rows.theta.element(sequence, head, f);
    wide_theta = load_bits(from, rows.theta.size & 4);
    half_theta = load_word(reinterpret_cast<const std::uint16_t*>(from), rows.theta.size == 2);
  }
  __device__ void ask_slot(const PrologueRows& rows, int slot, int head, int f) {
    if (f < rows.frequencies)
      angle = *reinterpret_cast<const float*>(rows.angle.element(slot, head, f));
  }
  // The angle of this token.
  __device__ float advanced(const PrologueRows& rows, float dt) const {
    const float theta = rows.theta.value(rows.theta.size == 2 ? half_theta : wide_theta);
    return advanced_angle(angle, theta, dt, rows.wraps);
  }
};

// In shared memory: weights of the CTA's head, four columns a lane, so that none is waited for in
// the middle of a sequence, and the turns of the angles. With P 128 and parameters and states in
// fp32 they leave room for one CTA a multiprocessor instead of two.
template <class Weight, int ranks>
struct alignas(128) PrologueStage {
  using Piece = StatePiece<Weight, own_columns>;
  using Row = typename Piece::Bits[warp_threads];
  Row B_norm, C_norm, B_bias[ranks], C_bias[ranks];
  alignas(16) Turn turns[warp_threads * own_columns / 2];

  // By the warp that brings a rank.
  __device__ void load(const PrologueRows& rows, int rank, int head) {
    const int lane = lane_index();
    const auto copy = [&](const TokenRows& from, Row& to) {
      if (from.data)
        to[lane] = *reinterpret_cast<const typename Piece::Bits*>(
            from.element(rank, head, lane * own_columns));
    };
    if (rank == 0) copy(rows.B_norm, B_norm);
    if (rank == 0) copy(rows.C_norm, C_norm);
    copy(rows.B_bias, B_bias[rank]);
    copy(rows.C_bias, C_bias[rank]);
  }
  // b and c of a rank, four columns a lane, from B and C.
  __device__ void apply(const PrologueRows& rows, int rank, float (&b)[own_columns],
                        float (&c)[own_columns]) const {
    if (rows.B_norm.data) {
      const float of_b = inverse_norm(b), of_c = inverse_norm(c);
      scale(b, of_b, B_norm);
      scale(c, of_c, C_norm);
    }
    if (rows.B_bias.data) add(b, B_bias[rank]);
    if (rows.C_bias.data) add(c, C_bias[rank]);
    if (rows.is_halved) {
      turn_halved(b, rows.frequencies);
      turn_halved(c, rows.frequencies);
    } else {
      turn_pairs(b, rows.frequencies);
      turn_pairs(c, rows.frequencies);
    }
  }

 private:
  static __device__ void scale(float (&own)[own_columns], float inverse, const Row& row) {
    float weight[own_columns];
    Piece::widen(row[lane_index()], weight);
#pragma unroll
    for (int e = 0; e < own_columns; ++e) own[e] = normed(own[e], inverse, weight[e]);
  }
  static __device__ void add(float (&own)[own_columns], const Row& row) {
    float bias[own_columns];
    Piece::widen(row[lane_index()], bias);
#pragma unroll
    for (int e = 0; e < own_columns; ++e) own[e] = biased(own[e], bias[e]);
  }
  // Angles beyond the last turn nothing, and are not looked at.
  __device__ void turn_pairs(float (&own)[own_columns], int frequencies) const {
    const int first = lane_index() * own_columns / 2;
#pragma unroll
    for (int i = 0; i < own_columns / 2; ++i) {
      float u = own[2 * i], w = own[2 * i + 1];
      rotate(u, w, turns[first + i]);
      own[2 * i] = first + i < frequencies ? u : own[2 * i];
      own[2 * i + 1] = first + i < frequencies ? w : own[2 * i + 1];
    }
  }
  // The other of a pair is in the lane half a warp away.
  __device__ void turn_halved(float (&own)[own_columns], int frequencies) const {
    constexpr int half_lanes = warp_threads / 2;
    const bool is_second = lane_index() >= half_lanes;
    const int first = lane_index() % half_lanes * own_columns;
#pragma unroll
    for (int e = 0; e < own_columns; ++e) {
      const float other = __shfl_xor_sync(~0u, own[e], half_lanes);
      float u = is_second ? other : own[e], w = is_second ? own[e] : other;
      rotate(u, w, turns[first + e]);
      own[e] = first + e >= frequencies ? own[e] : is_second ? w : u;
    }
  }
};

}  // namespace groundstate::gpu::mamba3_step
