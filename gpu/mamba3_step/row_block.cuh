// Rows of a state, four columns a lane: the arithmetic of gpu.step, and its order.
//
//   m = sum over r of u_r b_r + v_r K_r,   u = x gamma xproj,  v = X beta xproj
//   y_r = sum over n of S[p, n] c_r[n]
//
// A product at a time by fma, ranks ascending, u b before v K. y is summed over four columns,
// ascending n, then over the fours of a row by halves: the first with the first of the second half
// (the order of the CUDA step of state-spaces/mamba, whose lanes have four columns each).
#pragma once

#include "gpu/core/arriving.cuh"
#include "gpu/core/warpgroup.cuh"

namespace groundstate::gpu::mamba3_step {

inline constexpr int own_columns = 4;
template <int rows>
using RowBlock = float[rows][own_columns];  // of a lane

struct Factors {
  float alpha, gamma, beta;
};
__device__ inline Factors factors_of(float A, float dt, float trap) {
  const float alpha = expf(A * dt);
  return {alpha, trap * dt, ((1.0f - trap) * dt) * alpha};
}

// m of one rank, `u` and `v` of its rows, which are a multiple of four.
template <int rows>
__device__ void add_rank(RowBlock<rows>& m, float4 b, const float* u, float4 k, const float* v) {
#pragma unroll
  for (int first = 0; first < rows; first += 4) {
    const float4 own_u = *reinterpret_cast<const float4*>(u + first),
                 own_v = *reinterpret_cast<const float4*>(v + first);
    const auto row = [&](float(&own)[own_columns], float u_of_row, float v_of_row) {
      own[0] = fmaf(v_of_row, k.x, fmaf(u_of_row, b.x, own[0]));
      own[1] = fmaf(v_of_row, k.y, fmaf(u_of_row, b.y, own[1]));
      own[2] = fmaf(v_of_row, k.z, fmaf(u_of_row, b.z, own[2]));
      own[3] = fmaf(v_of_row, k.w, fmaf(u_of_row, b.w, own[3]));
    };
    row(m[first], own_u.x, own_v.x);
    row(m[first + 1], own_u.y, own_v.y);
    row(m[first + 2], own_u.z, own_v.z);
    row(m[first + 3], own_u.w, own_v.w);
  }
}

__device__ inline void advance(float (&s)[own_columns], float alpha,
                               const float (&m)[own_columns]) {
#pragma unroll
  for (int e = 0; e < own_columns; ++e) s[e] = fmaf(s[e], alpha, m[e]);
}

// Of four columns of a row.
__device__ inline float output_of_four(const float (&s)[own_columns], float4 c) {
  return fmaf(s[3], c.w, fmaf(s[2], c.z, fmaf(s[1], c.y, s[0] * c.x)));
}

}  // namespace groundstate::gpu::mamba3_step
