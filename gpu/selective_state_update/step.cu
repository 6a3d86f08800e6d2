// gpu.step: a few tokens on slots of a pool, from registers.
//
//   S[p, n] := fma(S[p, n], decay, (B[n] d) x[p])
//   y[p] = sum_n S[p, n] C[n],  out = (y + D x) silu(z)
//
// A CTA owns some rows p of one lane and head. A thread has 64 bytes of them, 16 columns of one to
// four rows, and asks for all of them before it waits for any; L threads have a row. Meanwhile the
// tokens, asked for before the slot was known, come to shared memory as fp32. A row is widened,
// advanced by all tokens and encoded again, to the place that it came from or to those of each
// token; y is summed in a thread (ascending n), then by halving over the L threads.
//
// Rounding points: the state where it is stored (reference/core/encoding.hpp; the maximum of a row
// is exact), out as it is stored. exp and log1p are CUDA's in fp32.
// Limits: step_refusal().
// Bytes: 2 P N of the pool's type for each lane and head, beside the tokens; B 128, H 48, P 64,
// N 128 in fp32: 403 MB, 134 us at 3 TB/s. 5 P N flop a token: far below any limit.
// MEASURED
#include <array>
#include <bit>
#include <string>

#include "gpu/core/arriving.cuh"
#include "gpu/core/check.hpp"
#include "gpu/core/warpgroup.cuh"
#include "gpu/selective_state_update/stored.cuh"

namespace groundstate::gpu::selective_state_update {
namespace {

// ---- tile

constexpr int threads = 128, warp = warp_threads;

template <class Stored>
constexpr int elements = 16 / static_cast<int>(sizeof(Stored));  // of an access
// Of a thread: columns of a row, in accesses that are L x elements apart, and rows, 128 / L apart.
constexpr int thread_columns = 16;
template <class Stored>
constexpr int thread_rows = 4 / static_cast<int>(sizeof(Stored));

// CTAs of a multiprocessor: as many bytes under way as registers allow.
template <class Stored, bool stochastic>
constexpr int resident_ctas = is_code<Stored> || stochastic ? 5 : 8;

struct Arguments {
  DeviceInputs x;  // broadcast
  DeviceOutputs y;
  Options options;
  Shape n;
  unsigned heads, heads_a_group, tiles;
  int rows;           // of a CTA
  int threads_a_row;  // L, a power of two
  int columns;        // L x 16, of which those from N on are zero
  int tokens;         // at most, of a lane
};

// What a CTA works on: rows of one lane and head.
struct Where {
  Lane lane;
  Index sequence, head;
  int first_row, rows;

  __device__ bool is_empty() const { return lane.padding || lane.length == 0; }
};

// ---- shared storage

// All tokens of a lane, [token][...], and what its rows need.
struct Tokens {
  float *B, *C;  // columns
  Index* destination;
  float *x, *z;  // rows
  float* d;      // 1 where the decay is tied, rows otherwise
  float* decay;  // 1 where it is tied
  float* D;      // rows, of no token

  static constexpr Index bytes(Index tokens, Index columns, Index rows) {
    return tokens * static_cast<Index>(sizeof(Index)) +
           static_cast<Index>(sizeof(float)) * (tokens * (2 * columns + 3 * rows + 1) + rows);
  }
  __device__ Tokens(std::byte* shared, int tokens, int columns, int rows) {
    B = reinterpret_cast<float*>(shared);
    C = B + tokens * columns;
    destination = reinterpret_cast<Index*>(C + tokens * columns);
    x = reinterpret_cast<float*>(destination + tokens);
    z = x + tokens * rows;
    d = z + tokens * rows;
    decay = d + tokens * rows;
    D = decay + tokens;
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

// `stochastic` apart: the compiler computes what it can of random rounding before it looks.
template <class Stored, bool tied, bool stochastic>
struct Step {
  static constexpr int count = elements<Stored>, accesses = thread_columns / count,
                       own_rows = thread_rows<Stored>;
  const Arguments& a;

  // ---- tokens

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

  // Nothing of these depends on the slot.
  struct Token {
    int columns, rows;  // of all tokens
    Arriving<1> B, C, x, z, D, dt;
    Arriving<1> dt_bias, A;  // the same one for every token
  };
  __device__ Token fetch(const Where& at, Crew crew) const {
    const int length = static_cast<int>(at.lane.length),
              columns = length * static_cast<int>(a.n.state), rows = length * at.rows;
    return {columns,
            rows,
            {crew, 0, columns, of_group(a.x.B, at)},
            {crew, 0, columns, of_group(a.x.C, at)},
            {crew, 0, rows, of_rows(a.x.x, at)},
            {crew, 0, a.x.z ? rows : 0, of_rows(a.x.z, at)},
            {crew, 0, a.x.D ? at.rows : 0, of_head(a.x.D, at)},
            {crew, 0, tied ? length : 0, of_tokens(a.x.dt, at)},
            {crew, 0, tied && a.x.dt_bias ? length : 0, bias(at)},
            {crew, 0, tied ? length : 0, rate(at)}};
  }

  __device__ Stored* row_of(const Where& at, Index slot, int row) const {
    const auto& state = a.y.state;
    return static_cast<Stored*>(state.data()) +
           state.offset(Slot{slot}, Head{at.head}, Value{at.first_row + row}, State{0});
  }
  __device__ float time_step(float dt, float bias) const {
    const float d = dt + bias;
    return a.options.softplus && d <= 20.0f ? log1pf(expf(d)) : d;
  }
  __device__ void stage(const Where& at, const Token& token, const Tokens& tokens,
                        Crew crew) const {
    const auto& x = a.x;
    const int length = static_cast<int>(at.lane.length);
#pragma unroll 1
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
        tokens.d[i / at.rows * a.rows + i % at.rows] =
            time_step(gpu::load<float>(x.dt, Batch{at.lane.batch},
                                       Time{at.lane.begin + i / at.rows}, Head{at.head}, p),
                      x.dt_bias ? gpu::load<float>(x.dt_bias, Head{at.head}, p) : 0.0f);
      }
    }
    const auto stage = [&](const Arriving<1>& arriving, int count, const ElementList& list,
                           int width, float* to) {
      for_each_arriving(arriving, crew, count, list, [&](ElementList::Place i, float value) {
        to[i.row * width + i.column] = value;
      });
    };
    stage(token.B, token.columns, of_group(x.B, at), a.columns, tokens.B);
    stage(token.C, token.columns, of_group(x.C, at), a.columns, tokens.C);
    stage(token.x, token.rows, of_rows(x.x, at), a.rows, tokens.x);
    if (x.z) stage(token.z, token.rows, of_rows(x.z, at), a.rows, tokens.z);
    if (x.D) stage(token.D, at.rows, of_head(x.D, at), a.rows, tokens.D);
    const int missing = a.columns - static_cast<int>(a.n.state);
    for (int i = crew.thread; i < length * missing; i += crew.threads) {
      const int t = i / missing, column = static_cast<int>(a.n.state) + i - t * missing;
      tokens.B[t * a.columns + column] = tokens.C[t * a.columns + column] = 0;
    }
  }

  // ---- states

  __device__ int in_row() const { return static_cast<int>(threadIdx.x) % a.threads_a_row; }
  __device__ int column(int k) const { return (k * a.threads_a_row + in_row()) * count; }
  // Of the CTA's rows.
  __device__ int row(int i) const {
    return (i * threads + static_cast<int>(threadIdx.x)) / a.threads_a_row;
  }

  // A thread's part of a row, as it is stored.
  struct Slice {
    uint4 columns[accesses];
    float scale;  // of codes
  };
  __device__ void load(const Where& at, Slice (&state)[own_rows]) const {
#pragma unroll
    for (int i = 0; i < own_rows; ++i) {
      state[i].scale = 1;
      if constexpr (is_code<Stored>)
        if (row(i) < at.rows) {
          const auto& scale = a.y.scale;
          state[i].scale = __ldcg(
              static_cast<const float*>(scale.data()) +
              scale.offset(Slot{at.lane.source}, Head{at.head}, Value{at.first_row + row(i)}));
        }
      const Stored* const from = row_of(at, at.lane.source, row(i));
#pragma unroll
      for (int k = 0; k < accesses; ++k)
        state[i].columns[k] = row(i) < at.rows && column(k) < a.n.state
                                  ? __ldcg(reinterpret_cast<const uint4*>(from + column(k)))
                                  : uint4{};
    }
  }

  // What a thread needs of a row of B or C.
  struct Columns {
    float at[accesses][count];
  };
  __device__ Columns columns_of(const float* row) const {
    Columns own;
#pragma unroll
    for (int k = 0; k < accesses; ++k)
#pragma unroll
      for (int q = 0; q < count / 4; ++q) {
        const auto four = std::bit_cast<std::array<float, 4>>(
            reinterpret_cast<const float4*>(row + column(k))[q]);
#pragma unroll
        for (int e = 0; e < 4; ++e) own.at[k][q * 4 + e] = four[static_cast<std::size_t>(e)];
      }
    return own;
  }

  // One row, by all tokens.
  __device__ void advance(const Where& at, const Tokens& tokens, const Slice& stored,
                          int row) const {
    const int length = static_cast<int>(at.lane.length);
    const bool exists = row < at.rows;
    float s[accesses][count];
#pragma unroll
    for (int k = 0; k < accesses; ++k) {
      const auto own = std::bit_cast<Elements<Stored>>(stored.columns[k]);
#pragma unroll
      for (int e = 0; e < count; ++e)
        s[k][e] =
            is_code<Stored> ? widen<float>(own.at[e]) * stored.scale : widen<float>(own.at[e]);
    }
#pragma unroll 1
    for (int t = 0; t < length; ++t) {
      const float x = exists ? tokens.x[t * a.rows + row] : 0.0f,
                  d = tied     ? tokens.d[t]
                      : exists ? tokens.d[t * a.rows + row]
                               : 0.0f,
                  tied_decay = tied ? tokens.decay[t] : 0.0f;
      const Columns B = columns_of(tokens.B + t * a.columns),
                    C = columns_of(tokens.C + t * a.columns);
      float sum = 0;
#pragma unroll
      for (int k = 0; k < accesses; ++k)
#pragma unroll
        for (int e = 0; e < count; ++e) {
          float decay = tied_decay;
          if constexpr (!tied)
            if (exists && column(k) < a.n.state)
              decay = expf(gpu::load<float>(a.x.A, Head{at.head}, Value{at.first_row + row},
                                            State{column(k) + e}) *
                           d);
          s[k][e] = fmaf(s[k][e], decay, B.at[k][e] * d * x);
          sum = fmaf(s[k][e], C.at[k][e], sum);
        }
      sum = sum_of_row(sum, a.threads_a_row);
      store_row(at, tokens, t, s, row, exists);
      if (in_row() == 0 && exists) write_output(at, tokens, t, row, sum);
    }
  }

  // The state after token t: in the slot, and in the row of intermediate states.
  __device__ void store_row(const Where& at, const Tokens& tokens, int t,
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
          __stcg(reinterpret_cast<uint4*>(first + column(k)),
                 std::bit_cast<uint4>(encoded(s[k], own,
                                              at.lane.source * a.y.state.template stride<Slot>() +
                                                  (at.head * a.n.value + p.index) * columns +
                                                  column(k))));
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

  __device__ void store_output(const Where& at, int t, int row, float y) const {
    gpu::store<float>(a.y.out, y, Batch{at.lane.batch}, Time{at.lane.begin + t}, Head{at.head},
                      Value{at.first_row + row});
  }
  __device__ void write_output(const Where& at, const Tokens& tokens, int t, int row,
                               float y) const {
    if (a.x.D) y = fmaf(tokens.x[t * a.rows + row], tokens.D[row], y);
    if (a.x.z) {
      const float z = tokens.z[t * a.rows + row];
      y *= z / (1.0f + expf(-z));
    }
    store_output(at, t, row, y);
  }
};

// ---- kernel

template <class Stored, bool tied, bool stochastic>
__global__ void __launch_bounds__(threads, (resident_ctas<Stored, stochastic>))
    advance_states(const __grid_constant__ Arguments a) {
  extern __shared__ __align__(16) std::byte shared[];
  const Step<Stored, tied, stochastic> step{a};
  const Crew crew{static_cast<int>(threadIdx.x), threads};
  const Tokens tokens(shared, a.tokens, a.columns, a.rows);
  const Where at = step.place(blockIdx.x);
  const auto token = step.fetch(at, crew);
  if (at.is_empty()) {
#pragma unroll 1
    for (int i = crew.thread; i < at.lane.length * at.rows; i += threads)
      step.store_output(at, i / at.rows, i % at.rows, 0);
    return;
  }
  typename Step<Stored, tied, stochastic>::Slice state[thread_rows<Stored>];
  step.load(at, state);
  step.stage(at, token, tokens, crew);
  __syncthreads();
#pragma unroll
  for (int i = 0; i < thread_rows<Stored>; ++i) step.advance(at, tokens, state[i], step.row(i));
}

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
  a.rows = threads / a.threads_a_row * thread_rows<Stored>;
  a.tiles = static_cast<unsigned>((a.n.value + a.rows - 1) / a.rows);
  constexpr Index most_shared = 227 * 1024;
  const Index bytes = Tokens::bytes(a.tokens, a.columns, a.rows),
              ctas = a.n.sequences * a.n.heads * a.tiles;
  require(bytes <= most_shared, "so many tokens do not fit the shared memory of gpu.step");
  require(ctas < Index{1} << 31, "too many lanes and heads for one launch");
  if (ctas == 0) return;
  const auto kernel = advance_states<Stored, tied, stochastic>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes)));
  kernel<<<static_cast<unsigned>(ctas), threads, static_cast<std::size_t>(bytes),
           static_cast<cudaStream_t>(launch.stream.handle)>>>(a);
  check(cudaGetLastError());
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
  Arguments a{broadcast(x), y, options, {}, 0, 0, 0, 0, 0, 0, 0};
  a.n = shape(a.x, y);
  if (a.n.time == 0 || a.n.value == 0) return;  // neither outputs nor states to write
  a.heads = static_cast<unsigned>(a.n.heads);
  a.tokens = static_cast<int>(longest(x));
  a.heads_a_group = static_cast<unsigned>(a.n.heads / a.n.groups);
  a.threads_a_row = 1;
  while (a.threads_a_row * thread_columns < a.n.state) a.threads_a_row *= 2;
  a.columns = a.threads_a_row * thread_columns;
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
