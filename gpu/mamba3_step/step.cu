// gpu.step: a few tokens on slots of pools, through shared memory (gpu/core/state_stream.cuh). One
// token goes by way of registers where direct_step.cu takes it, with the same bits.
//
//   S[p, n] := fma(S[p, n], alpha, m),  m = sum over r of (x gamma xproj_r) b_r + (X beta xproj_r)
//   K_r y[r, p] = sum_n S[p, n] c[r, n],  out = sum over r of outproj_r (y + D x xproj_r) silu(z
//   zproj_r)
//
// An item is one lane and head: the state, the rows of all other tensors that belong to it
// (step_stage.hpp) as they are in memory, and what is computed of them once. That is the whole of a
// slot and head, so K and X are stored by the same CTA that read them, and with a prologue B and C
// are read once. A lane of a warp has four columns of eight rows, L lanes a row; it goes through
// the ranks twice, so that a number of b, K or c that comes from shared memory does for eight rows,
// and one of x for four columns. y is summed over the lanes by halves: three that bring eight rows
// to eight lanes, and one sum over each doubling of L beyond.
//
// Rounding points: the state where it is stored (reference/core/encoding.hpp); K behind the
// prologue; out as it is stored. exp, tanh, sin and cos are CUDA's in fp32.
// Limits: step_refusal().
// Bytes: 2 P N of the pool's type for each lane and head, beside 4 R N and 5 P of the tokens' type
// and three times R P of projections, which stay in the cache; B 256, H 48, P 64, N 128, R 4 in
// fp32 with tokens in bf16: 864 MB, 288 us at 3 TB/s. P N (6 R + 2) flop: 2.6 GFLOP there, a tenth
// of what the device can do in that time.
#include "gpu/core/load_index.cuh"
#include "gpu/core/state_stream.cuh"
#include "gpu/mamba3_step/direct_step.hpp"
#include "gpu/mamba3_step/prologue.cuh"
#include "gpu/mamba3_step/row_block.cuh"
#include "gpu/mamba3_step/step.hpp"

namespace groundstate::gpu::mamba3_step {
namespace {

namespace ptx = cuda::ptx;

// ---- tile

constexpr int warp = warp_threads, own_rows = 8;  // of a lane

struct Arguments {
  DeviceInputs x;
  DeviceOutputs y;
  Options options;
  Shape n;
  StepStage stage;
  unsigned heads, heads_a_group;
  unsigned state_bytes;           // of a stage, before its other part
  int lanes_a_row;                // L, a power of two, 8 at least
  bool k_by_engine, x_by_engine;  // K and X go back by the copy engine
};

// What an item is: one lane and head.
struct Where {
  Lane lane;
  Index sequence, head;

  __device__ bool is_empty() const { return lane.padding || lane.length == 0; }
};

// ---- elements

template <class Stored>
struct alignas(own_columns * sizeof(Stored)) Four {
  Stored at[own_columns];
};

// Four of a row of run-time type: fp32 or 16 bits.
__device__ float4 four(ElementType type, const std::byte* row, int column) {
  if (type == ElementType::float32) return reinterpret_cast<const float4*>(row)[column / 4];
  const uint2 bits = reinterpret_cast<const uint2*>(row)[column / 4];
  return {from_bits(type, bits.x), from_bits(type, bits.x >> 16), from_bits(type, bits.y),
          from_bits(type, bits.y >> 16)};
}

// Rows of keys, [token][rank].
struct Keys {
  const std::byte* first;
  ElementType type;
  unsigned pitch;
  __device__ float4 four(int row, int column) const {
    return mamba3_step::four(type, first + static_cast<unsigned>(row) * pitch, column);
  }
};

__device__ void copy_bits(const std::byte* from, ElementType type, void* to, Index i) {
  if (type == ElementType::float32)
    static_cast<std::uint32_t*>(to)[i] = *reinterpret_cast<const std::uint32_t*>(from);
  else
    static_cast<std::uint16_t*>(to)[i] = *reinterpret_cast<const std::uint16_t*>(from);
}

// y of one rank over the L lanes of a row: of row i in lane i L / 8 and those behind it.
__device__ float output_of_rank(const RowBlock<own_rows>& s, float4 c, int lanes_a_row) {
  float y[own_rows];
#pragma unroll
  for (int j = 0; j < own_rows; ++j) y[j] = output_of_four(s[j], c);
  return sum_of_eight(y, lanes_a_row);
}

// ---- kernel

template <class Stored, bool stochastic>
struct Step {
  static constexpr bool wide = sizeof(Stored) > 2;
  static constexpr int compute_warps = wide ? 8 : 4, compute_threads = compute_warps * warp;
  static constexpr int most_compute_threads = compute_threads, resident_ctas = wide ? 1 : 2,
                       usual_stages = wide ? 5 : 3;
  Arguments a;

  __device__ Where place(unsigned item) const {
    const unsigned sequence = item / a.heads;
    return {groundstate::lane(a.x.lanes, a.options, a.n.time, sequence, LoadIndex{}), sequence,
            item - sequence * a.heads};
  }

  // ---- load warp

  static __device__ int rows(const Part& part, const Where& at) {
    return part.is_of_tokens() ? part.rows * static_cast<int>(at.lane.length) : part.rows;
  }
  // The number of the first element of a row of a part.
  __device__ Index element(const Part& part, const Where& at, int row) const {
    const int t = part.is_of_tokens() ? row / part.rows : 0, r = row - t * part.rows;
    const Index lead = part.is_of_tokens() ? at.lane.batch : at.lane.source,
                head = part.of_group ? static_cast<unsigned>(at.head) / a.heads_a_group : at.head;
    return lead * part.lead + head * part.head + (at.lane.begin + t) * part.time + r * part.row;
  }

  __device__ int row_bytes() const {
    return static_cast<int>(a.n.state) * static_cast<int>(sizeof(Stored));
  }
  __device__ bool is_contiguous() const { return a.y.state.template stride<Value>() == a.n.state; }
  __device__ Stored* row_of(const Where& at, Index slot, int row) const {
    const auto& state = a.y.state;
    return static_cast<Stored*>(state.data()) +
           state.offset(Slot{slot}, Head{at.head}, Value{row}, State{0});
  }

  __device__ unsigned bytes(const Where& at) const {
    if (at.is_empty()) return 0;
    return static_cast<unsigned>(a.n.value) * static_cast<unsigned>(row_bytes()) +
           a.stage.engine_bytes +
           static_cast<unsigned>(at.lane.length) * a.stage.engine_bytes_a_token;
  }
  // Rows by the copy engine: a thread of the crew for each part.
  __device__ void load(const Where& at, std::byte* state, Barrier& full, Crew crew) const {
    if (at.is_empty()) return;
    const int several = is_contiguous() ? static_cast<int>(a.n.value) : 1;  // of a copy
    for (int row = crew.thread * several; row < a.n.value; row += crew.threads * several)
      ptx::cp_async_bulk(ptx::space_cluster, ptx::space_global, state + row * row_bytes(),
                         row_of(at, at.lane.source, row),
                         static_cast<unsigned>(several * row_bytes()), full.word());
    std::byte* const tokens = state + a.state_bytes;
    if (crew.thread >= part_count) return;
    const Part& part = a.stage.parts[static_cast<std::size_t>(crew.thread)];
    if (!part.by_engine) return;
#pragma unroll 1
    for (int row = 0; row < rows(part, at); ++row)
      ptx::cp_async_bulk(ptx::space_cluster, ptx::space_global,
                         tokens + part.place + static_cast<unsigned>(row) * part.pitch,
                         static_cast<const std::byte*>(part.data) +
                             element(part, at, row) * static_cast<Index>(size_of(part.type)),
                         part.row_bytes(), full.word());
  }

  // A, dt and trap of each token, then D.
  struct Number {
    const void* data;
    ElementType type;
    Index offset;
  };
  __device__ int numbers(const Where& at) const {
    return at.is_empty() ? 0 : 3 * static_cast<int>(at.lane.length) + (a.x.D ? 1 : 0);
  }
  __device__ Number number(const Where& at, int i) const {
    const int t = i / 3, kind = i - 3 * t;
    if (t == at.lane.length) return {a.x.D.data(), a.x.D.type(), a.x.D.offset(Head{at.head})};
    const auto& x = kind == 0 ? a.x.A : kind == 1 ? a.x.dt : a.x.trap;
    return {x.data(), x.type(),
            x.offset(Batch{at.lane.batch}, Time{at.lane.begin + t}, Head{at.head})};
  }
  __device__ std::uint32_t number_bits(const Where& at, int i) const {
    if (i >= numbers(at)) return 0;
    const Number x = number(at, i);
    if (x.type == ElementType::float64) return __float_as_uint(narrowed(x.data, x.offset));
    const auto size = static_cast<Index>(size_of(x.type));
    return load_bits(static_cast<const std::byte*>(x.data) + x.offset * size,
                     static_cast<int>(size));
  }
  struct Token {
    std::uint32_t number;
  };
  __device__ Token fetch(const Where& at, Crew crew) const {
    return {number_bits(at, crew.thread)};
  }

  __device__ void stage(const Where& at, const Token& token, std::byte* tokens, Crew crew) const {
    if (crew.thread == 0) *reinterpret_cast<Where*>(tokens) = at;
    if (at.is_empty()) return;
    auto* const to = destinations(tokens);
    for (int t = crew.thread; t < at.lane.length; t += crew.threads)
      to[t] = destination(a.x.lanes, a.options, at.sequence, at.lane, t, LoadIndex{});
    const int count = numbers(at);
    for (int i = crew.thread; i < count; i += crew.threads) {
      const std::uint32_t bits = i == crew.thread ? token.number : number_bits(at, i);
      // D has its place behind those of the longest lane.
      numbers_of(tokens)[i < 3 * at.lane.length ? i : 3 * a.stage.tokens] =
          from_bits(number(at, i).type, bits);
    }
#pragma unroll 1
    for (int i = 0; i < part_count; ++i) {
      const Part& part = a.stage.parts[static_cast<std::size_t>(i)];
      if (part.by_engine || part.data == nullptr) continue;
#pragma unroll 1
      for (int row = 0; row < rows(part, at); ++row) {
        const Index first = element(part, at, row);
        std::byte* const own = tokens + part.place + static_cast<unsigned>(row) * part.pitch;
#pragma unroll 1
        for (int column = crew.thread; column < part.columns; column += crew.threads)
          with_type(part.type, part.data, [&]<class Element>(const Element* x) {
            reinterpret_cast<Element*>(own)[column] = x[first + column * part.column];
          });
      }
    }
  }

  // ---- what is in the stage

  __device__ Index* destinations(std::byte* tokens) const {
    return reinterpret_cast<Index*>(tokens + a.stage.destination);
  }
  __device__ float* numbers_of(std::byte* tokens) const { return floats(tokens, a.stage.numbers); }
  static __device__ float* floats(std::byte* tokens, unsigned place) {
    return reinterpret_cast<float*>(tokens + place);
  }
  __device__ const Part& part(PartName name) const { return a.stage.parts[name]; }
  __device__ const std::byte* staged(const std::byte* tokens, const Part& part, int row) const {
    return tokens + part.place + static_cast<unsigned>(row) * part.pitch;
  }
  __device__ float value(const std::byte* tokens, PartName name, int own_row, int column) const {
    return gpu::load<float>(part(name).type, staged(tokens, part(name), own_row), column);
  }
  // Of a projection, which is 1 where there is none.
  __device__ float weight(const std::byte* tokens, PartName name, int r, int p) const {
    return part(name).data == nullptr ? 1.0f : value(tokens, name, r, p);
  }
  __device__ Keys keys(std::byte* tokens, PartName name, unsigned place) const {
    if (a.x.theta)
      return {tokens + place, ElementType::float32,
              static_cast<unsigned>(a.n.state) * static_cast<unsigned>(sizeof(float))};
    return {tokens + part(name).place, part(name).type, part(name).pitch};
  }

  __device__ Factors factors(std::byte* tokens, int t) const {
    const float* const x = numbers_of(tokens) + 3 * t;
    return factors_of(x[0], x[1], x[2]);
  }

  // ---- compute warps

  // Whether the state goes back through shared memory: where there is one place for it. Otherwise
  // each token's state is stored as it comes.
  __device__ bool has_one_destination() const {
    const auto& slots = a.x.lanes.destination;
    return !slots || slots.template extent<Time>() == 1;
  }
  // Calls use(i) for this thread's share of 0, ..., count - 1.
  template <class Use>
  static __device__ void share(int count, const Use& use) {
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x); i < count; i += compute_threads) use(i);
  }
  static __device__ void wait_for_all() { named_barrier<compute_threads>(1); }

  template <class Release>
  __device__ void compute(unsigned, std::byte* stage, std::byte* tokens,
                          const Release& release) const {
    const Where at = *reinterpret_cast<const Where*>(tokens);
    if (!at.is_empty()) {
      const int length = static_cast<int>(at.lane.length);
      project(tokens, length);
      if (a.x.theta) {
        turn(at, tokens, length);
        if (a.x.B_norm) find_norms(tokens, length);
        wait_for_all();
        find_keys(at, tokens, length);
      }
      wait_for_all();
      advance_rows(at, tokens, reinterpret_cast<Stored*>(stage), length);
      if (a.options.update_kv_state) copy_kv(at, tokens, length);
    }
    write_zeros(at);
    release();
  }

  // x gamma xproj and X beta xproj; 0 in rows behind P.
  __device__ void project(std::byte* tokens, int length) const {
    const int pitch = a.stage.row_pitch, ranks = static_cast<int>(a.n.ranks);
#pragma unroll 1
    for (int t = 0; t < length; ++t) {
      const auto [alpha, gamma, beta] = factors(tokens, t);
      float* const now = floats(tokens, a.stage.now) + t * ranks * pitch;
      float* const before = floats(tokens, a.stage.before) + t * ranks * pitch;
      share(ranks * pitch, [&, gamma = gamma, beta = beta](int i) {
        const int r = i / pitch, p = i - r * pitch;
        const bool exists = p < a.n.value;
        const float up = exists ? weight(tokens, part_xproj, r, p) : 0.0f;
        now[i] = exists ? value(tokens, part_x, t, p) * gamma * up : 0.0f;
        const float last = !exists ? 0.0f
                           : t > 0 ? value(tokens, part_x, t - 1, p)
                                   : value(tokens, part_x_state, 0, p);
        before[i] = exists ? last * beta * up : 0.0f;
      });
    }
  }

  // ---- prologue

  __device__ void turn(const Where& at, std::byte* tokens, int length) const {
    const int frequencies = static_cast<int>(a.n.frequencies);
    auto* const turns = reinterpret_cast<Turn*>(tokens + a.stage.turn);
    share(frequencies, [&](int f) {
      float angle = value(tokens, part_angle, 0, f);
#pragma unroll 1
      for (int t = 0; t < length; ++t) {
        angle = advanced_angle(angle, value(tokens, part_theta, t, f),
                               numbers_of(tokens)[3 * t + 1], a.options.wrap_angle);
        turns[t * frequencies + f] = turn_of(angle);
        if (const Index slot = destinations(tokens)[t]; slot != nowhere)
          gpu::store<float>(a.y.angle_state, angle, Slot{slot}, Head{at.head}, Frequency{f});
      }
    });
  }
  // 1 / root mean square of the rows of B and C.
  __device__ void find_norms(std::byte* tokens, int length) const {
    const int ranks = static_cast<int>(a.n.ranks), columns = static_cast<int>(a.n.state);
    float* const inverse = floats(tokens, a.stage.inverse);
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x) / warp; i < length * 2 * ranks; i += compute_warps) {
      const int t = i / (2 * ranks), r = i - t * 2 * ranks;
      const PartName name = r < ranks ? part_B : part_C;
      inverse[i] = inverse_norm(
          columns, [&](int n) { return value(tokens, name, t * ranks + r % ranks, n); });
    }
  }
  // b and c of all tokens, a pair of columns at a time; K where it is stored.
  __device__ void find_keys(const Where& at, std::byte* tokens, int length) const {
    const int ranks = static_cast<int>(a.n.ranks), columns = static_cast<int>(a.n.state),
              pairs = columns / 2, frequencies = static_cast<int>(a.n.frequencies);
    const auto* const turns = reinterpret_cast<const Turn*>(tokens + a.stage.turn);
    share(length * 2 * ranks * pairs, [&](int i) {
      const int own = i / pairs, f = i - own * pairs, t = own / (2 * ranks),
                of_token = own - t * 2 * ranks, r = of_token % ranks, own_row = t * ranks + r;
      const bool is_b = of_token < ranks;
      const auto pair = pair_of(a.options.rotation, f, columns);
      const int first = static_cast<int>(pair.first), second = static_cast<int>(pair.second);
      const auto before_turn = [&](int n) {
        float x = value(tokens, is_b ? part_B : part_C, own_row, n);
        if (a.x.B_norm)
          x = normed(x, floats(tokens, a.stage.inverse)[own],
                     value(tokens, is_b ? part_B_norm : part_C_norm, 0, n));
        const PartName bias = is_b ? part_B_bias : part_C_bias;
        return part(bias).data == nullptr ? x : biased(x, value(tokens, bias, r, n));
      };
      float u = before_turn(first), w = before_turn(second);
      if (f < frequencies) rotate(u, w, turns[t * frequencies + f]);
      float* const to = floats(tokens, is_b ? a.stage.b : a.stage.c) + own_row * columns;
      to[first] = u;
      to[second] = w;
      if (!is_b || !a.options.update_kv_state) return;
      if (const Index slot = destinations(tokens)[t]; slot != nowhere) {
        const auto store = [&](float x, int n) {
          gpu::store<float>(a.y.k_state, x, Slot{slot}, Rank{r}, Head{at.head}, State{n});
        };
        store(u, first);
        store(w, second);
      }
    });
  }

  // ---- rows

  // Of a key that enters the next token: as k_state would give it back where that is wanted.
  __device__ float4 carried(float4 k) const {
    if (!a.x.theta || a.options.carry == Carry::arithmetic) return k;
    const auto round = [&](float x) {
      return a.y.k_state.type() == ElementType::bfloat16  ? widened(rounded<bf16>(x))
             : a.y.k_state.type() == ElementType::float16 ? widened(rounded<fp16>(x))
                                                          : x;
    };
    return {round(k.x), round(k.y), round(k.z), round(k.w)};
  }

  // Eight rows of this lane, four columns each, by all tokens; and their outputs, by the warp.
  __device__ void advance_rows(const Where& at, std::byte* tokens, Stored* tile, int length) const {
    const int columns = static_cast<int>(a.n.state), ranks = static_cast<int>(a.n.ranks),
              values = static_cast<int>(a.n.value), pitch = a.stage.row_pitch,
              in_row = lane_index() % a.lanes_a_row, column = in_row * own_columns,
              rows_a_warp = own_rows * (warp / a.lanes_a_row);
    const Keys b = keys(tokens, part_B, a.stage.b), c = keys(tokens, part_C, a.stage.c),
               K{tokens + part(part_k_state).place, part(part_k_state).type,
                 part(part_k_state).pitch};
#pragma unroll 1
    for (int base = static_cast<int>(threadIdx.x) / warp * rows_a_warp; base < values;
         base += compute_warps * rows_a_warp) {
      const int first = base + lane_index() / a.lanes_a_row * own_rows;
      const bool inside = column < columns && first < values;
      const int clamped = first < values ? first : 0;  // of numbers of rows
      RowBlock<own_rows> s;
#pragma unroll
      for (int j = 0; j < own_rows; ++j) {
        const auto stored =
            inside && first + j < values
                ? *reinterpret_cast<const Four<Stored>*>(tile + (first + j) * columns + column)
                : Four<Stored>{};
#pragma unroll
        for (int e = 0; e < own_columns; ++e) s[j][e] = gpu::load<float>(stored.at[e]);
      }
#pragma unroll 1
      for (int t = 0; t < length; ++t) {
        float* const now = floats(tokens, a.stage.now) + t * ranks * pitch + clamped;
        const float* const before = floats(tokens, a.stage.before) + t * ranks * pitch + clamped;
        RowBlock<own_rows> m = {};
#pragma unroll 1
        for (int r = 0; r < ranks; ++r) {
          const float4 own_b = inside ? b.four(t * ranks + r, column) : float4{},
                       own_k = !inside  ? float4{}
                               : t == 0 ? K.four(r, column)
                                        : carried(b.four((t - 1) * ranks + r, column));
          add_rank(m, own_b, now + r * pitch, own_k, before + r * pitch);
        }
        const float alpha = factors(tokens, t).alpha;
#pragma unroll
        for (int j = 0; j < own_rows; ++j) advance(s[j], alpha, m[j]);
        __syncwarp();  // nobody needs x gamma xproj of these rows any more
#pragma unroll 1
        for (int r = 0; r < ranks; ++r) {
          const float4 own_c = inside ? c.four(t * ranks + r, column) : float4{};
          const float sum = output_of_rank(s, own_c, a.lanes_a_row);
          const int of_sum = in_row * own_rows / a.lanes_a_row;
          if (of_sum * a.lanes_a_row == in_row * own_rows && first + of_sum < values)
            now[r * pitch + of_sum] = sum;
        }
        store_rows(at, tokens, tile, t, s, first, column, inside);
      }
      __syncwarp();
#pragma unroll 1
      for (int i = lane_index(); i < length * rows_a_warp; i += warp) {
        const int t = i / rows_a_warp, own = base + i - t * rows_a_warp;
        if (own < values) write_output(at, tokens, t, own);
      }
    }
  }
  // The state after token t: where it goes back from, in the slot of each token, and in the row of
  // intermediate states; with Carry::storage what is carried becomes what was stored.
  __device__ void store_rows(const Where& at, std::byte* tokens, Stored* tile, int t,
                             RowBlock<own_rows>& s, int first, int column, bool inside) const {
    const Index slot = destinations(tokens)[t];
    const bool one = has_one_destination(), carries = a.options.carry == Carry::storage,
               to_tile = one && slot != nowhere, to_slot = !one && slot != nowhere;
    if (!to_tile && !to_slot && !carries && !a.y.intermediate) return;
    const int columns = static_cast<int>(a.n.state);
#pragma unroll
    for (int j = 0; j < own_rows; ++j) {
      const int own = first + j;
      if (!inside || own >= a.n.value) continue;
      const Four<Stored> stored = encoded(s[j], t,
                                          at.lane.source * a.y.state.template stride<Slot>() +
                                              (at.head * a.n.value + own) * columns + column);
      if (carries)
#pragma unroll
        for (int e = 0; e < own_columns; ++e) s[j][e] = gpu::load<float>(stored.at[e]);
      if (to_tile) *reinterpret_cast<Four<Stored>*>(tile + own * columns + column) = stored;
      if (to_slot) *reinterpret_cast<Four<Stored>*>(row_of(at, slot, own) + column) = stored;
      if (const auto& other = a.y.intermediate)
        *reinterpret_cast<Four<Stored>*>(static_cast<Stored*>(other.data()) +
                                         other.offset(Slot{at.lane.row}, Time{t}, Head{at.head},
                                                      Value{own}, State{column})) = stored;
    }
  }
  // `offset`: the number of the first element as stochastic rounding counts them.
  __device__ Four<Stored> encoded(const float (&s)[own_columns], int t, Index offset) const {
    Four<Stored> stored;
    Philox::Counter words{};
    if constexpr (stochastic) words = rounding_words(*rounding_after(a.options, t), offset);
#pragma unroll
    for (int e = 0; e < own_columns; ++e)
      if constexpr (stochastic)
        stored.at[e] = groundstate::stochastic<Stored>(s[e], words[static_cast<std::size_t>(e)]);
      else
        stored.at[e] = rounded<Stored>(s[e]);
    return stored;
  }

  // ---- outputs

  __device__ void store_output(const Where& at, int t, int r, int p, float y) const {
    const Batch batch{at.lane.batch};
    const Time time{at.lane.begin + t};
    if (a.y.out)
      gpu::store<float>(a.y.out, y, batch, time, Head{at.head}, Value{p});
    else
      gpu::store<float>(a.y.rank_out, y, batch, time, Rank{r}, Head{at.head}, Value{p});
  }
  __device__ void write_output(const Where& at, std::byte* tokens, int t, int p) const {
    const int ranks = static_cast<int>(a.n.ranks), pitch = a.stage.row_pitch;
    const float* const sums = floats(tokens, a.stage.now) + t * ranks * pitch + p;
    const float skip = a.x.D ? numbers_of(tokens)[3 * a.stage.tokens] * value(tokens, part_x, t, p)
                             : 0.0f,
                z = a.x.z ? value(tokens, part_z, t, p) : 0.0f;
    float out = 0;
#pragma unroll 2
    for (int r = 0; r < ranks; ++r) {
      float y = sums[r * pitch];
      if (a.x.D) y = fmaf(skip, weight(tokens, part_xproj, r, p), y);
      if (a.x.z) {
        const float gate = z * value(tokens, part_zproj, r, p);
        y *= gate / (1.0f + expf(-gate));
      }
      if (a.y.out)
        out = fmaf(y, value(tokens, part_outproj, r, p), out);
      else
        store_output(at, t, r, p, y);
    }
    if (a.y.out) store_output(at, t, 0, p, out);
  }
  // Of padding, and behind what is replayed.
  __device__ void write_zeros(const Where& at) const {
    const int first = at.is_empty() ? 0 : static_cast<int>(at.lane.length),
              rows = a.y.out ? 1 : static_cast<int>(a.n.ranks),
              values = static_cast<int>(a.n.value);
    share((static_cast<int>(at.lane.given) - first) * rows * values, [&](int i) {
      const int row = i / values, t = row / rows;
      store_output(at, first + t, row - t * rows, i - row * values, 0.0f);
    });
  }

  // The bits of B and x, where the copy engine does not store them.
  __device__ void copy_kv(const Where& at, std::byte* tokens, int length) const {
    const int ranks = static_cast<int>(a.n.ranks), columns = static_cast<int>(a.n.state);
#pragma unroll 1
    for (int t = 0; t < length; ++t) {
      const Index slot = destinations(tokens)[t];
      if (slot == nowhere) continue;
      const auto copy = [&](PartName name, int own_row, int column, void* to, Index offset) {
        const ElementType type = part(name).type;
        copy_bits(staged(tokens, part(name), own_row) + column * static_cast<int>(size_of(type)),
                  type, to, offset);
      };
      if (!a.k_by_engine && !a.x.theta)
        share(ranks * columns, [&](int i) {
          const int r = i / columns, n = i - r * columns;
          copy(part_B, t * ranks + r, n, a.y.k_state.data(),
               a.y.k_state.offset(Slot{slot}, Rank{r}, Head{at.head}, State{n}));
        });
      if (!a.x_by_engine)
        share(static_cast<int>(a.n.value), [&](int p) {
          copy(part_x, t, p, a.y.x_state.data(),
               a.y.x_state.offset(Slot{slot}, Head{at.head}, Value{p}));
        });
    }
  }

  // ---- store warp

  __device__ void store(unsigned, std::byte* state, std::byte* tokens) const {
    const Where at = *reinterpret_cast<const Where*>(tokens);
    if (at.is_empty() || !has_one_destination()) return;
    const Index slot = destinations(tokens)[at.lane.length - 1];
    if (slot == nowhere) return;
    const auto copy = [](void* to, const std::byte* from, unsigned bytes) {
      ptx::cp_async_bulk(ptx::space_global, ptx::space_shared, to, from, bytes);
    };
    const auto& other = a.y.state_out;
    const bool contiguous = other ? other.template stride<Value>() == a.n.state : is_contiguous();
    const int several = contiguous ? static_cast<int>(a.n.value) : 1;
    for (int row = 0; row < a.n.value; row += several)
      copy(other ? static_cast<Stored*>(other.data()) +
                       other.offset(Sequence{at.sequence}, Head{at.head}, Value{row}, State{0})
                 : row_of(at, slot, row),
           state + row * row_bytes(), static_cast<unsigned>(several * row_bytes()));
    const int last = static_cast<int>(at.lane.length) - 1;
    if (a.k_by_engine)
      for (int r = 0; r < a.n.ranks; ++r)
        copy(static_cast<std::byte*>(a.y.k_state.data()) +
                 a.y.k_state.offset(Slot{slot}, Rank{r}, Head{at.head}, State{0}) *
                     static_cast<Index>(size_of(a.y.k_state.type())),
             staged(tokens, part(part_B), last * static_cast<int>(a.n.ranks) + r),
             part(part_B).row_bytes());
    if (a.x_by_engine)
      copy(static_cast<std::byte*>(a.y.x_state.data()) +
               a.y.x_state.offset(Slot{slot}, Head{at.head}, Value{0}) *
                   static_cast<Index>(size_of(a.y.x_state.type())),
           staged(tokens, part(part_x), last), part(part_x).row_bytes());
  }
};

// ---- launch

template <class Stored, bool stochastic>
void run(const Arguments& a, const Launch& launch) {
  using Own = Step<Stored, stochastic>;
  const StreamForm form =
      stream_form<Own>(Own::compute_threads,
                       a.n.value * a.n.state * static_cast<Index>(sizeof(Stored)), a.stage.bytes);
  require(form.stages >= 2, "gpu.step needs room for two stages");
  Own step{a};
  step.a.state_bytes = form.state_bytes;
  launch_stream(step, form, a.n.sequences * a.n.heads,
                static_cast<cudaStream_t>(launch.stream.handle));
}

template <class Stored>
void dispatch(const Arguments& a, const Launch& launch) {
  if constexpr (!std::is_same_v<Stored, float>)
    if (a.options.stochastic) return run<Stored, true>(a, launch);
  return run<Stored, false>(a, launch);
}

}  // namespace

void step(const DeviceInputs& x, const Options& options, const DeviceOutputs& y,
          const Launch& launch) {
  validate(x, y, options);
  const std::string refusal = step_refusal(x, y, options);
  require(refusal.empty(), refusal);
  if (direct_step(x, options, y, static_cast<cudaStream_t>(launch.stream.handle))) return;
  Arguments a{x, y,        options, shape(x, y), step_stage(x, y, sizeof(Where)), 0, 0,
              0, own_rows, false,   false};
  if (a.n.time == 0 || a.n.heads == 0 || a.n.value == 0) return;  // nothing to write
  a.heads = static_cast<unsigned>(a.n.heads);
  a.heads_a_group = static_cast<unsigned>(a.n.heads / a.n.groups);
  while (a.lanes_a_row * own_columns < a.n.state) a.lanes_a_row *= 2;
  const auto& parts = a.stage.parts;
  const bool one =
      options.update_kv_state && (!x.lanes.destination || x.lanes.destination.extent<Time>() == 1);
  a.k_by_engine = one && !x.theta && parts[part_B].by_engine && parts[part_k_state].by_engine;
  a.x_by_engine = one && parts[part_x].by_engine && parts[part_x_state].by_engine;
  switch (y.state.type()) {
    case ElementType::float32:
      return dispatch<float>(a, launch);
    case ElementType::bfloat16:
      return dispatch<bf16>(a, launch);
    default:
      return dispatch<fp16>(a, launch);
  }
}

}  // namespace groundstate::gpu::mamba3_step
