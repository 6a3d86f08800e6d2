// gpu.step: a few tokens on a pool of states, in place.
//
//   S := round(exp(g + g_gamma) S)            S: [key, value], in a slot of the pool
//   S := round(fma(k, v, S)),  o = scale S^T q
//
// (one rounding to the type of the pool a token, after the fma; the arithmetic is fp32, fp64 for a
// pool of fp64.) The token is that of gpu.recurrent (tile.cuh), so the bits are, too.
//
// One token on states that are adjacent bytes goes by way of registers (direct_step.cu), more
// tokens or other sizes through shared memory (streamed_step.cu). For other layouts a CTA owns one
// sequence, one value head and 32 columns of its state, 64 where the state has 16-bit elements and
// up to 128 keys: each thread reads R x 4 (R x 8) elements by 16-byte accesses along values, or
// along keys where those are contiguous, keeps them in registers, and writes them back after the
// last token. What is not contiguous is read element by element, and above 512 keys (256 in fp64)
// the state is worked on in the workspace.
//
// Rounding points: the state after each token, o as it is stored.
// Limits: keys as gpu.recurrent (recurrence.cu).
// Bytes: 2 K V of the pool's type for each sequence and value head, beside the tokens; B 64, HV 32,
// K = V = 128 in fp32: 268 MB, 89 us at 3 TB/s. 5 K V flop a token: far below any limit.
// Measured on an H100, HV 32, K = V = 128, B 64 / 128 (data/timings_h100.jsonl), by way of
// registers: fp32 97 / 188 us, 96 / 97 % of a copy of the same bytes, bf16 51 / 97 us, 95 / 96 %.
// Through shared memory: fp32 92 / 94 %, bf16 90 / 92 %; four tokens a call take 1.8 and 2.4 times
// as long, which is how long their tokens take to arrive. In tiles of 32 columns: fp32 92 / 93 %,
// bf16 64 / 63 %.
#include <bit>
#include <stdexcept>
#include <string>

#include "gpu/core/arriving.cuh"
#include "gpu/core/check.hpp"
#include "gpu/simple_gla/direct_step.hpp"
#include "gpu/simple_gla/streamed_step.hpp"
#include "gpu/simple_gla/tile.cuh"

namespace groundstate::gpu::simple_gla {
namespace {

// ---- tile

template <class Stored>
using Arithmetic = std::conditional_t<std::is_same_v<Stored, double>, double, float>;

template <class Stored>
constexpr int most_register_rows = sizeof(Stored) == 8 ? 16 : 32;  // of a thread
template <class Stored>
constexpr int columns_of(int rows) {
  return sizeof(Stored) == 2 && (rows == 4 || rows == 8) ? 8 : 4;
}

// CTAs of a multiprocessor, so that the registers of a thread hold its part of the state and some
// 50 more: the bytes that all of them have in flight are what the speed depends on.
template <class Stored, int rows>
constexpr int resident_ctas() {
  constexpr int state =
      rows * columns_of<Stored>(rows) * static_cast<int>(sizeof(Arithmetic<Stored>)) / 4;
  return state == 0 || state > 64 ? 2 : state > 32 ? 4 : state > 16 ? 5 : 7;
}

// Along which axis of the state elements are contiguous and aligned, so that one access takes 16
// bytes of them. A parameter of the kernel: in one that has several, registers that are neighbours
// along one axis are not along the other, and the compiler takes wide accesses apart.
enum class Access { columns, rows, single };

struct Arguments : Steps {
  unsigned tiles;
};

// ---- phases

template <int bytes>
struct WordOf;
template <>
struct WordOf<16> {
  using type = uint4;
};
template <>
struct WordOf<8> {
  using type = uint2;
};
template <>
struct WordOf<4> {
  using type = unsigned;
};
template <>
struct WordOf<2> {
  using type = unsigned short;
};

// `count` adjacent elements, by one access. The intrinsics keep it in one piece, and out of L1,
// where nobody reads it again.
template <class Stored, int count>
struct Adjacent {
  using Word = typename WordOf<count* static_cast<int>(sizeof(Stored))>::type;
  struct Elements {
    Stored at[count];
  };
  static __device__ Elements load(const Stored* from) {
    return std::bit_cast<Elements>(__ldcg(reinterpret_cast<const Word*>(from)));
  }
  static __device__ void store(Stored* to, const Elements& elements) {
    __stcg(reinterpret_cast<Word*>(to), std::bit_cast<Word>(elements));
  }
};

template <class Stored, int most>
constexpr int adjacent = most < 16 / static_cast<int>(sizeof(Stored))
                             ? most
                             : 16 / static_cast<int>(sizeof(Stored));

// A thread's part of a slot as it is stored.
template <class Stored, Access access, int rows, int columns>
struct Slice {
  Stored at[rows][columns];

  // Calls use(row, column, address, n) for every access of the part: |n| elements lie along columns
  // (n > 0) or rows (n < 0), all of them inside the state.
  template <class Use>
  static __device__ void for_each_access(const Arguments& a, const Place& place, Stored* own,
                                         Use&& use) {
    const int rows_left = static_cast<int>(a.rows) - group() * rows,
              columns_left = static_cast<int>(a.columns - place.first_column) - lane() * columns;
    const auto visit = [&](int i, int j, auto several) {
      if (i < rows_left && j < columns_left)
        use(i, j, own + i * a.pool.row + j * a.pool.column, several);
    };
    if constexpr (access == Access::columns) {
      constexpr int count = adjacent<Stored, columns>;
#pragma unroll
      for (int i = 0; i < rows; ++i)
#pragma unroll
        for (int j = 0; j < columns; j += count) visit(i, j, std::integral_constant<int, count>{});
    } else if constexpr (access == Access::rows) {
      constexpr int count = adjacent<Stored, rows>;
#pragma unroll
      for (int j = 0; j < columns; ++j)
#pragma unroll
        for (int i = 0; i < rows; i += count) visit(i, j, std::integral_constant<int, -count>{});
    } else {
#pragma unroll
      for (int i = 0; i < rows; ++i)
#pragma unroll
        for (int j = 0; j < columns; ++j) visit(i, j, std::integral_constant<int, 1>{});
    }
  }

  __device__ void load(const Arguments& a, const Place& place, Stored* states, Index offset) {
#pragma unroll
    for (int i = 0; i < rows; ++i)
#pragma unroll
      for (int j = 0; j < columns; ++j) at[i][j] = Stored{};
    for_each_access(a, place, states + offset,
                    [&]<int n>(int i, int j, const Stored* from, std::integral_constant<int, n>) {
                      constexpr int count = n < 0 ? -n : n;
                      const auto elements = Adjacent<Stored, count>::load(from);
#pragma unroll
                      for (int m = 0; m < count; ++m)
                        at[n < 0 ? i + m : i][n < 0 ? j : j + m] = elements.at[m];
                    });
  }
  __device__ void store(const Arguments& a, const Place& place, Stored* states,
                        Index offset) const {
    // Not the addresses of the load kept in registers all along: these are others to the compiler.
    asm volatile("" : "+l"(offset));
    for_each_access(a, place, states + offset,
                    [&]<int n>(int i, int j, Stored* to, std::integral_constant<int, n>) {
                      constexpr int count = n < 0 ? -n : n;
                      typename Adjacent<Stored, count>::Elements elements;
#pragma unroll
                      for (int m = 0; m < count; ++m)
                        elements.at[m] = at[n < 0 ? i + m : i][n < 0 ? j : j + m];
                      Adjacent<Stored, count>::store(to, elements);
                    });
  }
};

// A block of tokens: fetch() puts one element of each tensor and thread on its way, before the slot
// is known and the state is, and stage() brings them and the rest to shared memory.
template <class Scalar>
struct TokenBlock {
  const Arguments& a;
  const Place& at;
  const Tokens<Scalar>& tokens;
  Index first;
  int count;

  struct Fetched {
    Arriving<1> query, key, value;
  };
  __device__ Fetched fetch() const {
    const auto arriving = [&](const TokenInput& x, Index first_channel, int width, Index channels) {
      return Arriving<1>(crew(), 0, existing(width, channels - first_channel),
                         token_elements(x, at, first, first_channel, width));
    };
    return {arriving(a.query, 0, tokens.padded, a.rows), arriving(a.key, 0, tokens.padded, a.rows),
            arriving(a.value, at.first_column, tokens.width, a.columns)};
  }
  __device__ void stage(const Fetched& fetched) const {
    stage_decays(a.gates, at, first, count, false, tokens.decay);
    const auto stage = [&](const Arriving<1>& arriving, const TokenInput& x, Index first_channel,
                           int width, Index channels, Scalar* to) {
      int done = 0;
      if constexpr (sizeof(Scalar) == 4) {  // of fp64 only a float is fetched
        done = min(threads, existing(width, channels - first_channel));
        arriving.for_each(crew(), 0, done, token_elements(x, at, first, first_channel, width),
                          [&](ElementList::Place i, float value) {
                            to[i.column] = static_cast<float>(x.scale) * value;
                          });
      }
      simple_gla::stage(x, at, first, count, first_channel, width, channels, to, done);
    };
    stage(fetched.query, a.query, 0, tokens.padded, a.rows, tokens.query);
    stage(fetched.key, a.key, 0, tokens.padded, a.rows, tokens.key);
    stage(fetched.value, a.value, at.first_column, tokens.width, a.columns, tokens.value);
  }
  static __device__ Crew crew() { return {thread(), threads}; }
  // Elements of the first token: those of later ones begin behind the padding.
  static __device__ int existing(int width, Index channels) {
    return static_cast<int>(min(Index{width}, max(channels, Index{0})));
  }
};

template <class Stored, class Part>
__device__ void advance_all(Part& state, const Arguments& a, const Place& at,
                            const Tokens<Arithmetic<Stored>>& tokens, int block,
                            typename TokenBlock<Arithmetic<Stored>>::Fetched fetched) {
  for (Index first = 0; first < a.time; first += block) {
    const int count = static_cast<int>(min(Index{block}, a.time - first));
    const TokenBlock<Arithmetic<Stored>> own{a, at, tokens, first, count};
    if (first > 0) fetched = own.fetch();
    own.stage(fetched);
    __syncthreads();
#pragma unroll 1
    for (int t = 0; t < count; ++t) advance<Stored>(state, tokens, t);
    __syncthreads();
    write_outputs(a.output, at, first, count, a.columns, tokens);
  }
}

template <class Scalar>
__device__ void write_zeros(const Arguments& a, const Place& at, int width) {
  for (Index i = threadIdx.x; i < a.time * width; i += threads) {
    const Index column = at.first_column + i % width;
    if (column < a.columns)
      store<Scalar>(a.output.type, a.output.data,
                    at.batch * a.output.batch + i / width * a.output.time +
                        at.head * a.output.head + column * a.output.channel,
                    Scalar(0));
  }
}

// ---- kernel

template <class Stored, Access access, int rows>
__global__ void __launch_bounds__(threads, (resident_ctas<Stored, rows>()))
    advance_states(const __grid_constant__ Arguments a, Arithmetic<Stored>* workspace,
                   int rows_of_group, int block) {
  using Scalar = Arithmetic<Stored>;
  constexpr int columns = columns_of<Stored>(rows), width = lanes * columns;
  extern __shared__ __align__(16) std::byte shared[];
  const unsigned tile = blockIdx.x % a.tiles, problem = blockIdx.x / a.tiles,
                 head = problem % a.heads, batch = problem / a.heads;
  const Index slot = a.slots == nullptr ? Index{batch} : a.slots[batch * a.slot_stride];
  const Place at{batch, slot, head, 0, a.time, a.reverse, Index{tile} * width};
  const Tokens<Scalar> tokens(shared, block, groups * rows_of_group, width);
  const auto fetched =
      TokenBlock<Scalar>{a, at, tokens, 0, static_cast<int>(min(Index{block}, a.time))}.fetch();
  if (slot < 0) return write_zeros<Scalar>(a, at, width);
  Stored* const states =
      static_cast<Stored*>(a.pool.data) + slot * a.pool.sequence + head * a.pool.head;
  Fragment<Scalar, rows, columns> state(
      workspace + Index{blockIdx.x} * rows_of_group * columns * threads, rows_of_group);
  if constexpr (rows > 0) {
    const Index offset =
        Index{group()} * rows * a.pool.row + (at.first_column + lane() * columns) * a.pool.column;
    Slice<Stored, access, rows, columns> slice;
    slice.load(a, at, states, offset);
#pragma unroll
    for (int i = 0; i < rows; ++i)
#pragma unroll
      for (int j = 0; j < columns; ++j) state(i, j) = load<Scalar>(slice.at[i][j]);
    advance_all<Stored>(state, a, at, tokens, block, fetched);
#pragma unroll
    for (int i = 0; i < rows; ++i)
#pragma unroll
      for (int j = 0; j < columns; ++j) slice.at[i][j] = rounded<Stored>(state(i, j));
    slice.store(a, at, states, offset);
  } else {
    const auto element = [&](Index row, Index column) -> Stored& {
      return states[row * a.pool.row + column * a.pool.column];
    };
    for_each_element(state, at, a.rows, a.columns,
                     [&](Scalar& s, Index row, Index column, bool inside) {
                       s = inside ? load<Scalar>(element(row, column)) : Scalar(0);
                     });
    advance_all<Stored>(state, a, at, tokens, block, fetched);
    for_each_element(state, at, a.rows, a.columns,
                     [&](Scalar& s, Index row, Index column, bool inside) {
                       if (inside) element(row, column) = rounded<Stored>(s);
                     });
  }
}

// ---- launch

Index tiles(const Arguments& a, int columns) {
  return (a.columns + lanes * columns - 1) / (lanes * columns);
}

template <class Stored>
int register_rows(Index rows) {
  const int own = rows_of(rows);
  return own <= most_register_rows<Stored> ? own : 0;
}

Access access_of(const StateOutput& pool, const Shape& n) {
  const Index size = static_cast<Index>(size_of(pool.type)), several = 16 / size;
  const auto aligned = [&](Index stride) { return stride % several == 0; };
  const bool base = reinterpret_cast<std::size_t>(pool.data) % 16 == 0 && aligned(pool.sequence) &&
                    aligned(pool.head);
  if (base && pool.column == 1 && aligned(pool.row) && aligned(n.value)) return Access::columns;
  if (base && pool.row == 1 && aligned(pool.column) && aligned(n.key)) return Access::rows;
  return Access::single;
}

template <class Stored, Access access, int rows>
void launch(Arguments a, const Launch& launch) {
  using Scalar = Arithmetic<Stored>;
  constexpr int columns = columns_of<Stored>(rows);
  a.tiles = static_cast<unsigned>(tiles(a, columns));
  const Block block = block_of<Scalar>(a.rows, columns, a.time);
  if (static_cast<Index>(block.bytes) > shared_limit)
    throw std::invalid_argument("simple_gla: K = " + std::to_string(a.rows) +
                                " does not fit the shared memory of gpu.step");
  const Index ctas = a.batch * tiles(a, columns) * a.heads;
  if (ctas == 0) return;
  if (ctas > Index{1} << 30)
    throw std::invalid_argument("simple_gla: too many sequences and heads for one launch");
  const auto kernel = advance_states<Stored, access, rows>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(block.bytes)));
  kernel<<<static_cast<unsigned>(ctas), threads, block.bytes,
           static_cast<cudaStream_t>(launch.stream.handle)>>>(
      a, reinterpret_cast<Scalar*>(launch.workspace), rows_of(a.rows), block.tokens);
  check(cudaGetLastError());
}

template <class Stored, Access access>
void dispatch(const Arguments& a, const Launch& to) {
  switch (register_rows<Stored>(a.rows)) {
    case 4:
      return launch<Stored, access, 4>(a, to);
    case 8:
      return launch<Stored, access, 8>(a, to);
    case 16:
      return launch<Stored, access, 16>(a, to);
    case 32:
      if constexpr (most_register_rows<Stored> >= 32) return launch<Stored, access, 32>(a, to);
      [[fallthrough]];
    default:
      return launch<Stored, Access::single, 0>(a, to);
  }
}
template <class Stored>
void dispatch(const Arguments& a, Access access, const Launch& to) {
  switch (access) {
    case Access::columns:
      return dispatch<Stored, Access::columns>(a, to);
    case Access::rows:
      return dispatch<Stored, Access::rows>(a, to);
    case Access::single:
      return dispatch<Stored, Access::single>(a, to);
  }
}

void validate_step(const DeviceInputs& x, const DevicePool& pool) {
  validate(x);
  const Shape n = shape(x);
  require(!x.initial_state && !x.offsets, "a step takes neither h0 nor cu_seqlens");
  require(pool && pool.extent<ValueHead>() == n.value_heads && pool.extent<Key>() == n.key &&
              pool.extent<Value>() == n.value,
          "the pool must be [slot, value_head, key, value] of k and v");
}

}  // namespace

std::size_t step_workspace(const DeviceInputs& x, const DevicePool& pool) {
  validate_step(x, pool);
  const Shape n = shape(x);
  const bool wide = pool.type() == ElementType::float64;
  if (wide ? register_rows<double>(n.key) > 0 : register_rows<float>(n.key) > 0) return 0;
  Arguments a{};
  a.columns = n.value;
  const int columns = columns_of<float>(0);
  const Index elements =
      n.batch * n.value_heads * tiles(a, columns) * fragment_elements(n.key, columns);
  return static_cast<std::size_t>(elements) * (wide ? sizeof(double) : sizeof(float));
}

void step(const DeviceInputs& x, const DevicePool& pool,
          const DeviceView<const std::int32_t, Batch>& slots, const Options& options,
          const DeviceView<Any, Batch, Time, ValueHead, Value>& output, const Launch& launch) {
  validate_step(x, pool);
  const Shape n = shape(x);
  validate(x, DeviceOutputs{output, {}});
  if (slots)
    require(slots.extent<Batch>() == n.batch,
            "slots must have one index per sequence, " + std::to_string(n.batch));
  else
    require(pool.extent<Slot>() >= n.batch,
            "without slots the pool needs a slot per sequence, " + std::to_string(n.batch));
  require_workspace(launch, step_workspace(x, pool));
  Arguments a{};
  a.batch = n.batch;
  a.heads = static_cast<unsigned>(n.value_heads);
  a.time = n.time;
  a.rows = n.key;
  a.columns = n.value;
  a.gates = {x.log_decay, x.constant_log_decay};
  a.reverse = options.reverse;
  a.query = token_input(x.query, n.value_heads, options.scale);
  a.key = token_input(x.key, n.value_heads);
  a.value = token_input(x.value, n.value_heads);
  a.output = token_output(output);
  a.pool = state_tensor<void>(pool);
  a.slots = slots ? slots.data() : nullptr;
  a.slot_stride = slots ? slots.stride<Batch>() : 0;
  if (direct_step(a, launch.stream)) return;
  if (streamed_step_takes(a)) return streamed_step(a, launch.stream);
  const Access access = access_of(a.pool, n);
  switch (pool.type()) {
    case ElementType::float64:
      return dispatch<double>(a, access, launch);
    case ElementType::float32:
      return dispatch<float>(a, access, launch);
    case ElementType::bfloat16:
      return dispatch<bf16>(a, access, launch);
    case ElementType::float16:
      return dispatch<fp16>(a, access, launch);
    default:
      throw std::invalid_argument("simple_gla: a pool of " + std::string(name_of(pool.type())) +
                                  " is not accepted (fp64, fp32, bf16, fp16 are)");
  }
}

}  // namespace groundstate::gpu::simple_gla
