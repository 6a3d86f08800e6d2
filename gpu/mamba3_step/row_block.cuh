// Eight rows of a state, four columns a lane: the arithmetic of gpu.step, and its order.
//
//   m = sum over r of u_r b_r + v_r K_r,   u = x gamma xproj,  v = X beta xproj
//   y_r = sum over n of S[p, n] c_r[n]
//
// A product at a time by fma, ranks ascending, u b before v K. y is summed in a lane, ascending n,
// then over the lanes of a row: three halvings that bring eight rows to eight lanes, and one sum
// over each doubling beyond.
#pragma once

#include "gpu/core/arriving.cuh"
#include "gpu/core/warpgroup.cuh"

namespace groundstate::gpu::mamba3_step {

inline constexpr int own_rows = 8, own_columns = 4;  // of a lane
using RowBlock = float[own_rows][own_columns];

struct Factors {
  float alpha, gamma, beta;
};
__device__ inline Factors factors_of(float A, float dt, float trap) {
  const float alpha = expf(A * dt);
  return {alpha, trap * dt, ((1.0f - trap) * dt) * alpha};
}

// m of one rank, `u` and `v` of eight rows.
__device__ inline void add_rank(RowBlock& m, float4 b, const float* u, float4 k, const float* v) {
#pragma unroll
  for (int half = 0; half < own_rows; half += 4) {
    const float4 own_u = *reinterpret_cast<const float4*>(u + half),
                 own_v = *reinterpret_cast<const float4*>(v + half);
    const auto row = [&](float(&own)[own_columns], float u_of_row, float v_of_row) {
      own[0] = fmaf(v_of_row, k.x, fmaf(u_of_row, b.x, own[0]));
      own[1] = fmaf(v_of_row, k.y, fmaf(u_of_row, b.y, own[1]));
      own[2] = fmaf(v_of_row, k.z, fmaf(u_of_row, b.z, own[2]));
      own[3] = fmaf(v_of_row, k.w, fmaf(u_of_row, b.w, own[3]));
    };
    row(m[half], own_u.x, own_v.x);
    row(m[half + 1], own_u.y, own_v.y);
    row(m[half + 2], own_u.z, own_v.z);
    row(m[half + 3], own_u.w, own_v.w);
  }
}

__device__ inline void advance(RowBlock& s, float alpha, const RowBlock& m) {
#pragma unroll
  for (int j = 0; j < own_rows; ++j)
#pragma unroll
    for (int e = 0; e < own_columns; ++e) s[j][e] = fmaf(s[j][e], alpha, m[j][e]);
}

// y of one rank: of row lane mod 8, in every lane of the L lanes of a row.
__device__ inline float output_of_rank(const RowBlock& s, float4 c, int lanes_a_row) {
  float y[own_rows];
#pragma unroll
  for (int j = 0; j < own_rows; ++j)
    y[j] = fmaf(s[j][3], c.w, fmaf(s[j][2], c.z, fmaf(s[j][1], c.y, s[j][0] * c.x)));
#pragma unroll
  for (int half = own_rows / 2; half > 0; half /= 2) {
    const bool upper = (lane_index() & half) != 0;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const float mine = upper ? y[i + half] : y[i], other = upper ? y[i] : y[i + half];
      y[i] = mine + __shfl_xor_sync(~0u, other, half);
    }
  }
  float sum = y[0];
#pragma unroll
  for (int distance = own_rows; distance < warp_threads; distance *= 2)
    if (distance < lanes_a_row) sum += __shfl_xor_sync(~0u, sum, distance);
  return sum;
}

}  // namespace groundstate::gpu::mamba3_step
