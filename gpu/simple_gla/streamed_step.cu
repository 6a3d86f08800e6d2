// A few tokens on a pool of states, through shared memory (gpu/core/state_stream.cuh).
//
// An item is one sequence and value head, its state as it is in memory. 128 threads advance 32
// columns of it (64 of 16-bit elements) by the token of gpu.recurrent (tile.cuh); a thread reads 16
// bytes of a row, advances them and writes them back where they were, so that no state is in
// registers and one kernel serves every K.
//
// Rounding points: the state after each token, o as it is stored.
// Limits: streamed_step_takes().
// Bytes and measurements: step.cu.
#include <bit>

#include "gpu/core/state_stream.cuh"
#include "gpu/simple_gla/streamed_step.hpp"
#include "gpu/simple_gla/tile.cuh"

namespace groundstate::gpu::simple_gla {
namespace {

namespace ptx = cuda::ptx;

// ---- tile

constexpr int most_tokens = warp;  // a gate for each thread of a load warp

template <class Stored>
constexpr int columns = 16 / static_cast<int>(sizeof(Stored));  // of a thread
template <class Stored>
constexpr int tile_columns = lanes* columns<Stored>;

// A thread's rows of a state in shared memory, 16 bytes of each. Where the state has none, zeros.
template <class Stored>
class SharedPart {
 public:
  static constexpr int columns = simple_gla::columns<Stored>;
  __device__ SharedPart(std::byte* state, const Steps& a, int rows_of_group, int first_column)
      : words_(reinterpret_cast<uint4*>(state)),
        pitch_(static_cast<int>(a.columns) / columns),
        rows_(rows_of_group) {
    const int first = group() * rows_of_group, column = first_column / columns + lane();
    words_ += first * pitch_ + column;
    inside_ = column < pitch_ ? static_cast<int>(a.rows) - first : 0;
  }
  __device__ int rows() const { return rows_; }
  __device__ Row<float, columns> row(int i) const {
    const auto stored =
        std::bit_cast<Row<Stored, columns>>(i < inside_ ? words_[i * pitch_] : uint4{});
    Row<float, columns> s;
#pragma unroll
    for (int j = 0; j < columns; ++j) s.at[j] = load<float>(stored.at[j]);
    return s;
  }
  __device__ void set_row(int i, const Row<float, columns>& s) {
    Row<Stored, columns> stored;
#pragma unroll
    for (int j = 0; j < columns; ++j) stored.at[j] = rounded<Stored>(s.at[j]);
    if (i < inside_) words_[i * pitch_] = std::bit_cast<uint4>(stored);
  }

 private:
  uint4* words_;
  int pitch_, rows_, inside_;  // words of a row, rows of a group, those that exist
};

// ---- phases

template <class Stored>
struct Step {
  static constexpr int most_tiles = 128 / simple_gla::tile_columns<Stored>,  // of V = 128
      most_compute_threads = most_tiles * threads, usual_stages = 3, resident_ctas = 4 / most_tiles;
  static constexpr int tile_columns = simple_gla::tile_columns<Stored>;
  Steps a;
  int tiles, rows_of_group;

  struct Token {
    Arriving<4> query, key, value;
    Arriving<1> gate, constant_gate;
  };

  __device__ __host__ int padded() const { return groups * rows_of_group; }
  __device__ __host__ int width() const { return tiles * tile_columns; }
  __device__ __host__ unsigned state_bytes() const {
    return static_cast<unsigned>(a.rows * a.columns) * sizeof(Stored);
  }

  // The second part of a stage: the slot that the state is of, and tokens.
  static constexpr Index head_bytes = 16;
  Index token_bytes() const {
    return a.time * Tokens<float>::elements_per_token(padded(), width()) *
               static_cast<Index>(sizeof(float)) +
           head_bytes;
  }
  __device__ Tokens<float> tokens_of(std::byte* shared) const {
    return Tokens<float>(shared + head_bytes, static_cast<int>(a.time), padded(), width());
  }
  static __device__ Index& slot_of(std::byte* shared) { return *reinterpret_cast<Index*>(shared); }

  __device__ Place place(unsigned item) const {
    Place at = tokens_place(item);
    at.sequence = a.slots == nullptr ? at.batch : Index{a.slots[at.batch * a.slot_stride]};
    return at;
  }
  __device__ Place tokens_place(unsigned item) const {  // without its slot
    return {item / a.heads, 0, item % a.heads, 0, a.time, a.reverse, 0};
  }
  __device__ Stored* state(const Place& at, Index slot) const {
    return static_cast<Stored*>(a.pool.data) + slot * a.pool.sequence + at.head * a.pool.head;
  }

  __device__ ElementList elements(const TokenInput& x, const Place& at, Index channels) const {
    return token_elements(x, at, 0, 0, static_cast<int>(channels));
  }
  __device__ ElementList gates(const Place& at) const {
    const auto& g = a.gates.token;
    return {g.type(),
            g.data(),
            g.offset(Batch{at.batch}, Time{at.token(0)}, ValueHead{at.head}),
            0,
            at.reverse ? -g.template stride<Time>() : g.template stride<Time>(),
            most_tokens};
  }
  __device__ ElementList constant_gates(const Place& at) const {
    const auto& g = a.gates.constant;
    return {g.type(), g.data(), g.offset(ValueHead{at.head}), 0, 0, most_tokens};
  }
  __device__ Token fetch(const Place& at, Crew crew) const {
    const int count = static_cast<int>(a.time), rows = static_cast<int>(a.rows),
              columns = static_cast<int>(a.columns);
    return {{crew, 0, count * rows, elements(a.query, at, rows)},
            {crew, 0, count * rows, elements(a.key, at, rows)},
            {crew, 0, count * columns, elements(a.value, at, columns)},
            {crew, 0, a.gates.token ? count : 0, gates(at)},
            {crew, 0, a.gates.constant ? count : 0, constant_gates(at)}};
  }
  __device__ unsigned bytes(const Place& at) const { return at.sequence < 0 ? 0 : state_bytes(); }
  __device__ void load(const Place& at, std::byte* to, Barrier& full, Crew crew) const {
    if (crew.thread == 0 && at.sequence >= 0)
      ptx::cp_async_bulk(ptx::space_cluster, ptx::space_global, to, state(at, at.sequence),
                         state_bytes(), full.word());
  }
  __device__ void stage(const Place& at, const Token& token, std::byte* shared, Crew crew) const {
    const auto tokens = tokens_of(shared);
    const int count = static_cast<int>(a.time), t = crew.thread;
    // Rows of zeros beyond the last channel.
    const auto stage = [&](const Arriving<4>& arriving, const TokenInput& x, Index channels,
                           int width, float* to) {
      const int exist = static_cast<int>(channels);
      for_each_arriving(arriving, crew, count * exist, elements(x, at, channels),
                        [&](ElementList::Place i, float value) {
                          to[i.row * width + i.column] = static_cast<float>(x.scale) * value;
                        });
      const int missing = width - exist;
      for (int i = crew.thread; i < count * missing; i += crew.threads)
        to[i / missing * width + exist + i % missing] = 0;
    };
    stage(token.query, a.query, a.rows, padded(), tokens.query);
    stage(token.key, a.key, a.rows, padded(), tokens.key);
    stage(token.value, a.value, a.columns, width(), tokens.value);
    float g = 0;
    const auto add = [&](ElementList::Place, float gate) { g += gate; };
    token.gate.for_each(crew, 0, a.gates.token ? count : 0, gates(at), add);
    token.constant_gate.for_each(crew, 0, a.gates.constant ? count : 0, constant_gates(at), add);
    if (t < count) tokens.decay[t] = exponential(g);
    if (t == 0) slot_of(shared) = at.sequence;
  }

  template <class Release>
  __device__ void compute(unsigned item, std::byte* states, std::byte* shared,
                          const Release& release) const {
    const auto tokens = tokens_of(shared);
    const int count = static_cast<int>(a.time),
              first_column = static_cast<int>(threadIdx.x) / threads * tile_columns;
    const Crew crew{static_cast<int>(threadIdx.x), tiles * threads};
    if (slot_of(shared) >= 0) {
      SharedPart<Stored> part(states, a, rows_of_group, first_column);
      const auto own = tokens.from(first_column);
#pragma unroll 1
      for (int t = 0; t < count; ++t) advance<Stored>(part, own, t);
    } else {
      for (int i = crew.thread; i < count * warps * width(); i += crew.threads)
        tokens.partial[i] = 0;
    }
    release();
    named_barrier(1, crew.threads);
    write_outputs(a.output, tokens_place(item), 0, count, a.columns, tokens, crew);
  }
  __device__ void store(unsigned item, std::byte* from, std::byte* shared) const {
    const Index slot = slot_of(shared);
    if (slot >= 0)
      ptx::cp_async_bulk(ptx::space_global, ptx::space_shared, state(tokens_place(item), slot),
                         from, state_bytes());
  }
};

// ---- launch

template <class Stored>
Step<Stored> step_of(const Steps& a) {
  return {a, static_cast<int>((a.columns + tile_columns<Stored> - 1) / tile_columns<Stored>),
          rows_of(a.rows)};
}
template <class Stored>
StreamForm form_of(const Step<Stored>& step) {
  return stream_form<Step<Stored>>(step.tiles * threads, step.state_bytes(), step.token_bytes());
}

template <class Use>
auto with_step(const Steps& a, Use&& use) {
  switch (a.pool.type) {
    case ElementType::float32:
      return use(step_of<float>(a));
    case ElementType::bfloat16:
      return use(step_of<bf16>(a));
    default:
      return use(step_of<fp16>(a));
  }
}

}  // namespace

bool streamed_step_takes(const Steps& a) {
  const StateOutput& pool = a.pool;
  const auto size = static_cast<Index>(size_of(pool.type)), several = 16 / size;
  const bool adjacent = (pool.column == 1 || a.columns == 1) &&
                        (pool.row == a.columns || a.rows == 1) && a.columns % several == 0;
  const bool aligned = reinterpret_cast<std::size_t>(pool.data) % 16 == 0 &&
                       pool.sequence % several == 0 && pool.head % several == 0;
  const bool number = pool.type == ElementType::float32 || pool.type == ElementType::bfloat16 ||
                      pool.type == ElementType::float16;
  return number && adjacent && aligned && a.rows > 0 && a.columns > 0 && a.time > 0 &&
         a.time <= most_tokens && a.rows * a.columns * size <= 128 * 1024 &&
         with_step(a, [](const auto& step) {
           return step.tiles <= step.most_tiles && form_of(step).stages >= 2;
         });
}

void streamed_step(const Steps& a, Stream stream) {
  with_step(a, [&](const auto& step) {
    launch_stream(step, form_of(step), a.batch * a.heads, static_cast<cudaStream_t>(stream.handle));
  });
}

}  // namespace groundstate::gpu::simple_gla
