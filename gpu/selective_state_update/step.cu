// gpu.step: a few tokens on slots of a pool.
//
//   S[p, n] := fma(S[p, n], decay, (B[n] d) x[p])
//   y[p] = sum_n S[p, n] C[n],  out = (y + D x) silu(z)
//
// One token a lane on states of plain numbers goes by way of registers (direct_step.cu). What is
// here takes all the rest, with the same bits: states pass through shared memory
// (gpu/core/state_stream.cuh).
//
// An item is one lane, one head and as many rows p as fit 32 KB. A thread has 16 columns of a row,
// L threads all of them, and a warp goes through its share of the rows, 32 / L at a time: widened,
// advanced by all tokens, written back where they came from, or to the places of each token where
// there are several. y is summed within 16 bytes of a row, ascending n, then by halving over these
// pieces, in a thread and over its L threads. Of a single token B and C stay in registers.
//
// Rounding points: the state where it is stored (reference/core/encoding.hpp; the maximum of a row
// is exact), out as it is stored. exp and log1p are CUDA's in fp32.
// Limits: step_refusal().
// Bytes: 2 P N of the pool's type for each lane and head, beside the tokens; B 128, H 48, P 64,
// N 128 in fp32: 403 MB, 134 us at 3 TB/s. 5 P N flop a token: far below any limit.
// Measured on an H100, H48 P64 N128, B 32 / 128 (data/timings_h100.jsonl), by way of registers:
// fp32 states 41 / 144 us, 96 / 99 % of a copy of the same bytes, bf16 24 / 76 us, 94 / 96 %.
// Through shared memory: fp32 46 / 151 us, 85 / 94 %, bf16 33 / 87 us, 67 / 84 %: a step of 30 us
// loses some five to its beginning. int8 and fp8 are bound by the arithmetic of their encodings, 20
// to 26 %.
#include <array>
#include <bit>
#include <string>

#include "gpu/core/state_stream.cuh"
#include "gpu/selective_state_update/direct_step.hpp"
#include "gpu/selective_state_update/stored.cuh"

namespace groundstate::gpu::selective_state_update {
namespace {

namespace ptx = cuda::ptx;

// ---- tile

constexpr int warp = warp_threads, compute_warps = 4;
constexpr Index tile_bytes = 32 * 1024;

template <class Stored>
constexpr int elements = 16 / static_cast<int>(sizeof(Stored));  // of an access
constexpr int thread_columns = 16;  // of a row, in accesses that are L x elements apart

struct Arguments {
  DeviceInputs x;  // broadcast
  DeviceOutputs y;
  Options options;
  Shape n;
  unsigned heads, heads_a_group, tiles;
  int rows;           // of an item
  int threads_a_row;  // L, a power of two
  int tokens;         // at most, of a lane
};

// What an item is: the rows of one lane and head.
struct Where {
  Lane lane;
  Index sequence, head;
  int first_row, rows;

  __device__ bool is_empty() const { return lane.padding || lane.length == 0; }
};

// ---- shared storage

// The second part of a stage: all tokens of a lane, [token][...], and what its rows need.
struct Tokens {
  Where* at;
  Index* destination;
  float *B, *C;        // columns
  float *x, *z, *sum;  // rows
  float* d;            // 1 where the decay is tied, rows otherwise
  float* decay;        // 1 where it is tied
  float *D, *scale;    // rows, of no token

  static constexpr Index bytes(Index tokens, Index columns, Index rows) {
    return static_cast<Index>(sizeof(Where)) + tokens * static_cast<Index>(sizeof(Index)) +
           static_cast<Index>(sizeof(float)) * (tokens * (2 * columns + 4 * rows + 1) + 2 * rows);
  }
  __device__ Tokens(std::byte* shared, int tokens, int columns, int rows) {
    B = reinterpret_cast<float*>(shared);
    C = B + tokens * columns;
    at = reinterpret_cast<Where*>(C + tokens * columns);
    destination = reinterpret_cast<Index*>(at + 1);
    x = reinterpret_cast<float*>(destination + tokens);
    z = x + tokens * rows;
    sum = z + tokens * rows;
    d = sum + tokens * rows;
    decay = d + tokens * rows;
    D = decay + tokens;
    scale = D + rows;
  }
};

// ---- phases

template <class Stored>
struct alignas(16) Elements {
  Stored at[elements<Stored>];
};

// The sum over the threads of a row; every one of them gets it.
__device__ float sum_of_row(float y, int threads_a_row) {
#pragma unroll
  for (int other = warp / 2; other > 0; other /= 2)
    if (other < threads_a_row) y += __shfl_xor_sync(~0u, y, other);
  return y;
}
__device__ float maximum_of_row(float y, int threads_a_row) {
#pragma unroll
  for (int other = warp / 2; other > 0; other /= 2)
    if (other < threads_a_row) y = fmaxf(y, __shfl_xor_sync(~0u, y, other));
  return y;
}

// ---- kernel

// `stochastic` apart: the compiler computes what it can of random rounding before it looks.
template <class Stored, bool tied, bool stochastic>
struct Step {
  static constexpr int most_compute_threads = compute_warps * warp, resident_ctas = 2,
                       usual_stages = sizeof(Stored) > 2 ? 3 : 4;
  static constexpr int count = elements<Stored>, accesses = thread_columns / count;
  Arguments a;

  __device__ Where place(unsigned item) const {
    const unsigned problem = item / a.tiles;
    Where at;
    at.head = problem % a.heads;
    at.sequence = problem / a.heads;
    at.first_row = static_cast<int>(item % a.tiles) * a.rows;
    at.rows = min(a.rows, static_cast<int>(a.n.value) - at.first_row);
    at.lane = selective_state_update::lane(a.x, a.options, at.sequence, LoadIndex{});
    return at;
  }
  __device__ Tokens tokens_of(std::byte* shared) const {
    return {shared, a.tokens, static_cast<int>(a.n.state), a.rows};
  }

  // ---- load warp

  // What an item needs, as lists for Arriving: [token][column], [token][row], tokens, rows.
  template <class... Axes>
  static __device__ ElementList list(const DeviceView<const Any, Axes...>& x, Index first,
                                     Index outer, Index inner, int columns) {
    return {x.type(), x.data(), first, outer, inner, columns};
  }
  using GroupView = DeviceView<const Any, Batch, Time, Group, State>;
  using RowView = DeviceView<const Any, Batch, Time, Head, Value>;
  __device__ ElementList of_group(const GroupView& x, const Where& at) const {
    const Group group{static_cast<unsigned>(at.head) / a.heads_a_group};
    return list(x, x.offset(Batch{at.lane.batch}, Time{at.lane.begin}, group, State{0}),
                x.template stride<Time>(), x.template stride<State>(), static_cast<int>(a.n.state));
  }
  __device__ ElementList of_rows(const RowView& x, const Where& at) const {
    return list(
        x, x.offset(Batch{at.lane.batch}, Time{at.lane.begin}, Head{at.head}, Value{at.first_row}),
        x.template stride<Time>(), x.template stride<Value>(), at.rows);
  }
  __device__ ElementList of_tokens(const RowView& x, const Where& at) const {
    return list(x, x.offset(Batch{at.lane.batch}, Time{at.lane.begin}, Head{at.head}, Value{0}), 0,
                x.template stride<Time>(), a.tokens);
  }
  __device__ ElementList of_head(const DeviceView<const Any, Head, Value>& x,
                                 const Where& at) const {
    return list(x, x.offset(Head{at.head}, Value{at.first_row}), 0, x.template stride<Value>(),
                a.rows);
  }
  __device__ ElementList bias(const Where& at) const {
    return list(a.x.dt_bias, a.x.dt_bias.offset(Head{at.head}, Value{0}), 0, 0, a.tokens);
  }
  __device__ ElementList rate(const Where& at) const {
    return list(a.x.A, a.x.A.offset(Head{at.head}, Value{0}, State{0}), 0, 0, a.tokens);
  }
  __device__ ElementList scales(const Where& at) const {
    const auto& x = a.y.scale;
    return {ElementType::float32,
            x.data(),
            x.offset(Slot{at.lane.source}, Head{at.head}, Value{at.first_row}),
            0,
            x.template stride<Value>(),
            a.rows};
  }

  struct Token {
    int columns, rows;  // of all tokens
    Arriving<4> B, C;
    Arriving<2> x, z;
    Arriving<1> dt;
    Arriving<2> D, scale;
    Arriving<1> dt_bias, A;  // the same one for every token
  };
  __device__ Token fetch(const Where& at, Crew crew) const {
    const int length = at.is_empty() ? 0 : static_cast<int>(at.lane.length),
              columns = length * static_cast<int>(a.n.state), rows = length * at.rows,
              own_rows = length > 0 ? at.rows : 0;
    return {columns,
            rows,
            {crew, 0, columns, of_group(a.x.B, at)},
            {crew, 0, columns, of_group(a.x.C, at)},
            {crew, 0, rows, of_rows(a.x.x, at)},
            {crew, 0, a.x.z ? rows : 0, of_rows(a.x.z, at)},
            {crew, 0, tied ? length : 0, of_tokens(a.x.dt, at)},
            {crew, 0, a.x.D ? own_rows : 0, of_head(a.x.D, at)},
            {crew, 0, is_code<Stored> ? own_rows : 0, scales(at)},
            {crew, 0, tied && a.x.dt_bias ? length : 0, bias(at)},
            {crew, 0, tied ? length : 0, rate(at)}};
  }

  __device__ unsigned bytes(const Where& at) const {
    return at.is_empty() ? 0 : static_cast<unsigned>(at.rows * row_bytes());
  }
  __device__ int row_bytes() const {
    return static_cast<int>(a.n.state) * static_cast<int>(sizeof(Stored));
  }
  __device__ bool is_contiguous() const { return a.y.state.template stride<Value>() == a.n.state; }
  __device__ Stored* row_of(const Where& at, Index slot, int row) const {
    const auto& state = a.y.state;
    return static_cast<Stored*>(state.data()) +
           state.offset(Slot{slot}, Head{at.head}, Value{at.first_row + row}, State{0});
  }
  __device__ void load(const Where& at, std::byte* state, Barrier& full, Crew crew) const {
    if (at.is_empty()) return;
    const int rows = is_contiguous() ? at.rows : 1;  // of a copy
    for (int row = crew.thread * rows; row < at.rows; row += crew.threads * rows)
      ptx::cp_async_bulk(ptx::space_cluster, ptx::space_global, state + row * row_bytes(),
                         row_of(at, at.lane.source, row), static_cast<unsigned>(rows * row_bytes()),
                         full.word());
  }

  __device__ float time_step(float dt, float bias) const {
    const float d = dt + bias;
    return a.options.softplus && d <= 20.0f ? log1pf(expf(d)) : d;
  }
  __device__ void stage(const Where& at, const Token& token, std::byte* shared, Crew crew) const {
    const auto& x = a.x;
    const Tokens tokens = tokens_of(shared);
    if (crew.thread == 0) *tokens.at = at;
    if (at.is_empty()) return;
    const int length = static_cast<int>(at.lane.length);
    for (int t = crew.thread; t < length; t += crew.threads)
      tokens.destination[t] = destination(x, a.options, at.sequence, at.lane, t, LoadIndex{});
    if constexpr (tied) {
      float own_bias = 0, A = 0;
      token.dt_bias.for_each(crew, 0, x.dt_bias ? length : 0, bias(at),
                             [&](ElementList::Place, float value) { own_bias = value; });
      token.A.for_each(crew, 0, length, rate(at),
                       [&](ElementList::Place, float value) { A = value; });
      for_each_arriving(token.dt, crew, length, of_tokens(x.dt, at),
                        [&](ElementList::Place t, float dt) {
                          const float d = time_step(dt, own_bias);
                          tokens.d[t.column] = d;
                          tokens.decay[t.column] = expf(A * d);
                        });
    } else {
      for (int i = crew.thread; i < token.rows; i += crew.threads) {
        const Value p{at.first_row + i % at.rows};
        tokens.d[i] =
            time_step(gpu::load<float>(x.dt, Batch{at.lane.batch},
                                       Time{at.lane.begin + i / at.rows}, Head{at.head}, p),
                      x.dt_bias ? gpu::load<float>(x.dt_bias, Head{at.head}, p) : 0.0f);
      }
    }
    const auto stage = [&](const auto& arriving, int count, const ElementList& list, float* to) {
      for_each_arriving(arriving, crew, count, list, [&](ElementList::Place i, float value) {
        to[i.row * list.columns + i.column] = value;
      });
    };
    stage(token.B, token.columns, of_group(x.B, at), tokens.B);
    stage(token.C, token.columns, of_group(x.C, at), tokens.C);
    stage(token.x, token.rows, of_rows(x.x, at), tokens.x);
    if (x.z) stage(token.z, token.rows, of_rows(x.z, at), tokens.z);
    if (x.D) stage(token.D, at.rows, of_head(x.D, at), tokens.D);
    if constexpr (is_code<Stored>) stage(token.scale, at.rows, scales(at), tokens.scale);
  }

  // ---- compute warps

  // Whether the state goes back through shared memory: where there is one place for it. Otherwise
  // each token's state is stored as it comes.
  __device__ bool has_one_destination() const {
    return !a.x.destination || a.x.destination.template extent<Time>() == 1;
  }

  __device__ int column(int k) const {
    return (k * a.threads_a_row + lane_index() % a.threads_a_row) * count;
  }

  template <class Release>
  __device__ void compute(unsigned, std::byte* stage, std::byte* shared,
                          const Release& release) const {
    const Tokens tokens = tokens_of(shared);
    const Where at = *tokens.at;
    const int rows_a_warp = a.rows / compute_warps,
              first = static_cast<int>(threadIdx.x) / warp * rows_a_warp,
              end = min(first + rows_a_warp, at.rows);
    auto* const state = reinterpret_cast<Stored*>(stage);
    if (!at.is_empty()) {
      if (at.lane.length == 1)
        advance_rows<true>(at, tokens, state, first, end);
      else
        advance_rows<false>(at, tokens, state, first, end);
    }
    __syncwarp();
    if (at.lane.length > 0) write_outputs(at, tokens, first, end);
    release();  // x, z and D are replaced after it
  }

  // What a thread needs of a row of B or C.
  struct Columns {
    float at[accesses][count];
  };
  __device__ Columns columns_of(const float* row) const {
    Columns own;
#pragma unroll
    for (int k = 0; k < accesses; ++k) {
      const bool inside = column(k) < a.n.state;
#pragma unroll
      for (int q = 0; q < count / 4; ++q) {
        const auto four = std::bit_cast<std::array<float, 4>>(
            inside ? reinterpret_cast<const float4*>(row + column(k))[q] : float4{});
#pragma unroll
        for (int e = 0; e < 4; ++e) own.at[k][q * 4 + e] = four[static_cast<std::size_t>(e)];
      }
    }
    return own;
  }

  // By a warp: rows [first, end) of the item, by all tokens.
  template <bool single>
  __device__ void advance_rows(const Where& at, const Tokens& tokens, Stored* stage, int first,
                               int end) const {
    const int columns = static_cast<int>(a.n.state), rows_an_access = warp / a.threads_a_row,
              in_row = lane_index() % a.threads_a_row,
              length = single ? 1 : static_cast<int>(at.lane.length);
    Columns B, C;
    if constexpr (single) {
      B = columns_of(tokens.B);
      C = columns_of(tokens.C);
    }
#pragma unroll 1
    for (int above = first; above < end; above += rows_an_access) {
      const int row = above + lane_index() / a.threads_a_row;
      const bool exists = row < end;
      const float decode = is_code<Stored> && exists ? tokens.scale[row] : 1.0f;
      float s[accesses][count];
#pragma unroll
      for (int k = 0; k < accesses; ++k) {
        const auto stored =
            exists && column(k) < columns
                ? *reinterpret_cast<const Elements<Stored>*>(stage + row * columns + column(k))
                : Elements<Stored>{};
#pragma unroll
        for (int e = 0; e < count; ++e)
          s[k][e] =
              is_code<Stored> ? widen<float>(stored.at[e]) * decode : widen<float>(stored.at[e]);
      }
      for (int t = 0; t < length; ++t) {
        if constexpr (!single) {
          B = columns_of(tokens.B + t * columns);
          C = columns_of(tokens.C + t * columns);
        }
        const float x = exists ? tokens.x[t * at.rows + row] : 0.0f,
                    d = tied     ? tokens.d[t]
                        : exists ? tokens.d[t * at.rows + row]
                                 : 0.0f,
                    tied_decay = tied ? tokens.decay[t] : 0.0f;
        float sums[accesses] = {};
#pragma unroll
        for (int k = 0; k < accesses; ++k)
#pragma unroll
          for (int e = 0; e < count; ++e) {
            float decay = tied_decay;
            if constexpr (!tied)
              if (exists && column(k) < columns)
                decay = expf(gpu::load<float>(a.x.A, Head{at.head}, Value{at.first_row + row},
                                              State{column(k) + e}) *
                             d);
            s[k][e] = fmaf(s[k][e], decay, B.at[k][e] * d * x);
            sums[k] = fmaf(s[k][e], C.at[k][e], sums[k]);
          }
#pragma unroll
        for (int half = accesses / 2; half > 0; half /= 2)
#pragma unroll
          for (int k = 0; k < half; ++k) sums[k] += sums[k + half];
        const float sum = sum_of_row(sums[0], a.threads_a_row);
        if (in_row == 0 && exists) tokens.sum[t * at.rows + row] = sum;
        store_row(at, tokens, stage, t, s, row, exists);
      }
    }
  }

  // The state after token t: in the slot, and in the row of intermediate states.
  __device__ void store_row(const Where& at, const Tokens& tokens, Stored* stage, int t,
                            const float (&s)[accesses][count], int row, bool exists) const {
    const int columns = static_cast<int>(a.n.state);
    const Index slot = tokens.destination[t];
    const Value p{at.first_row + row};
    for (int to = 0; to < 2; ++to) {  // one piece of code, that is inlined often enough
      if (to == 0 ? slot == nowhere : !a.y.intermediate) continue;
      const auto& view = a.y.intermediate;
      Stored* const first =
          to != 0 ? static_cast<Stored*>(view.data()) +
                        view.offset(Slot{at.lane.row}, Time{t}, Head{at.head}, p, State{0})
          : has_one_destination() ? stage + row * columns
                                  : row_of(at, slot, row);
      RowScale own;
      if constexpr (is_code<Stored>) {
        own = scale_of(s);
        const auto& scale = a.y.scale;
        const auto& other = a.y.intermediate_scale;
        if (exists && column(0) == 0)
          (to == 0 ? static_cast<float*>(scale.data()) + scale.offset(Slot{slot}, Head{at.head}, p)
                   : static_cast<float*>(other.data()) +
                         other.offset(Slot{at.lane.row}, Time{t}, Head{at.head}, p))[0] =
              own.decode;
      }
#pragma unroll
      for (int k = 0; k < accesses; ++k)
        if (exists && column(k) < columns)
          *reinterpret_cast<Elements<Stored>*>(first + column(k)) =
              encoded(s[k], own,
                      at.lane.source * a.y.state.template stride<Slot>() +
                          (at.head * a.n.value + p.index) * columns + column(k));
    }
  }

  // Of a row that is stored as codes; all threads of the row come here.
  __device__ RowScale scale_of(const float (&s)[accesses][count]) const {
    float amax = 0;
#pragma unroll
    for (int k = 0; k < accesses; ++k)
#pragma unroll
      for (int e = 0; e < count; ++e) amax = fmaxf(amax, fabsf(s[k][e]));  // of a NaN: the other
    return row_scale<Stored>(maximum_of_row(amax, a.threads_a_row));
  }
  // `offset`: the number of the first element as stochastic rounding counts them.
  __device__ Elements<Stored> encoded(const float (&s)[count], RowScale own, Index offset) const {
    Elements<Stored> stored;
    Philox::Counter words{};
#pragma unroll
    for (int e = 0; e < count; ++e) {
      const float value = is_code<Stored> ? s[e] * own.encode : s[e];
      if constexpr (std::is_same_v<Stored, float>) {
        stored.at[e] = value;
      } else if constexpr (stochastic) {
        if (e % 4 == 0) words = rounding_words(*a.options.stochastic, offset + e);
        stored.at[e] =
            groundstate::stochastic<Stored>(value, words[static_cast<std::size_t>(e % 4)]);
      } else if constexpr (std::is_same_v<Stored, fp8>) {
        stored.at[e] = fp8::from_bits(__nv_cvt_float_to_fp8(value, __NV_SATFINITE, __NV_E4M3));
      } else if constexpr (is_code<Stored>) {
        stored.at[e] = nearest<Stored>(value);
      } else {
        stored.at[e] = rounded<Stored>(value);
      }
    }
    return stored;
  }

  // Of the rows of a warp, from their sums; zeros of padding.
  __device__ void write_outputs(const Where& at, const Tokens& tokens, int first, int end) const {
    const auto& x = a.x;
    const int count = end - first;
    for (int i = lane_index(); i < at.lane.length * count; i += warp) {
      const int t = i < count ? 0 : i / count, row = first + i - t * count,
                staged = t * at.rows + row;
      float y = 0;
      if (!at.lane.padding) {
        y = tokens.sum[staged];
        if (x.D) y = fmaf(tokens.x[staged], tokens.D[row], y);
        if (x.z) {
          const float z = tokens.z[staged];
          y *= z / (1.0f + expf(-z));
        }
      }
      gpu::store<float>(a.y.out, y, Batch{at.lane.batch}, Time{at.lane.begin + t}, Head{at.head},
                        Value{at.first_row + row});
    }
  }

  // ---- store warp

  __device__ void store(unsigned, std::byte* state, std::byte* shared) const {
    const Tokens tokens = tokens_of(shared);
    const Where at = *tokens.at;
    if (at.is_empty() || !has_one_destination()) return;
    const Index slot = tokens.destination[at.lane.length - 1];
    if (slot == nowhere) return;
    const int rows = is_contiguous() ? at.rows : 1;  // of a copy
    for (int row = 0; row < at.rows; row += rows)
      ptx::cp_async_bulk(ptx::space_global, ptx::space_shared, row_of(at, slot, row),
                         state + row * row_bytes(), static_cast<unsigned>(rows * row_bytes()));
  }
};

// ---- launch

bool is_aligned(const void* data, std::initializer_list<Index> strides, Index size) {
  bool good = reinterpret_cast<std::size_t>(data) % 16 == 0;
  for (const Index stride : strides) good = good && stride * size % 16 == 0;
  return good;
}

// The contents of cu_seqlens are on the device: no lane is longer than all of them together.
Index longest(const DeviceInputs& x) { return x.x.extent<Time>(); }

template <class Stored, bool tied, bool stochastic>
void run(Arguments a, const Launch& launch) {
  using Own = Step<Stored, tied, stochastic>;
  const Index row_bytes = a.n.state * static_cast<Index>(sizeof(Stored));
  // Rows for all compute warps, whole accesses for each; fewer where many tokens need the room.
  const Index several = compute_warps * (warp / a.threads_a_row);
  Index wanted = std::min(std::max<Index>(tile_bytes / row_bytes, 1), a.n.value);
  StreamForm form;
  do {
    a.rows = static_cast<int>((wanted + several - 1) / several * several);
    form = stream_form<Own>(compute_warps * warp, a.rows * row_bytes,
                            Tokens::bytes(a.tokens, a.n.state, a.rows));
    wanted = a.rows / 2;
  } while (form.stages < 2 && a.rows > several);
  require(form.stages >= 2, "so many tokens do not fit the shared memory of gpu.step");
  a.tiles = static_cast<unsigned>((a.n.value + a.rows - 1) / a.rows);
  launch_stream(Own{a}, form, a.n.sequences * a.n.heads * a.tiles,
                static_cast<cudaStream_t>(launch.stream.handle));
}

template <class Stored, bool stochastic>
void dispatch(const Arguments& a, const Launch& launch) {
  return is_tied(a.x) ? run<Stored, true, stochastic>(a, launch)
                      : run<Stored, false, stochastic>(a, launch);
}
template <class Stored>
void dispatch(const Arguments& a, const Launch& launch) {
  if constexpr (!std::is_same_v<Stored, float>)
    if (a.options.stochastic) return dispatch<Stored, true>(a, launch);
  return dispatch<Stored, false>(a, launch);
}

void validate_step(const DeviceInputs& x, const Options& options, const DeviceOutputs& y) {
  validate(x, y, options);
  const Index columns = shape(x, y).state;
  const std::string refusal =
      step_refusal(y.out.type(), y.state.type(), columns, longest(x), options);
  require(refusal.empty(), refusal);
  const auto size = static_cast<Index>(size_of(y.state.type()));
  const auto& state = y.state;
  const auto& other = y.intermediate;
  const bool aligned =
      state.stride<State>() == 1 &&
      is_aligned(state.data(), {state.stride<Slot>(), state.stride<Head>(), state.stride<Value>()},
                 size) &&
      (!other ||
       (other.stride<State>() == 1 && is_aligned(other.data(),
                                                 {other.stride<Slot>(), other.stride<Time>(),
                                                  other.stride<Head>(), other.stride<Value>()},
                                                 size)));
  require(aligned, "rows of states must be contiguous and aligned to 16 bytes for gpu.step");
}

}  // namespace

void step(const DeviceInputs& x, const Options& options, const DeviceOutputs& y,
          const Launch& launch) {
  validate_step(x, options, y);
  if (direct_step(x, options, y, static_cast<cudaStream_t>(launch.stream.handle))) return;
  Arguments a{broadcast(x), y, options, {}, 0, 0, 0, 0, 0, 0};
  a.n = shape(a.x, y);
  if (a.n.time == 0 || a.n.value == 0) return;  // neither outputs nor states to write
  a.heads = static_cast<unsigned>(a.n.heads);
  a.tokens = static_cast<int>(longest(x));
  a.heads_a_group = static_cast<unsigned>(a.n.heads / a.n.groups);
  a.threads_a_row = 1;
  while (a.threads_a_row * thread_columns < a.n.state) a.threads_a_row *= 2;
  switch (y.state.type()) {
    case ElementType::float32:
      return dispatch<float>(a, launch);
    case ElementType::bfloat16:
      return dispatch<bf16>(a, launch);
    case ElementType::float16:
      return dispatch<fp16>(a, launch);
    case ElementType::int16:
      return dispatch<std::int16_t>(a, launch);
    case ElementType::int8:
      return dispatch<std::int8_t>(a, launch);
    case ElementType::float8:
      return dispatch<fp8>(a, launch);
    default:
      require(false, "a state of " + std::string(name_of(y.state.type())) + " is not accepted");
  }
}

}  // namespace groundstate::gpu::selective_state_update
