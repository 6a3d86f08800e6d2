// gpu.step: a few tokens on slots of a pool, in wide accesses.
//
//   S[p, n] := fma(S[p, n], decay, (B[n] d) x[p])
//   y[p] = sum_n S[p, n] C[n],  out = (y + D x) silu(z)
//
// A CTA owns one lane, one head and a number of rows p; a warp up to 4 accesses of 16 bytes a
// thread, each of which takes 32 / L rows of N elements, L threads a row. All accesses of a warp
// are under way before the tokens are looked at, 2 KB of them. They are then taken one by one:
// widened, advanced by all tokens, written back, so that only one is in fp32 at a time. y is summed
// in a thread (ascending n), then by halving over the L threads. The tokens are staged in shared
// memory; outputs leave through it.
//
// Rounding points: the state where it is stored (reference/core/encoding.hpp; the maximum of a row
// is exact), out as it is stored. exp and log1p are CUDA's in fp32.
// Limits: step_refusal().
// Bytes: 2 P N of the pool's type for each lane and head, beside the tokens; B 128, H 48, P 64,
// N 128 in fp32: 403 MB, 134 us at 3 TB/s. 5 P N flop a token: far below any limit.
// Measured on an H100, H48 P64 N128, B 32 / 128 / 256: fp32 states 62 / 219 / 430 us, 65 % of a copy
// of the same bytes; bf16 54 / 180 / 345 us, 41 %. Few bytes are under way a CTA, and a slot's number
// comes before the first of them: what there is to gain.
#include <array>
#include <bit>
#include <stdexcept>
#include <string>

#include "gpu/core/check.hpp"
#include "gpu/selective_state_update/stored.cuh"

namespace groundstate::gpu::selective_state_update {
namespace {

// ---- tile

constexpr int warp = 32, most_warps = 4, accesses = 4;

template <class Stored>
constexpr int elements = 16 / static_cast<int>(sizeof(Stored));  // of an access

// CTAs of a multiprocessor: enough bytes under way, and registers for one access in fp32.
template <class Stored, bool tied>
constexpr int resident_ctas() {
  return tied ? (sizeof(Stored) == 4 ? 7 : sizeof(Stored) == 2 ? 5 : 4) : 3;
}

struct Arguments {
  DeviceInputs x;  // broadcast
  DeviceOutputs y;
  Options options;
  Shape n;
  unsigned heads, tiles;
  int rows;           // of a CTA
  int threads_a_row;  // L, a power of two
  int tokens;         // at most, of a lane
};

// ---- shared storage

// Of all tokens of a lane; [token][...].
struct Tokens {
  Index* destination;
  float *B, *C;                // N; B times d where the decay is tied
  float *x, *d, *decay, *sum;  // rows, rows, 1, rows

  static constexpr std::size_t bytes(Index tokens, Index columns, Index rows) {
    return static_cast<std::size_t>(tokens) *
           (sizeof(Index) + sizeof(float) * static_cast<std::size_t>(2 * columns + 3 * rows + 4));
  }
  __device__ Tokens(std::byte* shared, int tokens, int columns, int rows) {
    B = reinterpret_cast<float*>(shared);
    C = B + tokens * columns;
    destination = reinterpret_cast<Index*>(C + tokens * columns);
    x = reinterpret_cast<float*>(destination + tokens);
    d = x + tokens * rows;
    sum = d + tokens * rows;
    decay = sum + tokens * rows;
  }
};
constexpr std::size_t shared_limit = 227 * 1024;

// ---- phases

// A part of a state, the rows of one CTA.
struct Where {
  Lane lane;
  Index sequence, head;
  int first_row, rows;
};

__device__ float time_step(const Arguments& a, const Where& at, int t, int row) {
  const auto& x = a.x;
  const Value p{at.first_row + row};
  const float d =
      load<float>(x.dt, Batch{at.lane.batch}, Time{at.lane.begin + t}, Head{at.head}, p) +
      (x.dt_bias ? load<float>(x.dt_bias, Head{at.head}, p) : 0.0f);
  return a.options.softplus && d <= 20.0f ? log1pf(expf(d)) : d;
}

template <bool tied>
__device__ void stage(const Arguments& a, const Where& at, const Tokens& tokens) {
  const auto& x = a.x;
  const int columns = static_cast<int>(a.n.state), count = static_cast<int>(at.lane.length);
  const Group group{at.head / (a.n.heads / a.n.groups)};
  const Batch batch{at.lane.batch};
  for (int i = threadIdx.x; i < count * columns; i += blockDim.x) {
    const Time time{at.lane.begin + i / columns};
    const State n{i % columns};
    const float B = load<float>(x.B, batch, time, group, n);
    tokens.B[i] = tied ? B * time_step(a, at, i / columns, 0) : B;
    tokens.C[i] = load<float>(x.C, batch, time, group, n);
  }
  for (int i = threadIdx.x; i < count * at.rows; i += blockDim.x) {
    const int t = i / at.rows, row = i % at.rows;
    tokens.x[t * a.rows + row] =
        load<float>(x.x, batch, Time{at.lane.begin + t}, Head{at.head}, Value{at.first_row + row});
    if constexpr (!tied) tokens.d[t * a.rows + row] = time_step(a, at, t, row);
  }
  for (int t = threadIdx.x; t < count; t += blockDim.x) {
    tokens.destination[t] = destination(x, a.options, at.sequence, at.lane, t, LoadIndex{});
    if constexpr (tied)
      tokens.decay[t] =
          expf(load<float>(x.A, Head{at.head}, Value{0}, State{0}) * time_step(a, at, t, 0));
  }
}

template <class Stored>
struct Elements {
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

// Stores a row: `to` is where this thread's elements go, `scale` that of the row, `offset` the
// number of the first element as stochastic rounding counts them. All threads of a warp come here.
template <class Stored, int parts>
__device__ void store_row(const float (&s)[parts][elements<Stored>], Stored* const (&to)[parts],
                          const bool (&inside)[parts], float* scale, bool first, const Arguments& a,
                          const Index (&offset)[parts]) {
  constexpr int count = elements<Stored>;
  RowScale own;
  if constexpr (is_code<Stored>) {
    float amax = 0;
#pragma unroll
    for (int k = 0; k < parts; ++k)
#pragma unroll
      for (int e = 0; e < count; ++e) amax = fmaxf(amax, fabsf(s[k][e]));  // of a NaN: the other
    own = row_scale<Stored>(maximum_of_row(amax, a.threads_a_row));
    if (first && inside[0]) *scale = own.decode;
  }
#pragma unroll
  for (int k = 0; k < parts; ++k) {
    Elements<Stored> stored;
    Philox::Counter words{};
#pragma unroll
    for (int e = 0; e < count; ++e) {
      const float value = s[k][e] * own.encode;
      if constexpr (std::is_same_v<Stored, float>) {
        stored.at[e] = value;
      } else if (a.options.stochastic) {
        if (e % 4 == 0) words = rounding_words(*a.options.stochastic, offset[k] + e);
        stored.at[e] = stochastic<Stored>(value, words[static_cast<std::size_t>(e % 4)]);
      } else if constexpr (std::is_same_v<Stored, fp8>) {
        stored.at[e] = fp8::from_bits(__nv_cvt_float_to_fp8(value, __NV_SATFINITE, __NV_E4M3));
      } else if constexpr (is_code<Stored>) {
        stored.at[e] = nearest<Stored>(value);
      } else {
        stored.at[e] = rounded<Stored>(value);
      }
    }
    if (inside[k]) __stcg(reinterpret_cast<uint4*>(to[k]), std::bit_cast<uint4>(stored));
  }
}

__device__ void write_zeros(const Arguments& a, const Where& at) {
  for (int i = threadIdx.x; i < at.lane.length * at.rows; i += blockDim.x)
    store<float>(a.y.out, 0.0f, Batch{at.lane.batch}, Time{at.lane.begin + i / at.rows},
                 Head{at.head}, Value{at.first_row + i % at.rows});
}

__device__ void write_outputs(const Arguments& a, const Where& at, const Tokens& tokens) {
  const auto& x = a.x;
  for (int i = threadIdx.x; i < at.lane.length * at.rows; i += blockDim.x) {
    const int t = i / at.rows, row = i % at.rows;
    const Batch batch{at.lane.batch};
    const Time time{at.lane.begin + t};
    const Head head{at.head};
    const Value p{at.first_row + row};
    float y = tokens.sum[t * a.rows + row];
    if (x.D) y = fmaf(tokens.x[t * a.rows + row], load<float>(x.D, head, p), y);
    if (x.z) {
      const float z = load<float>(x.z, batch, time, head, p);
      y *= z / (1.0f + expf(-z));
    }
    store<float>(a.y.out, y, batch, time, head, p);
  }
}

// ---- kernel

template <class Stored, int parts, bool tied>
__global__ void __launch_bounds__(most_warps* warp, (resident_ctas<Stored, tied>()))
    advance_slots(const __grid_constant__ Arguments a) {
  constexpr int count = elements<Stored>;
  extern __shared__ __align__(16) std::byte shared[];
  const unsigned tile = blockIdx.x % a.tiles, problem = blockIdx.x / a.tiles;
  Where at;
  at.head = problem % a.heads;
  at.sequence = problem / a.heads;
  at.lane = lane(a.x, a.options, at.sequence, LoadIndex{});
  at.first_row = static_cast<int>(tile) * a.rows;
  at.rows = min(a.rows, static_cast<int>(a.n.value) - at.first_row);
  if (at.lane.padding) return write_zeros(a, at);
  if (at.lane.length == 0) return;

  const int columns = static_cast<int>(a.n.state), rows_an_access = warp / a.threads_a_row;
  const int in_warp = threadIdx.x % warp, in_row = in_warp % a.threads_a_row;
  const int first = threadIdx.x / warp * accesses * rows_an_access + in_warp / a.threads_a_row;
  const auto& state = a.y.state;
  const auto column = [&](int k) { return (k * a.threads_a_row + in_row) * count; };
  const auto address = [&](Index slot, int row, int k) {
    return static_cast<Stored*>(state.data()) +
           state.offset(Slot{slot}, Head{at.head}, Value{at.first_row + row}, State{column(k)});
  };
  const auto scale = [&](Index slot, int row) {
    const auto& view = a.y.scale;
    return view ? static_cast<float*>(view.data()) +
                      view.offset(Slot{slot}, Head{at.head}, Value{at.first_row + row})
                : nullptr;
  };
  const auto intermediate = [&](int t, int row, int k) {
    const auto& view = a.y.intermediate;
    return static_cast<Stored*>(view.data()) + view.offset(Slot{at.lane.row}, Time{t},
                                                           Head{at.head}, Value{at.first_row + row},
                                                           State{column(k)});
  };
  const auto intermediate_scale = [&](int t, int row) {
    const auto& view = a.y.intermediate_scale;
    return view ? static_cast<float*>(view.data()) + view.offset(Slot{at.lane.row}, Time{t},
                                                                 Head{at.head},
                                                                 Value{at.first_row + row})
                : nullptr;
  };
  uint4 raw[accesses][parts];
  float decode[accesses];
#pragma unroll
  for (int i = 0; i < accesses; ++i) {
    const int row = first + i * rows_an_access;
#pragma unroll
    for (int k = 0; k < parts; ++k)
      raw[i][k] = row < at.rows && column(k) < columns
                      ? __ldcg(reinterpret_cast<const uint4*>(address(at.lane.source, row, k)))
                      : uint4{};
    decode[i] = is_code<Stored> && row < at.rows ? *scale(at.lane.source, row) : 1.0f;
  }

  const Tokens tokens(shared, a.tokens, columns, a.rows);
  stage<tied>(a, at, tokens);
  __syncthreads();
  const int length = static_cast<int>(at.lane.length);
#pragma unroll
  for (int i = 0; i < accesses; ++i) {
    const int row = first + i * rows_an_access;
    if (first - in_warp / a.threads_a_row + i * rows_an_access >= at.rows) break;  // of the warp
    float s[parts][count];
    bool inside[parts];
    Index offset[parts];
#pragma unroll
    for (int k = 0; k < parts; ++k) {
      inside[k] = row < at.rows && column(k) < columns;
      const auto stored = std::bit_cast<Elements<Stored>>(raw[i][k]);
#pragma unroll
      for (int e = 0; e < count; ++e) s[k][e] = widen<float>(stored.at[e]) * decode[i];
      offset[k] = at.lane.source * state.template stride<Slot>() +
                  (at.head * a.n.value + at.first_row + row) * columns + column(k);
    }
    for (int t = 0; t < length; ++t) {
      const float value = row < at.rows ? tokens.x[t * a.rows + row] : 0.0f;
      const float d = tied || row >= at.rows ? 0.0f : tokens.d[t * a.rows + row];
      float sum = 0;
#pragma unroll
      for (int k = 0; k < parts; ++k) {
        if (!inside[k]) continue;
        const auto* const B = reinterpret_cast<const float4*>(tokens.B + t * columns + column(k));
        const auto* const C = reinterpret_cast<const float4*>(tokens.C + t * columns + column(k));
#pragma unroll
        for (int q = 0; q < count / 4; ++q) {
          const auto b = std::bit_cast<std::array<float, 4>>(B[q]),
                     c = std::bit_cast<std::array<float, 4>>(C[q]);
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            float& own = s[k][q * 4 + e];
            const float decay =
                tied ? tokens.decay[t]
                     : expf(load<float>(a.x.A, Head{at.head}, Value{at.first_row + row},
                                        State{column(k) + q * 4 + e}) *
                            d);
            own = fmaf(own, decay, (tied ? b[e] : b[e] * d) * value);
            sum = fmaf(own, c[e], sum);
          }
        }
      }
      sum = sum_of_row(sum, a.threads_a_row);
      if (in_row == 0 && row < at.rows) tokens.sum[t * a.rows + row] = sum;
      // The slot, and the row of intermediate states: one piece of code, that is inlined often
      // enough.
      for (int to = 0; to < 2; ++to) {
        const Index slot = tokens.destination[t];
        if (to == 0 ? slot == nowhere : !a.y.intermediate) continue;
        Stored* where[parts];
#pragma unroll
        for (int k = 0; k < parts; ++k)
          where[k] = to == 0 ? address(slot, row, k) : intermediate(t, row, k);
        float* const decode_of_row = row >= at.rows ? nullptr
                                     : to == 0      ? scale(slot, row)
                                                    : intermediate_scale(t, row);
        store_row<Stored>(s, where, inside, decode_of_row, in_row == 0, a, offset);
      }
    }
  }
  __syncthreads();
  write_outputs(a, at, tokens);
}

// ---- launch

// Threads of a row, a power of two, and accesses that each of them makes.
struct RowForm {
  int threads, parts;
};
RowForm row_form(Index columns, Index size) {
  const Index needed = columns * size / 16;
  int threads = 1;
  while (threads < warp && threads < needed) threads *= 2;
  return {threads, static_cast<int>((needed + threads - 1) / threads)};
}

bool is_aligned(const void* data, std::initializer_list<Index> strides, Index size) {
  bool good = reinterpret_cast<std::size_t>(data) % 16 == 0;
  for (const Index stride : strides) good = good && stride * size % 16 == 0;
  return good;
}

// The contents of cu_seqlens are on the device: no lane is longer than all of them together.
Index longest(const DeviceInputs& x) { return x.x.extent<Time>(); }

template <class Stored, int parts, bool tied>
void run(Arguments a, const Launch& launch) {
  const int rows_a_warp = accesses * (warp / a.threads_a_row);
  const Index warps_needed = (a.n.value + rows_a_warp - 1) / rows_a_warp;
  const int warps = static_cast<int>(std::min<Index>(warps_needed, most_warps));
  a.rows = warps * rows_a_warp;
  a.tiles = static_cast<unsigned>((a.n.value + a.rows - 1) / a.rows);
  const Index ctas = a.n.sequences * a.n.heads * a.tiles;
  require(ctas < Index{1} << 31, "too many lanes and heads for one launch");
  if (ctas == 0) return;
  const std::size_t bytes = Tokens::bytes(a.tokens, a.n.state, a.rows);
  require(bytes <= shared_limit, "so many tokens do not fit the shared memory of gpu.step");
  const auto kernel = advance_slots<Stored, parts, tied>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes)));
  kernel<<<static_cast<unsigned>(ctas), static_cast<unsigned>(warps * warp), bytes,
           static_cast<cudaStream_t>(launch.stream.handle)>>>(a);
  check(cudaGetLastError());
}

template <class Stored>
void dispatch(const Arguments& a, int parts, const Launch& launch) {
  const bool tied = is_tied(a.x);
  if constexpr (std::is_same_v<Stored, float>)
    if (parts == 2)
      return tied ? run<Stored, 2, true>(a, launch) : run<Stored, 2, false>(a, launch);
  return tied ? run<Stored, 1, true>(a, launch) : run<Stored, 1, false>(a, launch);
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
  Arguments a{broadcast(x), y, options, {}, 0, 0, 0, 0, 0};
  a.n = shape(a.x, y);
  a.heads = static_cast<unsigned>(a.n.heads);
  a.tokens = static_cast<int>(longest(x));
  const RowForm form = row_form(a.n.state, static_cast<Index>(size_of(y.state.type())));
  a.threads_a_row = form.threads;
  switch (y.state.type()) {
    case ElementType::float32:
      return dispatch<float>(a, form.parts, launch);
    case ElementType::bfloat16:
      return dispatch<bf16>(a, form.parts, launch);
    case ElementType::float16:
      return dispatch<fp16>(a, form.parts, launch);
    case ElementType::int16:
      return dispatch<std::int16_t>(a, form.parts, launch);
    case ElementType::int8:
      return dispatch<std::int8_t>(a, form.parts, launch);
    case ElementType::float8:
      return dispatch<fp8>(a, form.parts, launch);
    default:
      require(false, "a state of " + std::string(name_of(y.state.type())) + " is not accepted");
  }
}

}  // namespace groundstate::gpu::selective_state_update
