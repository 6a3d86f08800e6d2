// One sweep through time of a matrix state, chunk by chunk: what every chunked path of simple_gla
// is made of. On tensor cores for operands of 16 bits (sweep.cu), by fp32 fma for fp32
// (single_sweep.hpp).
//
//   R_t = exp(d_t) R_{t-1} + a_t b_t^T         R: [columns of a, columns of b]
//   y_t = R_t c_t
//
//   direction  time      a (value)  b (key)  c (query)  y    state
//   forward    forward   v          k        q          o    S^T, from h0, to ht
//   backward   forward   k          v        do         dq   S, from h0
//              backward  q          do       v          dk   dS, from dht, to dh0
//              backward  do         q        k          dv   dS^T, from dht
//
// because in each of the four the output is the state times a vector, and the state gathers outer
// products of two others. Backward in time a token is decayed by the gate of the token after it
// (Order::late_gates). The scale multiplies what is read of the state forward in time, and what the
// state gathers backward in time; the scores have it in both, so that dq and dk round the same dA
// and the gradient of the gates, a difference of the two, does not see it.
//
// In a chunk, G the cumulative log decay, R the state before it, X(.) a rounding to the operands'
// type:
//   A_ij = X(score_scale (c_i . b_j) exp(G_i - G_j)), j <= i
//   y_i  = read_scale exp(G_i) (X(R) c_i) + sum_j A_ij a_j
//   R   := exp(G_last) R + X(update_scale exp(G_last - G_j) a_j) b_j^T
// Sums are fp32. Chunks of 64.
#pragma once

#include <cuda_runtime_api.h>

#include "gpu/simple_gla/chunk_gates.cuh"

namespace groundstate::gpu::simple_gla {

// A tensor [batch, time, head, column]; strides in elements.
struct Operand {
  const void* data = nullptr;
  Index batch = 0, time = 0, head = 0, column = 0;
  Index columns = 0;
  Index group = 1;  // value heads that share a head

  __device__ Index offset(Index b, Index t, Index own_head) const {
    return b * batch + t * time + own_head * head;
  }
};

// Segments of time that run in parallel: the state before each, in fragments of a warpgroup, and
// what a segment multiplies a state by.
struct Segments {
  Index count = 1;
  float4* states = nullptr;  // [sequence][segment][head][block of a][fragment]
  float* decays = nullptr;   // [sequence][segment][head]
};

// A place for every group of chunks of every sequence. The number of chunks of packed sequences is
// known on the device only; this never counts two groups as one, and never beyond the number of
// slots.
__host__ __device__ inline Index group_slot(int group, Index sequence, Index first_token,
                                            int place) {
  return first_token / (chunk_length * group) + sequence + place / group;
}
inline Index group_slots(int group, Index tokens, Index sequences) {
  return tokens / (chunk_length * group) + sequences;
}

// R before every chunk, in device memory: left by a sweep of the states alone, and taken by one in
// which every chunk is a segment. The type of the operands instead of fp32 changes no output: R is
// rounded to it anyway where it is multiplied.
struct ChunkStates {
  void* data = nullptr;  // [slot][head][block of a][fragment]: float4, or uint4 of two of them
  bool rounded = false;
};

// What two sweeps leave for the gradient of the gates (gate_gradient.hpp): both the dots, and of
// the last chunk of every group of chunks, in the order of the forward, the forward one its state
// and the adjoint one products.
struct GatePart {
  int group = 1;               // chunks
  uint4* states = nullptr;     // [slot][head][block of a][fragment]: X(R) before the chunk
  float2* products = nullptr;  // [slot][head][block of a][warp]: exp(G_last) <R, that state>, and
                               // the sum over the chunk of own . what of y comes from R
  float* dots = nullptr;       // [block of a][batch][time][head]: own . y

  __device__ bool ends_group(int place, int chunks) const {
    return place + 1 == chunks || (place + 1) % group == 0;
  }
};

struct Sweep {
  Order order;
  ElementType type;           // of the operands
  Operand query, key, value;  // c, b, a
  Operand own;                // what y is the gradient of; only for its gate part
  Operand output;             // y
  ElementType output_type;    // that of the operands, or fp32
  GateTensors gates;
  DeviceView<const Any, Offset> offsets;
  DeviceView<const Any, Sequence, ValueHead, Value, Key> initial_state;
  DeviceView<Any, Sequence, ValueHead, Value, Key> final_state;
  bool decay_final_state = false;  // by the gate of the last token, which late gates leave out
  float score_scale = 1, read_scale = 1, update_scale = 1;
  Index batch, time, heads, sequences;
  Segments segments;
  ChunkStates chunk_states;
  GatePart gate_part;
};

enum class Purpose {
  outputs,         // y, and the final state
  states,          // the state that each segment but the last makes of zero; or chunk_states
  keep_states,     // outputs, dots and states of the gate part
  multiply_states  // outputs, dots and products of the gate part
};
constexpr bool reads_own(Purpose purpose) {
  return purpose == Purpose::keep_states || purpose == Purpose::multiply_states;
}

struct SweepForm {
  int stages;        // chunks on the way at a time, at most
  int value_blocks;  // of 64 columns of a that a CTA has: 1 or 2
};

// Queues one kernel. Columns of b up to most_key_columns, of a any number; types and shapes are
// the caller's to check.
template <Purpose purpose>
void run_sweep(const Sweep& sweep, const SweepForm& form, cudaStream_t stream);
// The stages that run_sweep takes of form.stages: as many as fit into shared memory.
template <Purpose purpose>
int sweep_stages(Index key_columns, const SweepForm& form);

// float4 of one block of 64 columns of a, the state in fp32.
constexpr Index fragments_of_block(Index key_columns) {
  return (key_columns <= 64 ? 1 : key_columns <= 128 ? 2 : 4) * Index{8 * warpgroup_threads};
}
// uint4 of the same as an operand.
constexpr Index operand_fragments_of_block(Index key_columns, ElementType type) {
  return fragments_of_block(key_columns) * static_cast<Index>(size_of(type)) / 4;
}
// Warps that sum the products of a block for the gradient of the gates.
constexpr Index warps_of_block(ElementType type) { return type == ElementType::float32 ? 8 : 4; }
constexpr Index blocks_of(Index columns) { return (columns + 63) / 64; }
constexpr Index most_key_columns = 256;

}  // namespace groundstate::gpu::simple_gla
