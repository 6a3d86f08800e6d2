// The prologue in fp32, as gpu.step and gpu.separate have it: exp, tanh, sin and cos are CUDA's.
// Where several kernels promise the same bits, nothing is left to the compiler to contract.
#pragma once

#include "gpu/core/warpgroup.cuh"
#include "gpu/mamba3_step/device_tensors.hpp"
#include "reference/core/trigonometric.hpp"

namespace groundstate::gpu::mamba3_step {

__device__ inline float advanced_angle(float angle, float theta, float dt, bool wrap) {
  const float next = fmaf(pi<float> * tanhf(theta), dt, angle);
  return wrap ? wrapped_angle(next) : next;
}

struct Turn {
  float sine, cosine;
};
__device__ inline Turn turn_of(float angle) {
  Turn own;
  sincosf(angle, &own.sine, &own.cosine);
  return own;
}
__device__ inline void rotate(float& u, float& w, Turn turn) {
  const float before = u;
  u = fmaf(u, turn.cosine, -(w * turn.sine));
  w = fmaf(before, turn.sine, w * turn.cosine);
}

// 1 / root mean square of a row, in all lanes of a warp. A lane adds up the squares of four
// adjacent columns of 128.
__device__ inline float inverse_norm(float squares, int columns) {
  return rsqrtf(__fadd_rn(sum_of_warp(squares) / static_cast<float>(columns),
                          static_cast<float>(norm_epsilon)));
}
// `value(n)` is element n.
template <class Value>
__device__ float inverse_norm(int columns, const Value& value) {
  float squares = 0;
  for (int first = lane_index() * 4; first < columns; first += warp_threads * 4)
    for (int n = first; n < min(first + 4, columns); ++n) {
      const float u = value(n);
      squares = fmaf(u, u, squares);
    }
  return inverse_norm(squares, columns);
}
// Of a row of 128, in the lanes.
__device__ inline float inverse_norm(const float (&own)[4]) {
  float squares = 0;
#pragma unroll
  for (const float u : own) squares = fmaf(u, u, squares);
  return inverse_norm(squares, warp_threads * 4);
}
__device__ inline float normed(float u, float inverse, float weight) {
  return __fmul_rn(__fmul_rn(u, inverse), weight);
}
__device__ inline float biased(float u, float bias) { return __fadd_rn(u, bias); }

}  // namespace groundstate::gpu::mamba3_step
