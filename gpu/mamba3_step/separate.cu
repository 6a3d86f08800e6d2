// gpu.separate: the prologue as a launch of its own, and gpu.step on what it wrote: two passes over
// B and C, and another one of what lies between them.
//
//   phi := phi + pi tanh(theta) dt;  b_r = Rot(phi) (norm(B_r) + B_bias_r), c_r in the same way
//
// A CTA owns one lane and head. Rounding points: b and c, as they are stored between the two, in
// the type of k_state; the angle, where it is stored.
#include "gpu/core/check.hpp"
#include "gpu/core/load_index.cuh"
#include "gpu/core/workspace.hpp"
#include "gpu/mamba3_step/prologue.cuh"
#include "gpu/mamba3_step/separate.hpp"
#include "gpu/mamba3_step/step.hpp"

namespace groundstate::gpu::mamba3_step {
namespace {

constexpr int threads = 128, warps = threads / warp_threads;

using KeyView = DeviceView<Any, Batch, Time, Rank, Group, State>;

struct Arguments {
  DeviceInputs x;
  DeviceView<Any, Slot, Head, Frequency> angle;
  Options options;
  Shape n;
  KeyView b, c;  // a group for each head
};

struct Shared {
  float* angle;    // [frequency]
  Turn* turn;      // [frequency]
  float* inverse;  // [B or C][rank]
  static std::size_t bytes(const Shape& n) {
    return static_cast<std::size_t>(n.frequencies) * (sizeof(float) + sizeof(Turn)) +
           static_cast<std::size_t>(2 * n.ranks) * sizeof(float);
  }
};

template <bool norm>
__global__ void __launch_bounds__(threads) rotate_keys(const __grid_constant__ Arguments a) {
  extern __shared__ float shared[];
  const auto frequencies = static_cast<int>(a.n.frequencies), ranks = static_cast<int>(a.n.ranks),
             columns = static_cast<int>(a.n.state), thread = static_cast<int>(threadIdx.x);
  const Shared own{shared, reinterpret_cast<Turn*>(shared + frequencies), shared + 3 * frequencies};
  const Index sequence = blockIdx.x / a.n.heads;
  const Head head{blockIdx.x % a.n.heads};
  const Group group{head.index / (a.n.heads / a.n.groups)};
  const Lane at = lane(a.x.lanes, a.options, a.n.time, sequence, LoadIndex{});
  if (at.padding || at.length == 0) return;
  for (int f = thread; f < frequencies; f += threads)
    own.angle[f] = load<float>(a.angle.type(), a.angle.data(),
                               a.angle.offset(Slot{at.source}, head, Frequency{f}));
  for (Index t = 0; t < at.length; ++t) {
    const Batch batch{at.batch};
    const Time time{at.begin + t};
    const auto key = [&](bool is_b, int r, int n) {
      return load<float>(is_b ? a.x.B : a.x.C, batch, time, Rank{r}, group, State{n});
    };
    const Index slot = destination(a.x.lanes, a.options, sequence, at, t, LoadIndex{});
    const float dt = load<float>(a.x.dt, batch, time, head);
    for (int f = thread; f < frequencies; f += threads) {
      const float angle =
          advanced_angle(own.angle[f], load<float>(a.x.theta, batch, time, head, Frequency{f}), dt,
                         a.options.wrap_angle);
      own.angle[f] = angle;
      own.turn[f] = turn_of(angle);
      if (slot != nowhere) store<float>(a.angle, angle, Slot{slot}, head, Frequency{f});
    }
    if constexpr (norm)
      for (int i = thread / warp_threads; i < 2 * ranks; i += warps)
        own.inverse[i] = inverse_norm(columns, [&](int n) { return key(i < ranks, i % ranks, n); });
    __syncthreads();
    for (int i = thread; i < 2 * ranks * (columns / 2); i += threads) {
      const int row = i / (columns / 2), f = i - row * (columns / 2), r = row % ranks;
      const bool is_b = row < ranks;
      const auto pair = pair_of(a.options.rotation, f, columns);
      const auto before_turn = [&](Index n) {
        float x = key(is_b, r, static_cast<int>(n));
        if constexpr (norm)
          x = normed(x, own.inverse[row], load<float>(is_b ? a.x.B_norm : a.x.C_norm, State{n}));
        const auto& bias = is_b ? a.x.B_bias : a.x.C_bias;
        return bias ? biased(x, load<float>(bias, Rank{r}, head, State{n})) : x;
      };
      float u = before_turn(pair.first), w = before_turn(pair.second);
      if (f < frequencies) rotate(u, w, own.turn[f]);
      const auto write = [&](float x, Index n) {
        store<float>(is_b ? a.b : a.c, x, batch, time, Rank{r}, Group{head.index}, State{n});
      };
      write(u, pair.first);
      write(w, pair.second);
    }
    __syncthreads();
  }
}

// The call behind the prologue, its keys in the workspace.
struct Call {
  DeviceInputs x;
  DeviceOutputs y;
  KeyView b, c;
  std::size_t workspace;
};
Call behind_prologue(const DeviceInputs& x, const DeviceOutputs& y, const Launch& launch) {
  const Shape n = shape(x, y);
  const std::array extents{n.batch, n.time, n.ranks, n.heads, n.state};
  const ElementType type = y.k_state.type();
  Workspace workspace(launch);
  const auto keys = [&]() -> KeyView {
    const Index bytes =
        n.batch * n.time * n.ranks * n.heads * n.state * static_cast<Index>(size_of(type));
    return {type, workspace.take<std::byte>(bytes), extents, row_major_strides(extents)};
  };
  Call call{x, y, keys(), keys(), 0};
  call.workspace = workspace.size();
  call.x.B = call.b;
  call.x.C = call.c;
  call.x.theta = {};
  call.x.B_bias = call.x.C_bias = {};
  call.x.B_norm = call.x.C_norm = {};
  call.y.angle_state = {};
  return call;
}

}  // namespace

std::size_t separate_workspace(const DeviceInputs& x, const DeviceOutputs& y) {
  return behind_prologue(x, y, {}).workspace;
}

void separate(const DeviceInputs& x, const Options& options, const DeviceOutputs& y,
              const Launch& launch) {
  validate(x, y, options);
  require(static_cast<bool>(x.theta), "the prologue needs theta");
  require_workspace(launch, separate_workspace(x, y));
  const Call call = behind_prologue(x, y, launch);
  const std::string refusal = step_refusal(call.x, call.y, options);
  require(refusal.empty(), refusal);
  const Shape n = shape(x, y);
  const Index items = n.sequences * n.heads;
  require(items < Index{1} << 31, "too many lanes and heads for one launch");
  if (items > 0) {
    const auto kernel = x.B_norm ? rotate_keys<true> : rotate_keys<false>;
    kernel<<<static_cast<unsigned>(items), threads, Shared::bytes(n),
             static_cast<cudaStream_t>(launch.stream.handle)>>>(
        {x, y.angle_state, options, n, call.b, call.c});
    check(cudaGetLastError());
  }
  step(call.x, options, call.y, launch);
}

}  // namespace groundstate::gpu::mamba3_step
