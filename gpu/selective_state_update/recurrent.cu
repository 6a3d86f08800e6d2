// gpu.recurrent: the reference on the device, in the reference's order.
//
//   d = softplus(dt + dt_bias);  S[n] := fma(S[n], exp(A[n] d), (B[n] d) x)
//   y = sum_n S[n] C[n], ascending n, one fma a term;  out = fma(x, D, y) silu(z)
//
// A thread owns one row (lane, head, p) of the state, of all lanes where they are processed one
// after the other; the row is in the workspace, [n][thread], from the first to the last token.
// Elementary functions and encodings are those of the host (reference/core/elementary.hpp,
// encoding.hpp), and no product and sum are contracted here (CMakeLists.txt: --fmad=false), so
// every bit is the reference's.
//
// Rounding points: where a state is stored; out as it is stored. This is the kernel to compare
// with, not the one to run: gpu.step reads a state once.
#include <stdexcept>
#include <string>

#include "gpu/core/check.hpp"
#include "gpu/core/workspace.hpp"
#include "gpu/selective_state_update/stored.cuh"
#include "reference/core/elementary.hpp"

namespace groundstate::gpu::selective_state_update {
namespace {

// ---- tile

constexpr int threads = 128;

struct Arguments {
  DeviceInputs x;  // broadcast
  DeviceOutputs y;
  Options options;
  Shape n;
  Index lanes;  // of a thread
  bool tied;
};

// A row of the workspace: element n.
template <class Scalar>
struct Row {
  Scalar* first;
  __device__ Scalar& operator[](Index n) const { return first[n * threads]; }
};

// ---- phases

template <class Stored, class Scalar>
__device__ void load_row(const Stored* from, Index stride, const float* scale, Index columns,
                         const Row<Scalar>& row) {
  for (Index n = 0; n < columns; ++n) {
    row[n] = widen<Scalar>(from[n * stride]);
    if constexpr (is_code<Stored>) row[n] *= *scale;
  }
}

template <class Stored, class Scalar>
__device__ void store_row(const Row<Scalar>& row, Index columns, Stored* to, Index stride,
                          float* scale, const std::optional<StochasticRounding>& rounding,
                          Index offset) {
  if constexpr (std::is_same_v<Stored, double>) {
    for (Index n = 0; n < columns; ++n) to[n * stride] = row[n];
  } else {
    RowScale own;
    if constexpr (is_code<Stored>) {
      float amax = 0;
      for (Index n = 0; n < columns; ++n) {
        const float magnitude = fabsf(row[n]);
        if (magnitude > amax) amax = magnitude;
      }
      own = row_scale<Stored>(amax);
      *scale = own.decode;
    }
    Philox::Counter words{};
    for (Index n = 0; n < columns; ++n) {
      const float value = row[n] * own.encode;
      if constexpr (std::is_same_v<Stored, float>) {
        to[n * stride] = value;
      } else if (rounding) {
        if (n % 4 == 0) words = rounding_words(*rounding, offset + n);
        to[n * stride] = stochastic<Stored>(value, words[static_cast<std::size_t>(n % 4)]);
      } else {
        to[n * stride] = nearest<Stored>(value);
      }
    }
  }
}

// One row of one lane, all of its tokens.
template <class Stored, class Scalar>
__device__ void advance_row(const Arguments& a, Index sequence, Index head, Index p,
                            const Row<Scalar>& row) {
  const auto& x = a.x;
  const auto& y = a.y;
  const Lane own = lane(x, a.options, sequence, LoadIndex{});
  const auto write = [&](Index t, Scalar value) {
    store<Scalar>(y.out, value, Batch{own.batch}, Time{own.begin + t}, Head{head}, Value{p});
  };
  if (own.padding) {
    for (Index t = 0; t < own.length; ++t) write(t, Scalar(0));
    return;
  }
  if (own.length == 0) return;
  const Index columns = a.n.state;
  const auto slot = [&](Index s) {
    return static_cast<Stored*>(y.state.data()) +
           y.state.offset(Slot{s}, Head{head}, Value{p}, State{0});
  };
  const auto slot_scale = [&](Index s) {
    return y.scale
               ? static_cast<float*>(y.scale.data()) + y.scale.offset(Slot{s}, Head{head}, Value{p})
               : nullptr;
  };
  load_row(slot(own.source), y.state.template stride<State>(), slot_scale(own.source), columns,
           row);
  const Index rounding_offset =
      own.source * y.state.template stride<Slot>() + (head * a.n.value + p) * columns;
  const Group group{head / (a.n.heads / a.n.groups)};
  for (Index t = 0; t < own.length; ++t) {
    const Batch batch{own.batch};
    const Time time{own.begin + t};
    const Scalar raw = load<Scalar>(x.dt, batch, time, Head{head}, Value{p}) +
                       (x.dt_bias ? load<Scalar>(x.dt_bias, Head{head}, Value{p}) : Scalar(0));
    const Scalar d = a.options.softplus && raw <= Scalar(20) ? softplus(raw) : raw;
    const Scalar value = load<Scalar>(x.x, batch, time, Head{head}, Value{p});
    const auto decay = [&](Index n) {
      return exponential(Scalar(load<Scalar>(x.A, Head{head}, Value{p}, State{n}) * d));
    };
    const Scalar tied = a.tied ? decay(0) : Scalar(0);
    Scalar sum(0);
    for (Index n = 0; n < columns; ++n) {
      const Scalar input = (load<Scalar>(x.B, batch, time, group, State{n}) * d) * value;
      const Scalar s = fma(row[n], a.tied ? tied : decay(n), input);
      row[n] = s;
      sum = fma(s, load<Scalar>(x.C, batch, time, group, State{n}), sum);
    }
    if (x.D) sum = fma(value, load<Scalar>(x.D, Head{head}, Value{p}), sum);
    if (x.z) sum *= silu(load<Scalar>(x.z, batch, time, Head{head}, Value{p}));
    write(t, sum);
    if (const Index to = destination(x, a.options, sequence, own, t, LoadIndex{}); to != nowhere)
      store_row(row, columns, slot(to), y.state.template stride<State>(), slot_scale(to),
                a.options.stochastic, rounding_offset);
    if (y.intermediate) {
      const Slot at{own.row};
      store_row(row, columns,
                static_cast<Stored*>(y.intermediate.data()) +
                    y.intermediate.offset(at, Time{t}, Head{head}, Value{p}, State{0}),
                y.intermediate.template stride<State>(),
                y.intermediate_scale
                    ? static_cast<float*>(y.intermediate_scale.data()) +
                          y.intermediate_scale.offset(at, Time{t}, Head{head}, Value{p})
                    : nullptr,
                a.options.stochastic, rounding_offset);
    }
  }
}

// ---- kernel

template <class Stored, class Scalar>
__global__ void __launch_bounds__(threads)
    advance_rows(const __grid_constant__ Arguments a, Scalar* workspace) {
  const Index row = Index{blockIdx.x} * threads + threadIdx.x, rows = a.n.heads * a.n.value;
  const Index first = row / rows * a.lanes;
  if (first >= a.n.sequences) return;
  const Row<Scalar> own{workspace + Index{blockIdx.x} * threads * a.n.state + threadIdx.x};
  for (Index i = first; i < min(first + a.lanes, a.n.sequences); ++i)
    advance_row<Stored, Scalar>(a, i, row % rows / a.n.value, row % a.n.value, own);
}

// ---- launch

Arguments arguments(const DeviceInputs& given, const DeviceOutputs& y, const Options& options) {
  validate(given, y, options);
  Arguments a{broadcast(given), y, options, {}, 1, false};
  a.n = shape(a.x, y);
  a.tied = is_tied(a.x);
  if (options.sequential) a.lanes = std::max<Index>(a.n.sequences, 1);
  require(y.out.type() != ElementType::float64 || y.state.type() == ElementType::float64,
          "out of fp64 needs a state of fp64");
  return a;
}

Index blocks(const Arguments& a) {
  const Index rows = a.n.sequences / a.lanes * a.n.heads * a.n.value;
  return (rows + threads - 1) / threads;
}

bool is_double(const DeviceOutputs& y) { return y.out.type() == ElementType::float64; }

template <class Stored, class Scalar>
void run(const Arguments& a, const Launch& launch) {
  const Index count = blocks(a);
  require(count < Index{1} << 31, "too many rows for one launch");
  if (count == 0) return;
  advance_rows<Stored, Scalar><<<static_cast<unsigned>(count), threads, 0,
                                 static_cast<cudaStream_t>(launch.stream.handle)>>>(
      a, reinterpret_cast<Scalar*>(launch.workspace));
  check(cudaGetLastError());
}

}  // namespace

std::size_t recurrent_workspace(const DeviceInputs& x, const DeviceOutputs& y,
                                const Options& options) {
  const Arguments a = arguments(x, y, options);
  return static_cast<std::size_t>(blocks(a) * threads * a.n.state) *
         (is_double(y) ? sizeof(double) : sizeof(float));
}

void recurrent(const DeviceInputs& x, const Options& options, const DeviceOutputs& y,
               const Launch& launch) {
  const Arguments a = arguments(x, y, options);
  require_workspace(launch, recurrent_workspace(x, y, options));
  switch (y.state.type()) {
    case ElementType::float64:
      return is_double(y) ? run<double, double>(a, launch) : run<double, float>(a, launch);
    case ElementType::float32:
      return run<float, float>(a, launch);
    case ElementType::bfloat16:
      return run<bf16, float>(a, launch);
    case ElementType::float16:
      return run<fp16, float>(a, launch);
    case ElementType::int16:
      return run<std::int16_t, float>(a, launch);
    case ElementType::int8:
      return run<std::int8_t, float>(a, launch);
    case ElementType::float8:
      return run<fp8, float>(a, launch);
    default:
      require(false, "a state of " + std::string(name_of(y.state.type())) + " is not accepted");
  }
}

}  // namespace groundstate::gpu::selective_state_update
