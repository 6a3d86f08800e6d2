// The prologue in fp32, as gpu.step and gpu.separate have it: exp, tanh, sin and cos are CUDA's.
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

// 1 / root mean square of a row, in all lanes of a warp; `value(n)` is its element n.
template <class Value>
__device__ float inverse_norm(int columns, const Value& value) {
  float sum = 0;
  for (int n = lane_index(); n < columns; n += warp_threads) {
    const float u = value(n);
    sum = fmaf(u, u, sum);
  }
  return 1.0f /
         sqrtf(sum_of_warp(sum) / static_cast<float>(columns) + static_cast<float>(norm_epsilon));
}

}  // namespace groundstate::gpu::mamba3_step
