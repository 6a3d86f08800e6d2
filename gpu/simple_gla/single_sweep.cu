// The kernel of a sweep (sweep.hpp) of fp32 tensors: fp32 fma on operands in shared memory.
//
// A CTA of eight warps owns one segment of a sequence, one value head and 64 or 128 columns of a.
// R^T stays in shared memory, [columns of b][columns of a], beside one chunk of the operands, which
// lie as in device memory. In every product a warp has an eighth of the rows and a lane its
// columns:
//   c R^T -> y, c b^T -> A    8 tokens; 2 or 4 columns of a, 2 tokens of A; c is read for both
//   b^T a~ -> R^T             columns of b; the same 2 or 4 of a
//   A a -> y                  8 tokens, and of A those that came before; the same 2 or 4 of a
// so one operand is the same word for a whole warp, the other is adjacent words, and none is
// transposed. Every sum is one fma a term, over columns in ascending order and over tokens in that
// of processing: the bits depend on no tile.
//
// Copies (cp.async) travel behind products that do not need them: a behind those with c, the next c
// behind the update of R, the next b behind A a. num_steps has nothing to choose.
//
// Rounding: y, A, a~, R and every sum are fp32; the factors of rows and of R are exact to fp32,
// those between two tokens to 2 ulp.
//
// Limits: up to 256 columns of b, above 128 with 64 of a; 227 KiB of shared memory.
//
// Minimal bytes a token and value head: 4 (2 K + 2 V) + 4 for g; flop 2 C (K + V) + 4 K V, which
// take longer at 60 TFLOP/s. Measured, the products take about 1.5 clocks an fma of a warp, as many
// as its conflicts of register banks say; the rest of a chunk is a sixth of the time.
#include "gpu/core/async_copy.cuh"
#include "gpu/core/check.hpp"
#include "gpu/simple_gla/single_sweep.hpp"
#include "gpu/simple_gla/sweep_work.cuh"

namespace groundstate::gpu::simple_gla {
namespace {

// ---- tile

constexpr int warps = 8, threads = warps * warp_threads, block_columns = 64;
constexpr int warp_tokens = chunk_length / warps;
static_assert(warps == warps_of_block(ElementType::float32));

// keys: columns of b, more are zeros; columns: of a.
template <int keys_, int columns_>
struct Tile {
  static constexpr int keys = keys_, columns = columns_;
  static constexpr int warp_keys = keys / warps, lane_columns = columns / warp_threads;
  static constexpr int block_lanes = block_columns / lane_columns;
};

// A thread's columns of a row.
template <class Tile>
struct alignas(4 * Tile::lane_columns) Columns {
  float x[Tile::lane_columns];
};
template <class Tile>
__device__ Columns<Tile>& columns_at(float* p) {
  return *reinterpret_cast<Columns<Tile>*>(p);
}
template <class Tile>
__device__ const Columns<Tile>& columns_at(const float* p) {
  return *reinterpret_cast<const Columns<Tile>*>(p);
}

// ---- shared storage

template <class Tile>
struct alignas(16) Shared {
  static constexpr int key_stride = Tile::keys + 4;  // lanes that read a column meet every bank
  float query[chunk_length * Tile::keys];
  float key[chunk_length * key_stride];
  float value[chunk_length * Tile::columns];
  float scores[chunk_length * chunk_length];
  float state[Tile::keys * Tile::columns];  // R^T
  ChunkGates gates;
};

struct Arguments : Sweep {
  Purpose purpose;
  bool vector_loads, vector_stores;  // 16 bytes at a time
};

// Where a thread works. Of the tokens, later ones have more scores: each of the four partitions of
// a multiprocessor has warps w and w + 4, and as much to do as the others.
template <class Tile>
struct Thread {
  int warp = warp_index(), lane = lane_index();
  int first_token = (warp < warps / 2 ? warp : 3 * warps / 2 - 1 - warp) * warp_tokens;
  int first_key = warp * Tile::warp_keys;
  int first_column = lane * Tile::lane_columns;  // of the tile
};

// ---- phase: load

// A chunk of x by cp.async, `columns` from first_column on; what does not exist becomes zero.
template <int columns, int stride>
__device__ void load_rows(float* to, const Operand& x, const Work& w, int chunk, int first_column,
                          bool vectors) {
  const Rows rows = w.range.rows(chunk);
  const int left = static_cast<int>(x.columns) - first_column;
  const float* const from = static_cast<const float*>(x.data) +
                            x.offset(w.range.batch, w.range.first_token(chunk), w.head_of(x)) +
                            first_column * x.column;
  const auto load = [&]<int width>() {
    constexpr int pieces = columns / width, step = threads / pieces;
    const int first = static_cast<int>(threadIdx.x) / pieces,
              column = static_cast<int>(threadIdx.x) % pieces * width;
    const int bytes = 4 * max(0, min(width, left - column));
    const float* piece = from + first * x.time + column * x.column;
#pragma unroll 4
    for (int row = first; row < chunk_length; row += step, piece += step * x.time)
      copy_async<4 * width>(to + row * stride + column, piece, rows.have(row) ? bytes : 0);
  };
  if (vectors) [[likely]]
    load.template operator()<4>();
  else
    load.template operator()<1>();
}

// ---- phase: products

__device__ inline float component(const float4& x, int i) {
  return i == 0 ? x.x : i == 1 ? x.y : i == 2 ? x.z : x.w;
}

template <class Tile>
using Output = Columns<Tile>[warp_tokens];
using Scores = float[warp_tokens][2];  // columns: the lane's, and 32 more

// y := c R^T and scores := c b^T of the warp's tokens, together, since both read c.
template <class Tile>
__device__ void multiply_query(const Shared<Tile>& shared, const Thread<Tile>& at, Output<Tile>& y,
                               Scores& scores) {
  const float* const query = shared.query + at.first_token * Tile::keys;
  const float* const key = shared.key + at.lane * Shared<Tile>::key_stride;
  const float* const state = shared.state + at.first_column;
#pragma unroll 2
  for (int k = 0; k < Tile::keys; k += 4) {
    Columns<Tile> states[4];
    float4 keys[2];
#pragma unroll
    for (int q = 0; q < 4; ++q) states[q] = columns_at<Tile>(state + (k + q) * Tile::columns);
#pragma unroll
    for (int h = 0; h < 2; ++h)
      keys[h] =
          *reinterpret_cast<const float4*>(key + h * warp_threads * Shared<Tile>::key_stride + k);
#pragma unroll
    for (int r = 0; r < warp_tokens; ++r) {
      const float4 own = *reinterpret_cast<const float4*>(query + r * Tile::keys + k);
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        const float x = component(own, q);
#pragma unroll
        for (int e = 0; e < Tile::lane_columns; ++e) y[r].x[e] = fmaf(x, states[q].x[e], y[r].x[e]);
#pragma unroll
        for (int h = 0; h < 2; ++h) scores[r][h] = fmaf(x, component(keys[h], q), scores[r][h]);
      }
    }
  }
}

// A, from the scores of the warp's tokens.
template <class Tile>
__device__ void write_scores(Shared<Tile>& shared, const Thread<Tile>& at, const Scores& scores,
                             float scale, bool reverse) {
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int j = at.lane + h * warp_threads;
    const float2 from = shared.gates.sum[j];
#pragma unroll
    for (int r = 0; r < warp_tokens; ++r) {
      const int i = at.first_token + r;
      const float decay = decay_between<Accuracy::of_fp32>(from, shared.gates.sum[i]) * scale;
      const bool later = reverse ? j < i : j > i;
      shared.scores[i * chunk_length + j] = later ? 0 : scores[r][h] * decay;
    }
  }
}

// y := y + A a of the warp's tokens, in the order of processing; A has nothing of later tokens.
template <bool reverse, class Tile>
__device__ void multiply_scores(const Shared<Tile>& shared, const Thread<Tile>& at,
                                Output<Tile>& y) {
  const float* const scores = shared.scores + at.first_token * chunk_length;
  const float* const value = shared.value + at.first_column;
  const int count = reverse ? chunk_length - at.first_token : at.first_token + warp_tokens;
#pragma unroll 2
  for (int done = 0; done < count; done += 4) {
    const int first = reverse ? chunk_length - 4 - done : done;
    Columns<Tile> values[4];
#pragma unroll
    for (int q = 0; q < 4; ++q) values[q] = columns_at<Tile>(value + (first + q) * Tile::columns);
#pragma unroll
    for (int r = 0; r < warp_tokens; ++r) {
      const float4 own = *reinterpret_cast<const float4*>(scores + r * chunk_length + first);
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        const int q = reverse ? 3 - n : n;
#pragma unroll
        for (int e = 0; e < Tile::lane_columns; ++e)
          y[r].x[e] = fmaf(component(own, q), values[q].x[e], y[r].x[e]);
      }
    }
  }
}

// R := exp(G_last) R + a~^T b, in the order of processing: what has decayed most is added first,
// while the sum is small.
template <class Tile>
__device__ void update_state(Shared<Tile>& shared, const Thread<Tile>& at, bool reverse) {
  Columns<Tile> gathered[Tile::warp_keys]{};
  const int first = reverse ? chunk_length - 1 : 0, step = reverse ? -1 : 1;
  const float* key = shared.key + first * Shared<Tile>::key_stride + at.first_key;
  const float* value = shared.value + first * Tile::columns + at.first_column;
  const float* until_end = shared.gates.until_end + first;
#pragma unroll 4
  for (int n = 0; n < chunk_length; ++n) {
    Columns<Tile> decayed = columns_at<Tile>(value);
#pragma unroll
    for (float& x : decayed.x) x *= *until_end;
#pragma unroll
    for (int k = 0; k < Tile::warp_keys; k += 4) {
      const float4 keys = *reinterpret_cast<const float4*>(key + k);
#pragma unroll
      for (int q = 0; q < 4; ++q)
#pragma unroll
        for (int e = 0; e < Tile::lane_columns; ++e)
          gathered[k + q].x[e] = fmaf(component(keys, q), decayed.x[e], gathered[k + q].x[e]);
    }
    key += step * Shared<Tile>::key_stride;
    value += step * Tile::columns;
    until_end += step;
  }
  const float decay = shared.gates.decay;
#pragma unroll
  for (int k = 0; k < Tile::warp_keys; ++k) {
    Columns<Tile>& state =
        columns_at<Tile>(shared.state + (at.first_key + k) * Tile::columns + at.first_column);
#pragma unroll
    for (int e = 0; e < Tile::lane_columns; ++e)
      state.x[e] = fmaf(decay, state.x[e], gathered[k].x[e]);
  }
}

// ---- phase: state in and out

struct Element {
  int key, column;  // of the tile
};
// Element i of R^T such that neighbours are adjacent in device memory, eight of them at least.
template <class Tile>
__device__ Element element(bool keys_first, int i) {
  if (!keys_first) return {i / Tile::columns, i % Tile::columns};
  return {i % 8 + i / 32 % (Tile::keys / 8) * 8, i / 8 % 4 + i / (4 * Tile::keys) * 4};
}
template <class View>
__device__ bool keys_first(const View& tensor) {
  return tensor.template stride<Key>() < tensor.template stride<Value>();
}

template <class Tile>
__device__ void load_state(const Sweep& s, const Work& w, Shared<Tile>& shared) {
  const auto& tensor = s.initial_state;
  const bool by_key = keys_first(tensor);
  constexpr int all = Tile::keys * Tile::columns, batch = 16;
#pragma unroll 1
  for (int first = static_cast<int>(threadIdx.x); first < all; first += batch * threads) {
    std::uint32_t bits[batch];  // all loads travel together
#pragma unroll
    for (int i = 0; i < batch; ++i) {
      const auto [key, column] = element<Tile>(by_key, first + i * threads);
      const Index row = w.first_column + column;
      bits[i] = load_bits(tensor, row < s.value.columns && key < s.key.columns,
                          Sequence{w.sequence}, ValueHead{w.head}, Value{row}, Key{key});
    }
#pragma unroll
    for (int i = 0; i < batch; ++i) {
      const auto [key, column] = element<Tile>(by_key, first + i * threads);
      shared.state[key * Tile::columns + column] = from_bits(tensor.type(), bits[i]);
    }
  }
}

template <class Tile>
__device__ void store_state(const Sweep& s, const Work& w, const Shared<Tile>& shared,
                            float decay) {
  const auto& tensor = s.final_state;
  const bool by_key = keys_first(tensor);
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < Tile::keys * Tile::columns; i += threads) {
    const auto [key, column] = element<Tile>(by_key, i);
    const Index row = w.first_column + column;
    if (row < s.value.columns && key < s.key.columns)
      store(tensor, decay * shared.state[key * Tile::columns + column], Sequence{w.sequence},
            ValueHead{w.head}, Value{row}, Key{key});
  }
}

// Blocks of 64 columns of a in the workspace, where a thread has the elements that it has in the
// products. Calls use(of the state, of the block) for each of its rows.
template <class Tile, class Use>
__device__ void with_block(Shared<Tile>& shared, const Thread<Tile>& at, float* block, Use&& use) {
#pragma unroll 4
  for (int k = at.first_key; k < at.first_key + Tile::warp_keys; ++k)
    use(columns_at<Tile>(shared.state + k * Tile::columns + at.first_column),
        columns_at<Tile>(block + k * block_columns + at.first_column % block_columns));
}
template <class Tile>
__device__ void keep_state(Shared<Tile>& shared, const Thread<Tile>& at, float* block) {
  with_block(shared, at, block,
             [](const Columns<Tile>& state, Columns<Tile>& kept) { kept = state; });
}

// ---- phase: outputs

// y and own of the warp's tokens, in the lane's columns.
template <class Tile>
class TokenColumns {
 public:
  __device__ TokenColumns(const Operand& x, const Work& w, const Thread<Tile>& at, bool vectors)
      : time_(x.time), column_(x.column), vectors_(vectors) {
    const int first = w.first_column + at.first_column;
    left_ = static_cast<int>(x.columns) - first;
    data_ = static_cast<float*>(const_cast<void*>(x.data)) +
            x.offset(w.range.batch, at.first_token, w.head_of(x)) + first * x.column;
  }
  // Those of a row that does not exist are zeros.
  __device__ Columns<Tile> load(int first_token, int r, bool exists) const {
    Columns<Tile> x{};
    const float* const from = data_ + (first_token + r) * time_;
    if (!exists || left_ <= 0) return x;
    if (vectors_) return columns_at<Tile>(from);
#pragma unroll
    for (int e = 0; e < Tile::lane_columns; ++e)
      if (e < left_) x.x[e] = from[e * column_];
    return x;
  }
  __device__ void store(const Columns<Tile>& x, int first_token, int r) const {
    float* const to = data_ + (first_token + r) * time_;
    if (left_ <= 0) return;
    if (vectors_) {
      columns_at<Tile>(to) = x;
      return;
    }
#pragma unroll
    for (int e = 0; e < Tile::lane_columns; ++e)
      if (e < left_) to[e * column_] = x.x[e];
  }

 private:
  float* data_;
  Index time_, column_;
  int left_;
  bool vectors_;
};

// ---- phase: gate part

// Sums over pairs of the lane's columns. Those of a block of 64 columns are added in the same order
// whether a lane has one pair or two.
template <class Tile>
using PairSums = float[Tile::lane_columns / 2];

template <class Tile>
__device__ void add_pairs(PairSums<Tile>& sums, const Columns<Tile>& a, const Columns<Tile>& b) {
#pragma unroll
  for (int p = 0; p < Tile::lane_columns / 2; ++p)
    sums[p] = fmaf(a.x[2 * p], b.x[2 * p], fmaf(a.x[2 * p + 1], b.x[2 * p + 1], sums[p]));
}
// In all lanes that have columns of the block.
template <class Tile>
__device__ float sum_of_block(const PairSums<Tile>& sums) {
  float sum = sums[0];
  if constexpr (Tile::lane_columns == 4) sum += sums[1];
  for (int distance = 1; distance < Tile::block_lanes; distance *= 2)
    sum += __shfl_xor_sync(~0u, sum, distance);
  return sum;
}

// What the last chunk of a group leaves before the state is updated; y is still exp(G_i) (c R^T).
template <class Tile>
__device__ void write_gate_part(const Arguments& s, Shared<Tile>& shared, const Thread<Tile>& at,
                                Index block, bool exists, const Output<Tile>& own,
                                const Output<Tile>& y) {
  float* const kept =
      reinterpret_cast<float*>(s.gate_part.states) + block * Tile::keys * block_columns;
  if (s.purpose == Purpose::keep_states) {
    if (exists && s.gate_part.states != nullptr) keep_state(shared, at, kept);
    return;
  }
  PairSums<Tile> products{}, dots{};
  if (exists)
    with_block(shared, at, kept, [&](const Columns<Tile>& state, const Columns<Tile>& other) {
      add_pairs<Tile>(products, state, other);
    });
#pragma unroll
  for (int r = 0; r < warp_tokens; ++r) add_pairs<Tile>(dots, own[r], y[r]);
  const float2 sums{shared.gates.decay * sum_of_block<Tile>(products), sum_of_block<Tile>(dots)};
  if (exists && at.lane % Tile::block_lanes == 0)
    s.gate_part.products[block * warps + at.warp] = sums;
}

// ---- kernel

template <class Tile, bool with_own>
__global__ void __launch_bounds__(threads, 1)
    single_sweep_kernel(const __grid_constant__ Arguments s) {
  extern __shared__ __align__(16) unsigned char memory[];
  auto& shared = *reinterpret_cast<Shared<Tile>*>(memory);
  const Thread<Tile> at;
  const bool with_output = s.purpose != Purpose::states, reverse = s.order.reverse,
             in_chunks = s.chunk_states.data != nullptr;
  const Work w = work_of(s, Tile::columns, with_output, static_cast<int>(blockIdx.x));
  const Index block = (w.first_column + at.first_column) / block_columns;
  const bool exists = block < blocks_of(s.value.columns);
  constexpr Index block_elements = Tile::keys * block_columns;
  const auto segment_state = [&](int segment) {
    return reinterpret_cast<float*>(s.segments.states) +
           (segment_block(s, w, segment) + block) * block_elements;
  };
  const auto chunk_state = [&](int chunk) {
    return static_cast<float*>(s.chunk_states.data) +
           (gate_place(s, w, chunk).first + block) * block_elements;
  };
  const auto load_query = [&](int c) {
    if (with_output)
      load_rows<Tile::keys, Tile::keys>(shared.query, s.query, w, c, 0, s.vector_loads);
  };
  const auto load_key = [&](int c) {
    load_rows<Tile::keys, Shared<Tile>::key_stride>(shared.key, s.key, w, c, 0, s.vector_loads);
  };
  // By the warp that has the fewest scores to multiply meanwhile.
  const bool makes_gates = at.warp == (reverse ? warps / 2 : 0);
  GateStream stream(s.gates, w.range, w.head);
  TwoFloat total{0, 0};  // of the segment
  const auto make_gates = [&] {
    const float d[2]{stream.log_decay(0), stream.log_decay(1)};
    const bool there[2]{stream.exists(0), stream.exists(1)};
    stream.fetch();
    const TwoFloat last = write_gates<Accuracy::of_fp32>(shared.gates, d, there, reverse,
                                                         s.read_scale, s.update_scale);
    total = add(total, last);
  };

  const int first_chunk = w.range.first_chunk, end = first_chunk + w.range.chunks;
  if (makes_gates) stream.fetch();
  if (first_chunk < end) {
    load_query(first_chunk);
    load_key(first_chunk);
  }
  if (with_output && (in_chunks ? first_chunk < end : w.segment > 0))
    with_block(shared, at, in_chunks ? chunk_state(first_chunk) : segment_state(w.segment),
               [&](Columns<Tile>& state, const Columns<Tile>& kept) {
                 state = exists ? kept : Columns<Tile>{};
               });
  else if (w.segment == 0 && s.initial_state)
    load_state(s, w, shared);
  else
    for (int i = static_cast<int>(threadIdx.x); i < Tile::keys * Tile::columns; i += threads)
      shared.state[i] = 0;
  if (makes_gates && first_chunk < end) make_gates();
  wait_copies();
  __syncthreads();

  const TokenColumns<Tile> output(s.output, w, at, s.vector_stores);
  for (int c = first_chunk; c < end; ++c) {
    const Rows rows = w.range.rows(c);
    const int first_token = w.range.first_token(c);
    load_rows<Tile::columns, Tile::columns>(shared.value, s.value, w, c, w.first_column,
                                            s.vector_loads);
    [[maybe_unused]] Output<Tile> own;
    if constexpr (with_own) {
      const TokenColumns<Tile> from(s.own, w, at, s.vector_loads && s.vector_stores);
#pragma unroll
      for (int r = 0; r < warp_tokens; ++r)
        own[r] = from.load(first_token, r, rows.have(at.first_token + r));
    }

    if (!with_output && in_chunks && exists) keep_state(shared, at, chunk_state(c));

    // y = exp(G_i) (c R^T), and A
    Output<Tile> y{};
    if (with_output) {
      Scores scores{};
      multiply_query(shared, at, y, scores);
      write_scores(shared, at, scores, s.score_scale, reverse);
#pragma unroll
      for (int r = 0; r < warp_tokens; ++r)
#pragma unroll
        for (float& x : y[r].x) x *= shared.gates.from_start[at.first_token + r];
    }
    wait_copies();
    __syncthreads();

    if (c + 1 < end) load_query(c + 1);
    if constexpr (with_own) {
      const GatePlace place = gate_place(s, w, c);
      if (place.ends_group) write_gate_part(s, shared, at, place.first + block, exists, own, y);
    }
    update_state(shared, at, reverse);
    __syncthreads();

    if (c + 1 < end) {
      load_key(c + 1);
      if (makes_gates) make_gates();
    }
    // y := y + A a
    if (with_output) {
      if (reverse)
        multiply_scores<true>(shared, at, y);
      else
        multiply_scores<false>(shared, at, y);
#pragma unroll
      for (int r = 0; r < warp_tokens; ++r)
        if (rows.have(at.first_token + r)) output.store(y[r], first_token, r);
    }
    if constexpr (with_own) {
      const Index first = (block * s.batch + w.range.batch) * s.time + first_token;
#pragma unroll
      for (int r = 0; r < warp_tokens; ++r) {
        PairSums<Tile> pairs{};
        add_pairs<Tile>(pairs, own[r], y[r]);
        const float dot = sum_of_block<Tile>(pairs);
        const int row = at.first_token + r;
        if (at.lane % Tile::block_lanes == 0 && exists && rows.have(row))
          s.gate_part.dots[(first + row) * s.heads + w.head] = dot;
      }
    }
    wait_copies();
    __syncthreads();
  }

  if (!with_output && !in_chunks) {
    if (exists) keep_state(shared, at, segment_state(w.segment + 1));
    if (w.first_column == 0 && makes_gates && at.lane == 0)
      s.segments.decays[(Index{w.sequence} * s.segments.count + w.segment) * s.heads + w.head] =
          exp_of<Accuracy::of_fp32>(total);
  } else if (s.final_state && w.segment + 1 == s.segments.count) {
    store_state(s, w, shared, s.decay_final_state && w.range.length > 0 ? last_decay(s, w) : 1);
  }
}

// ---- launch

// Whether 16 bytes can be moved at a time.
bool takes_vectors(const Operand& x) {
  const auto whole = [](Index stride) { return stride % 4 == 0; };
  return reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0 && x.column == 1 && whole(x.batch) &&
         whole(x.time) && whole(x.head);
}

template <class Tile, bool with_own>
void launch_tile(const Arguments& s, cudaStream_t stream) {
  constexpr std::size_t bytes = sizeof(Shared<Tile>);
  static_assert(bytes <= most_shared_bytes);
  const unsigned ctas = number_of_ctas(s, Tile::columns, s.purpose != Purpose::states);
  if (ctas == 0) return;
  const auto kernel = single_sweep_kernel<Tile, with_own>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  kernel<<<ctas, threads, bytes, stream>>>(s);
  check(cudaGetLastError());
}

// The smallest tile that has the columns of b.
template <bool with_own>
void launch(const Arguments& s, bool wide, cudaStream_t stream) {
  if (s.key.columns > 128) return launch_tile<Tile<256, 64>, with_own>(s, stream);
  if (s.key.columns > 64)
    return wide ? launch_tile<Tile<128, 128>, with_own>(s, stream)
                : launch_tile<Tile<128, 64>, with_own>(s, stream);
  return wide ? launch_tile<Tile<64, 128>, with_own>(s, stream)
              : launch_tile<Tile<64, 64>, with_own>(s, stream);
}

}  // namespace

void run_single_sweep(Purpose purpose, const Sweep& sweep, int value_blocks, cudaStream_t stream) {
  const bool with_output = purpose != Purpose::states, with_own = reads_own(purpose);
  Arguments s{sweep, purpose, false, false};
  s.vector_loads = takes_vectors(s.key) && takes_vectors(s.value) &&
                   (!with_output || takes_vectors(s.query)) && (!with_own || takes_vectors(s.own));
  s.vector_stores = with_output && takes_vectors(s.output) && s.output.columns % 4 == 0;
  if (with_own)
    launch<true>(s, value_blocks == 2, stream);
  else
    launch<false>(s, value_blocks == 2, stream);
}

}  // namespace groundstate::gpu::simple_gla
