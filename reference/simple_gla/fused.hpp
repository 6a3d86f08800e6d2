// Chunked forward in one pass: the state stays on chip and is never written; keys and values are
// tiled.
//
// For a key tile a and a value tile b, chunk after chunk (phases of chunked.hpp on the tile):
//   o_part[a] = exp(G_i) (q_a state(S_ab)) + A_a v_b,   A_a from the key columns of tile a
//   S_ab     := carry(exp(G_{n-1}) S_ab + k_a^T v~_b)
// and in the end o = scale * sum_a o_part[a] in ascending a. Linear in key tiles because the gate
// is a scalar. One key tile gives the bits of `chunked`; value tiles never change bits.
//
// num_steps chunks are processed by each step of the outer loop. It changes no operation and no
// order, so every value gives the same bits.
#pragma once

#include "reference/simple_gla/chunked.hpp"

namespace groundstate::simple_gla {

// The halving rule of launchers that need num_steps to divide the number of chunks:
// while s > 1 and chunks % s != 0, s := floor(s / 2). 6 chunks with 4 give 2; 9 with 4 give 1.
inline Index effective_num_steps(Index chunks, Index requested) {
  Index steps = std::max<Index>(requested, 1);
  while (steps > 1 && chunks % steps != 0) steps /= 2;
  return steps;
}

struct FusedTiles {
  Index chunk, num_steps;
  Index key_tile = 0, value_tile = 0;  // 0: all columns
  bool peel_tail = false;  // packed sequences: keep num_steps and process the tail chunk by chunk
};

template <class Recipe>
Result<ScalarOf<Recipe>> fused(const Problem<ScalarOf<Recipe>>& p, const FusedTiles& tiles,
                               const Recipe& recipe = {}) {
  using Scalar = ScalarOf<Recipe>;
  Result<Scalar> r{Matrix<Scalar>::Zero(p.time(), p.value()), p.h0};
  const Index key_tile = tiles.key_tile > 0 ? tiles.key_tile : std::max<Index>(p.key(), 1);
  const Index value_tile = tiles.value_tile > 0 ? tiles.value_tile : std::max<Index>(p.value(), 1);
  const Index chunks = number_of_chunks(p.time(), tiles.chunk);
  const Index steps = tiles.peel_tail ? std::max<Index>(tiles.num_steps, 1)
                                      : effective_num_steps(chunks, tiles.num_steps);
  for (Index value = 0; value < p.value(); value += value_tile) {
    const Index values = std::min(value_tile, p.value() - value);
    for (Index key = 0; key < p.key(); key += key_tile) {
      const Index keys = std::min(key_tile, p.key() - key);
      Matrix<Scalar> state = p.h0.block(key, value, keys, values);
      for (Index outer = 0; outer < chunks; outer += steps)
        for (Index c = outer; c < std::min(outer + steps, chunks); ++c) {
          const Index begin = c * tiles.chunk, count = std::min(tiles.chunk, p.time() - begin);
          const Chunk<Recipe> chunk(p, begin, count, key, keys, value, values);
          const Matrix<Scalar> part = unscaled_output<Recipe>(chunk, state);
          auto sum = r.o.block(begin, value, count, values);
          if (key == 0)
            sum = part;
          else
            sum += part;
          update_state<Recipe>(chunk, state, recipe);
        }
      r.ht.block(key, value, keys, values) = state;
    }
  }
  r.o *= output_scale<Recipe>(p);
  return r;
}

}  // namespace groundstate::simple_gla
