// One token on a tile of the state, by the 128 threads of a CTA.
//
//   S[i, j] := decay S[i, j]                     rounded
//   S[i, j] := fma(key[i], value[j], S[i, j])
//   o[j]     = sum_i query[i] S[i, j]
//
// The tile has all rows of the state and 8 x `columns` of its columns. Thread (group, lane) owns
// the rows [group R, group R + R) of the columns [lane `columns`, ...): with 16 groups, R =
// rows_of(rows). Its sum is one fma a row, ascending; the groups are added in pairs within a warp,
// ((0 + 1) + (2 + 3)), then the warps in ascending order. So the order of a sum follows from the
// number of rows alone: a call with many tokens, calls with few and any tiling of the columns have
// the same bits. Rows beyond the last are zero, which is neutral.
//
// Tokens are staged in shared memory, a block at a time; a block costs two barriers.
#pragma once

#include <algorithm>

#include "gpu/core/arriving.cuh"
#include "gpu/simple_gla/recurrence.hpp"

namespace groundstate::gpu::simple_gla {

// ---- tile

inline constexpr int threads = 128, lanes = 8, groups = threads / lanes, warp = 32,
                     warps = threads / warp;

// Rows of a group, a multiple of 4.
constexpr int rows_of(Index rows) {
  for (const int own : {4, 8, 16, 32})
    if (rows <= Index{groups} * own) return own;
  return static_cast<int>((rows + groups * 4 - 1) / (groups * 4) * 4);
}

template <class Scalar, int columns>
struct Row {
  Scalar at[columns];
};

// A thread's part of the state: in registers for a number of rows known at compile time, in the
// workspace (rows_ = 0) for any.
template <class Scalar, int rows_, int columns_>
class Fragment {
 public:
  static constexpr int columns = columns_;
  static constexpr bool in_registers = true;
  __device__ Fragment(Scalar* /*workspace*/, int /*rows*/) {}
  static constexpr __device__ int rows() { return rows_; }
  __device__ Scalar& operator()(int i, int j) { return state_[i].at[j]; }
  __device__ Row<Scalar, columns> row(int i) const { return state_[i]; }
  __device__ void set_row(int i, const Row<Scalar, columns>& s) { state_[i] = s; }

 private:
  Row<Scalar, columns> state_[rows_];
};
template <class Scalar, int columns_>
class Fragment<Scalar, 0, columns_> {
 public:
  static constexpr int columns = columns_;
  static constexpr bool in_registers = false;
  // `workspace` has fragment_elements() of the CTA's own.
  __device__ Fragment(Scalar* workspace, int rows) : state_(workspace + threadIdx.x), rows_(rows) {}
  __device__ int rows() const { return rows_; }
  __device__ Scalar& operator()(int i, int j) { return state_[(Index{i} * columns + j) * threads]; }
  __device__ Row<Scalar, columns> row(int i) {
    Row<Scalar, columns> s;
#pragma unroll
    for (int j = 0; j < columns; ++j) s.at[j] = (*this)(i, j);
    return s;
  }
  __device__ void set_row(int i, const Row<Scalar, columns>& s) {
#pragma unroll
    for (int j = 0; j < columns; ++j) (*this)(i, j) = s.at[j];
  }

 private:
  Scalar* state_;
  int rows_;
};
constexpr Index fragment_elements(Index rows, int columns) {
  return Index{rows_of(rows)} * columns * threads;
}

// Where a CTA works: one sequence, one value head, some columns.
struct Place {
  Index batch, sequence, head;
  Index begin, length;  // tokens
  bool reverse;
  Index first_column;
  __device__ Index token(Index t) const { return reverse ? begin + length - 1 - t : begin + t; }
};

// Of a tile; a CTA may have several.
__device__ inline int thread() { return static_cast<int>(threadIdx.x) % threads; }
__device__ inline int group() { return thread() / lanes; }
__device__ inline int lane() { return thread() % lanes; }

// Calls use(element of the fragment, row, column, inside the state).
template <class Part, class Use>
__device__ void for_each_element(Part& state, const Place& at, Index rows, Index columns,
                                 Use&& use) {
#pragma unroll
  for (int i = 0; i < state.rows(); ++i)
#pragma unroll
    for (int j = 0; j < Part::columns; ++j) {
      const Index row = Index{group()} * state.rows() + i,
                  column = at.first_column + lane() * Part::columns + j;
      use(state(i, j), row, column, row < rows && column < columns);
    }
}

// ---- shared storage

// Of a block of tokens. Everything is [token][...]; a row of query and key has `padded` elements,
// 16 R, one of value `width`, those of the tile.
template <class Scalar>
struct Tokens {
  int padded, width;
  Scalar *query, *key, *value, *decay, *partial;

  static constexpr Index elements_per_token(int padded, int width) {
    return 2 * Index{padded} + Index{width} * (1 + warps) + 4;  // 4: the decay, aligned
  }
  __device__ Tokens(std::byte* shared, int block, int padded, int width)
      : padded(padded), width(width) {
    query = reinterpret_cast<Scalar*>(shared);
    key = query + block * padded;
    value = key + block * padded;
    partial = value + block * width;
    decay = partial + block * width * warps;
  }
  // For a tile that begins at a column of them.
  __device__ Tokens from(int column) const {
    Tokens own = *this;
    own.value += column;
    own.partial += column;
    return own;
  }
};

inline constexpr Index shared_limit = 227 * 1024;

// Tokens of a block and bytes of shared memory: as many tokens as fit 40 KiB, so that several CTAs
// fit a multiprocessor, at most 16, at least one.
struct Block {
  int tokens;
  std::size_t bytes;
};
template <class Scalar>
Block block_of(Index rows, int columns, Index most) {
  const Index token = Tokens<Scalar>::elements_per_token(groups * rows_of(rows), lanes * columns) *
                      static_cast<Index>(sizeof(Scalar));
  const Index tokens = std::clamp<Index>(40 * 1024 / token, 1, std::clamp<Index>(most, 1, 16));
  return {static_cast<int>(tokens), static_cast<std::size_t>(tokens * token)};
}

// ---- phases

template <class Scalar>
__device__ Scalar log_decay(const Gates& gates, const Place& at, Index t) {
  const ValueHead head{at.head};
  const Scalar g =
      gates.token ? load<Scalar>(gates.token, Batch{at.batch}, Time{at.token(t)}, head) : Scalar(0);
  return g + (gates.constant ? load<Scalar>(gates.constant, head) : Scalar(0));
}
// By way of fp64, once a token: the error of a decay grows with every token that it acts on, and
// expf has two ulp of it.
__device__ inline float exponential(float x) {
  return static_cast<float>(exp(static_cast<double>(x)));
}
__device__ inline double exponential(double x) { return exp(x); }

// The channels [first_channel, first_channel + width) of `count` tokens, scaled; zero beyond the
// last channel. The first `done` of them are there.
template <class Scalar>
__device__ void stage(const TokenInput& x, const Place& at, Index first, int count,
                      Index first_channel, int width, Index channels, Scalar* to, int done = 0) {
  const Index base = at.batch * x.batch + static_cast<int>(at.head) / x.group * x.head;
  const auto scale = static_cast<Scalar>(x.scale);
  with_type(x.type, x.data, [&](const auto* data) {
#pragma unroll 1  // registers belong to the state
    for (int i = static_cast<int>(threadIdx.x) + done; i < count * width; i += threads) {
      const int t = i / width;
      const Index channel = first_channel + (i - t * width);
      to[i] = channel < channels
                  ? scale * load<Scalar>(
                                data[base + at.token(first + t) * x.time + channel * x.channel])
                  : Scalar(0);
    }
  });
}

// What stage() brings of channels that exist, unscaled, as a list of elements.
__device__ inline ElementList token_elements(const TokenInput& x, const Place& at, Index first,
                                             Index first_channel, int width) {
  return {x.type,
          x.data,
          at.batch * x.batch + static_cast<int>(at.head) / x.group * x.head +
              at.token(first) * x.time + first_channel * x.channel,
          at.reverse ? -x.time : x.time,
          x.channel,
          width};
}

// The decays that act when `count` tokens are processed; `later`: each is that of the token before.
template <class Scalar>
__device__ void stage_decays(const Gates& gates, const Place& at, Index first, int count,
                             bool later, Scalar* to) {
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < count; i += threads) {
    const Index t = first + i - (later ? 1 : 0);
    to[i] = t < 0 ? Scalar(1) : exponential(log_decay<Scalar>(gates, at, t));
  }
}

// Four rows of a staged token.
template <class Scalar>
struct alignas(16) FourRows {
  Scalar row[4];
};

__device__ inline float times(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double times(double a, double b) { return __dmul_rn(a, b); }

// S[i, j] of the header, rounded to `Stored`.
template <class Stored, class Scalar>
__device__ Scalar advanced(Scalar state, Scalar decay, Scalar key, Scalar value) {
  const Scalar s = fma(key, value, times(decay, state));
  if constexpr (sizeof(Stored) < sizeof(Scalar)) return load<Scalar>(rounded<Stored>(s));
  return s;
}

// Token `t` of the block, and its partial sums over the groups of each warp. The state is rounded
// to `Stored` as it is written.
template <class Stored, class Scalar, class Part>
__device__ void advance(Part& state, const Tokens<Scalar>& tokens, int t) {
  constexpr int columns = Part::columns;
  const int first = group() * state.rows();
  const Scalar decay = tokens.decay[t];
  Scalar value[columns], sum[columns];
#pragma unroll
  for (int j = 0; j < columns; ++j) {
    value[j] = tokens.value[t * tokens.width + lane() * columns + j];
    sum[j] = Scalar(0);
  }
  const auto* const keys =
      reinterpret_cast<const FourRows<Scalar>*>(tokens.key + t * tokens.padded + first);
  const auto* const queries =
      reinterpret_cast<const FourRows<Scalar>*>(tokens.query + t * tokens.padded + first);
#pragma unroll
  for (int four = 0; four < state.rows() / 4; ++four) {
    const FourRows<Scalar> key = keys[four], query = queries[four];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      auto s = state.row(four * 4 + i);
#pragma unroll
      for (int j = 0; j < columns; ++j) {
        s.at[j] = advanced<Stored>(s.at[j], decay, key.row[i], value[j]);
        sum[j] = fma(query.row[i], s.at[j], sum[j]);
      }
      state.set_row(four * 4 + i, s);
    }
  }
#pragma unroll
  for (int j = 0; j < columns; ++j) {
    sum[j] += __shfl_xor_sync(~0u, sum[j], lanes);
    sum[j] += __shfl_xor_sync(~0u, sum[j], 2 * lanes);
  }
  if (thread() % warp < lanes) {
    const int own = thread() / warp;
#pragma unroll
    for (int j = 0; j < columns; ++j)
      tokens.partial[(t * warps + own) * tokens.width + lane() * columns + j] = sum[j];
  }
}

// The outputs of a block, from the sums of the warps.
template <class Scalar>
__device__ void write_outputs(const TokenOutput& y, const Place& at, Index first, int count,
                              Index columns, const Tokens<Scalar>& tokens,
                              Crew crew = {thread(), threads}) {
  const Index base = at.batch * y.batch + at.head * y.head;
  with_type(y.type, y.data, [&]<class Stored>(Stored* data) {
#pragma unroll 1
    for (int i = crew.thread; i < count * tokens.width; i += crew.threads) {
      const int t = i / tokens.width, j = i - t * tokens.width;
      const Index column = at.first_column + j;
      if (column >= columns) continue;
      Scalar sum = tokens.partial[t * warps * tokens.width + j];
#pragma unroll
      for (int w = 1; w < warps; ++w) sum += tokens.partial[(t * warps + w) * tokens.width + j];
      data[base + at.token(first + t) * y.time + column * y.channel] = rounded<Stored>(sum);
    }
  });
}

}  // namespace groundstate::gpu::simple_gla
