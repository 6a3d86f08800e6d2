// gpu.recurrent: the reference on the device, in the reference's order.
//
//   equation and order of operations: reference/mamba3_step/{contract,prologue,step}.hpp
//
// A CTA owns one lane and head, or all lanes of a head where they are processed one after the
// other; what it carries from token to token is in the workspace. Its threads share the angles and
// the keys, and have rows of the state of their own. Elementary functions and encodings are those
// of the host (reference/core/), and no product and sum are contracted here (CMakeLists.txt:
// --fmad=false), so every bit is the reference's.
//
// Rounding points: what is stored, as it is stored; with Carry::storage what is carried, as the
// pools would store it. This is the kernel to compare with, not the one to run: gpu.step reads a
// state once.
#include <algorithm>

#include "gpu/core/check.hpp"
#include "gpu/core/load_index.cuh"
#include "gpu/core/workspace.hpp"
#include "gpu/mamba3_step/recurrent.hpp"
#include "reference/core/elementary.hpp"
#include "reference/core/trigonometric.hpp"

namespace groundstate::gpu::mamba3_step {
namespace {

constexpr int threads = 128;

struct Arguments {
  DeviceInputs x;
  DeviceOutputs y;
  Options options;
  Shape n;
  Index lanes;  // of a CTA
};

// ---- what a CTA carries, in the workspace

template <class Scalar>
struct Carried {
  Scalar* state;                  // [state][value]
  Scalar *k, *b, *c;              // [rank][state]
  Scalar* x;                      // [value]
  Scalar *angle, *sine, *cosine;  // [frequency]
  Scalar* inverse;                // [B or C][rank]: of the norm

  static constexpr Index elements(const Shape& n) {
    return n.state * n.value + 3 * n.ranks * n.state + n.value + 3 * n.frequencies + 2 * n.ranks;
  }
  __device__ Carried(Scalar* first, const Shape& n) {
    const auto take = [&](Index count) {
      Scalar* const own = first;
      first += count;
      return own;
    };
    state = take(n.state * n.value);
    k = take(n.ranks * n.state);
    b = take(n.ranks * n.state);
    c = take(n.ranks * n.state);
    x = take(n.value);
    angle = take(n.frequencies);
    sine = take(n.frequencies);
    cosine = take(n.frequencies);
    inverse = take(2 * n.ranks);
  }
};

// Calls use(i) for this thread's share of 0, ..., count - 1.
template <class Use>
__device__ void share(Index count, const Use& use) {
  for (Index i = threadIdx.x; i < count; i += threads) use(i);
}

// As an element of this type would give it back.
template <class Scalar>
__device__ Scalar as_stored(ElementType type, Scalar x) {
  return with_type(type, static_cast<const void*>(nullptr),
                   [&]<class Stored>(const Stored*) { return load<Scalar>(rounded<Stored>(x)); });
}

// An element of a state as it is stored.
template <class Scalar>
__device__ void store_rounded(ElementType type, void* data, Index i, Scalar x, bool stochastic,
                              std::uint32_t word) {
  const auto value = static_cast<float>(x);
  if (stochastic && type == ElementType::bfloat16)
    static_cast<bf16*>(data)[i] = groundstate::stochastic<bf16>(value, word);
  else if (stochastic && type == ElementType::float16)
    static_cast<fp16*>(data)[i] = groundstate::stochastic<fp16>(value, word);
  else
    store<Scalar>(type, data, i, x);
}

// ---- one lane and head

template <class Scalar>
struct Problem {
  const Arguments& a;
  Carried<Scalar> own;
  Lane at;
  Index sequence, head;

  __device__ Group group() const { return {head / (a.n.heads / a.n.groups)}; }
  __device__ Batch batch() const { return {at.batch}; }
  __device__ Time time(Index t) const { return {at.begin + t}; }
  __device__ Scalar number(const DeviceView<const Any, Batch, Time, Head>& x, Index t) const {
    return load<Scalar>(x, batch(), time(t), Head{head});
  }

  __device__ void load_carried() const {
    const Slot slot{at.source};
    const auto& y = a.y;
    share(a.n.value * a.n.state, [&](Index i) {
      const Index p = i / a.n.state, k = i % a.n.state;
      own.state[k * a.n.value + p] = load_element_of(y.state, slot, Head{head}, Value{p}, State{k});
    });
    share(a.n.ranks * a.n.state, [&](Index i) {
      own.k[i] =
          load_element_of(y.k_state, slot, Rank{i / a.n.state}, Head{head}, State{i % a.n.state});
    });
    share(a.n.value,
          [&](Index p) { own.x[p] = load_element_of(y.x_state, slot, Head{head}, Value{p}); });
    share(a.n.frequencies, [&](Index f) {
      own.angle[f] = load_element_of(y.angle_state, slot, Head{head}, Frequency{f});
    });
  }
  template <class... Axes>
  static __device__ Scalar load_element_of(const DeviceView<Any, Axes...>& y, Axes... at) {
    return load<Scalar>(y.type(), y.data(), y.offset(at...));
  }

  // ---- the keys of a token

  __device__ Scalar key(const DeviceView<const Any, Batch, Time, Rank, Group, State>& x, Index t,
                        Index r, Index k) const {
    return load<Scalar>(x, batch(), time(t), Rank{r}, group(), State{k});
  }
  // 1 / root mean square of each row.
  __device__ void find_norms(Index t) const {
    share(2 * a.n.ranks, [&](Index i) {
      const auto& x = i < a.n.ranks ? a.x.B : a.x.C;
      Scalar sum(0);
      for (Index k = 0; k < a.n.state; ++k) {
        const Scalar u = key(x, t, i % a.n.ranks, k);
        sum = fma(u, u, sum);
      }
      own.inverse[i] = Scalar(1) / sqrt(sum / Scalar(a.n.state) + Scalar(norm_epsilon));
    });
  }
  __device__ void turn(Index t) const {
    const Scalar dt = number(a.x.dt, t);
    share(a.n.frequencies, [&](Index f) {
      const Scalar theta = load<Scalar>(a.x.theta, batch(), time(t), Head{head}, Frequency{f}),
                   advance = (pi<Scalar> * hyperbolic_tangent(theta)) * dt,
                   next = own.angle[f] + advance;
      own.angle[f] = a.options.wrap_angle ? wrapped_angle(next) : next;
      const auto [sine, cosine] = sine_and_cosine(own.angle[f]);
      own.sine[f] = sine;
      own.cosine[f] = cosine;
    });
  }
  __device__ void find_keys(Index t) const {
    const bool norm = static_cast<bool>(a.x.B_norm);
    if (a.x.theta) turn(t);
    if (norm) find_norms(t);
    __syncthreads();
    const Index rows = a.n.ranks * a.n.state;
    share(2 * rows, [&](Index i) {
      const bool is_b = i < rows;
      const Index own_i = is_b ? i : i - rows, r = own_i / a.n.state, k = own_i % a.n.state;
      Scalar u = key(is_b ? a.x.B : a.x.C, t, r, k);
      if (norm)
        u = (u * own.inverse[is_b ? r : a.n.ranks + r]) *
            load<Scalar>(is_b ? a.x.B_norm : a.x.C_norm, State{k});
      if (const auto& bias = is_b ? a.x.B_bias : a.x.C_bias)
        u += load<Scalar>(bias, Rank{r}, Head{head}, State{k});
      (is_b ? own.b : own.c)[own_i] = u;
    });
    __syncthreads();
    if (!a.x.theta) return;
    share(2 * a.n.ranks * a.n.frequencies, [&](Index i) {
      const Index row = i / a.n.frequencies, f = i % a.n.frequencies;
      Scalar* const keys =
          row < a.n.ranks ? own.b + row * a.n.state : own.c + (row - a.n.ranks) * a.n.state;
      const auto [first, second] = pair_of(a.options.rotation, f, a.n.state);
      const Scalar u = keys[first], w = keys[second], s = own.sine[f], c = own.cosine[f];
      keys[first] = fma(u, c, -(w * s));
      keys[second] = fma(u, s, w * c);
    });
    __syncthreads();
  }

  // ---- one token

  __device__ void write(Index t, Index r, Index p, Scalar value) const {
    if (a.y.out)
      store<Scalar>(a.y.out, value, batch(), time(t), Head{head}, Value{p});
    else
      store<Scalar>(a.y.rank_out, value, batch(), time(t), Rank{r}, Head{head}, Value{p});
  }
  __device__ void write_zeros(Index first) const {
    const Index rows = a.y.out ? 1 : a.n.ranks;
    share((at.given - first) * rows * a.n.value, [&](Index i) {
      write(first + i / (rows * a.n.value), i / a.n.value % rows, i % a.n.value, Scalar(0));
    });
  }
  __device__ Scalar projection(const DeviceView<const Any, Rank, Head, Value>& x, Index r,
                               Index p) const {
    return x ? load<Scalar>(x, Rank{r}, Head{head}, Value{p}) : Scalar(1);
  }

  __device__ void advance(Index t) const {
    const Index P = a.n.value;
    const Scalar dt = number(a.x.dt, t), trap = number(a.x.trap, t),
                 alpha = exponential(Scalar(number(a.x.A, t) * dt)), gamma = trap * dt,
                 beta = ((Scalar(1) - trap) * dt) * alpha;
    share(P, [&](Index p) {
      const Scalar x = load<Scalar>(a.x.x, batch(), time(t), Head{head}, Value{p}), now = x * gamma,
                   before = own.x[p] * beta;
      for (Index k = 0; k < a.n.state; ++k) {
        Scalar sum(0);
        for (Index r = 0; r < a.n.ranks; ++r) {
          const Scalar up = projection(a.x.xproj, r, p), u = now * up, v = before * up;
          const Index i = r * a.n.state + k;
          sum = fma(v, own.k[i], r == 0 ? u * own.b[i] : fma(u, own.b[i], sum));
        }
        own.state[k * P + p] = fma(own.state[k * P + p], alpha, sum);
      }
      Scalar out(0);
      for (Index r = 0; r < a.n.ranks; ++r) {
        Scalar y(0);
        for (Index k = 0; k < a.n.state; ++k)
          y = fma(own.state[k * P + p], own.c[r * a.n.state + k], y);
        if (a.x.D) y = fma(load<Scalar>(a.x.D, Head{head}) * x, projection(a.x.xproj, r, p), y);
        if (a.x.z)
          y *= silu(Scalar(load<Scalar>(a.x.z, batch(), time(t), Head{head}, Value{p}) *
                           projection(a.x.zproj, r, p)));
        if (!a.x.outproj)
          write(t, r, p, y);
        else
          out = r == 0 ? y * projection(a.x.outproj, r, p)
                       : fma(y, projection(a.x.outproj, r, p), out);
      }
      if (a.x.outproj) write(t, 0, p, out);
      own.x[p] = x;
    });
    __syncthreads();
    share(a.n.ranks * a.n.state, [&](Index i) {
      own.k[i] =
          a.options.carry == Carry::storage ? as_stored(a.y.k_state.type(), own.b[i]) : own.b[i];
    });
    if (a.options.carry == Carry::storage)
      share(a.n.frequencies,
            [&](Index f) { own.angle[f] = as_stored(a.y.angle_state.type(), own.angle[f]); });
  }

  // ---- storing

  // Calls use(p, k, element, rounds at random, random word) for the state after token t.
  template <class Use>
  __device__ void for_each_element(Index t, const Use& use) const {
    const auto rounding = rounding_after(a.options, t);
    const Index offset =
                    at.source * a.y.state.template stride<Slot>() + head * a.n.value * a.n.state,
                words_a_row = (a.n.state + 3) / 4;
    share(a.n.value * words_a_row, [&](Index i) {
      const Index p = i / words_a_row, first = i % words_a_row * 4;
      Philox::Counter words{};
      if (rounding) words = rounding_words(*rounding, offset + p * a.n.state + first);
      for (Index k = first; k < min(first + 4, a.n.state); ++k)
        use(p, k, own.state[k * a.n.value + p], rounding.has_value(),
            words[static_cast<std::size_t>(k % 4)]);
    });
  }
  __device__ void round_state(Index t) const {
    const ElementType type = a.y.state.type();
    for_each_element(t, [&](Index, Index, Scalar& s, bool stochastic, std::uint32_t word) {
      alignas(8) std::byte element[8];
      store_rounded(type, element, 0, s, stochastic, word);
      s = load<Scalar>(type, element, 0);
    });
  }
  template <class View, class... Lead>
  __device__ void store_state(Index t, const View& to, Lead... lead) const {
    for_each_element(t, [&](Index p, Index k, Scalar s, bool stochastic, std::uint32_t word) {
      store_rounded(to.type(), to.data(), to.offset(lead..., Head{head}, Value{p}, State{k}), s,
                    stochastic, word);
    });
  }

  // The bits where the types are the same, else the value.
  template <class From, class To>
  static __device__ void copy(const From& from, Index own, const To& to, Index other) {
    if (from.type() != to.type())
      return store<Scalar>(to.type(), to.data(), other,
                           load<Scalar>(from.type(), from.data(), own));
    const auto move = [&]<class Word>(Word) {
      static_cast<Word*>(to.data())[other] = static_cast<const Word*>(from.data())[own];
    };
    switch (size_of(to.type())) {
      case 2:
        return move(std::uint16_t{});
      case 4:
        return move(std::uint32_t{});
      default:
        return move(std::uint64_t{});
    }
  }
  __device__ void store_kv(Index t, Slot slot) const {
    const auto& K = a.y.k_state;
    share(a.n.ranks * a.n.state, [&](Index i) {
      const Rank r{i / a.n.state};
      const State k{i % a.n.state};
      const Index to = K.offset(slot, r, Head{head}, k);
      if (a.x.theta)
        store<Scalar>(K.type(), K.data(), to, own.k[i]);
      else
        copy(a.x.B, a.x.B.offset(batch(), time(t), r, group(), k), K, to);
    });
    share(a.n.value, [&](Index p) {
      copy(a.x.x, a.x.x.offset(batch(), time(t), Head{head}, Value{p}), a.y.x_state,
           a.y.x_state.offset(slot, Head{head}, Value{p}));
    });
  }

  __device__ void keep(Index t) const {
    const auto& y = a.y;
    if (a.options.carry == Carry::storage) {
      round_state(t);
      __syncthreads();
    }
    if (y.intermediate) store_state(t, y.intermediate, Slot{at.row}, Time{t});
    if (y.state_out) {
      if (t + 1 == at.length) store_state(t, y.state_out, Sequence{sequence});
      return;
    }
    const Index to = destination(a.x.lanes, a.options, sequence, at, t, LoadIndex{});
    if (to == nowhere) return;
    const Slot slot{to};
    store_state(t, y.state, slot);
    share(a.n.frequencies, [&](Index f) {
      store<Scalar>(y.angle_state, own.angle[f], slot, Head{head}, Frequency{f});
    });
    if (a.options.update_kv_state) store_kv(t, slot);
  }

  __device__ void run() const {
    if (at.padding || at.length == 0) return write_zeros(0);
    load_carried();
    __syncthreads();
    for (Index t = 0; t < at.length; ++t) {
      find_keys(t);
      advance(t);
      __syncthreads();
      keep(t);
      __syncthreads();
    }
    write_zeros(at.length);
  }
};

// ---- kernel

template <class Scalar>
__global__ void __launch_bounds__(threads)
    advance_lanes(const __grid_constant__ Arguments a, Scalar* workspace) {
  const Index item = blockIdx.x, head = item % a.n.heads, first = item / a.n.heads * a.lanes;
  const Carried<Scalar> own(workspace + item * Carried<Scalar>::elements(a.n), a.n);
  for (Index i = first; i < first + a.lanes; ++i) {
    Problem<Scalar>{a, own, lane(a.x.lanes, a.options, a.n.time, i, LoadIndex{}), i, head}.run();
    __syncthreads();
  }
}

// ---- launch

Arguments arguments(const DeviceInputs& x, const DeviceOutputs& y, const Options& options) {
  validate(x, y, options);
  Arguments a{x, y, options, shape(x, y), 1};
  if (options.sequential) a.lanes = std::max<Index>(a.n.sequences, 1);
  return a;
}
Index ctas(const Arguments& a) { return a.n.sequences / a.lanes * a.n.heads; }
bool is_double(const DeviceOutputs& y) {
  return (y.out ? y.out.type() : y.rank_out.type()) == ElementType::float64;
}

template <class Scalar>
void run(const Arguments& a, const Launch& launch) {
  const Index count = ctas(a);
  require(count < Index{1} << 31, "too many lanes and heads for one launch");
  if (count == 0) return;
  advance_lanes<Scalar><<<static_cast<unsigned>(count), threads, 0,
                          static_cast<cudaStream_t>(launch.stream.handle)>>>(
      a, reinterpret_cast<Scalar*>(launch.workspace));
  check(cudaGetLastError());
}

}  // namespace

std::size_t recurrent_workspace(const DeviceInputs& x, const DeviceOutputs& y,
                                const Options& options) {
  const Arguments a = arguments(x, y, options);
  return static_cast<std::size_t>(ctas(a) * Carried<float>::elements(a.n)) *
         (is_double(y) ? sizeof(double) : sizeof(float));
}

void recurrent(const DeviceInputs& x, const Options& options, const DeviceOutputs& y,
               const Launch& launch) {
  const Arguments a = arguments(x, y, options);
  require_workspace(launch, recurrent_workspace(x, y, options));
  return is_double(y) ? run<double>(a, launch) : run<float>(a, launch);
}

}  // namespace groundstate::gpu::mamba3_step
