// gpu.gathered: gpu.step for those who have no slots in it: the rows of the pools are gathered into
// dense ones, the step works on these, and what it left is scattered back. Three launches and three
// times the bytes of the states; what slots in the kernel save is the difference.
#include <array>

#include "gpu/core/check.hpp"
#include "gpu/core/load_index.cuh"
#include "gpu/core/workspace.hpp"
#include "gpu/mamba3_step/gathered.hpp"

namespace groundstate::gpu::mamba3_step {
namespace {

constexpr int threads = 256, unrolled = 4;

// A pool and the dense rows that stand for it, in pieces of 16 bytes.
struct Rows {
  uint4 *pool = nullptr, *dense = nullptr;
  Index slot = 0, row = 0;  // from one to the next
  bool written = false;
};
struct Arguments {
  DeviceInputs x;
  Options options;
  Index time;
  std::array<Rows, 4> rows;
  std::int32_t* index;  // of each lane in the dense rows, -1 of padding
};

template <bool back>
__global__ void __launch_bounds__(threads) copy_rows(const __grid_constant__ Arguments a) {
  const Index sequence = blockIdx.y;
  const Lane at = lane(a.x.lanes, a.options, a.time, sequence, LoadIndex{});
  const bool exists = !at.padding && at.length > 0;
  if (!back && blockIdx.x == 0 && threadIdx.x == 0)
    a.index[sequence] = at.padding ? -1 : static_cast<std::int32_t>(sequence);
  if (!exists) return;
#pragma unroll 1
  for (const Rows& own : a.rows) {
    if (own.pool == nullptr || (back && !own.written)) continue;
    uint4* const slot = own.pool + at.source * own.slot;
    uint4* const row = own.dense + sequence * own.row;
    const uint4* const from = back ? row : slot;
    uint4* const to = back ? slot : row;
    const Index step = Index{gridDim.x} * threads;
    for (Index i = Index{blockIdx.x} * threads + threadIdx.x; i < own.row; i += unrolled * step) {
      uint4 piece[unrolled];
#pragma unroll
      for (int k = 0; k < unrolled; ++k)
        if (i + k * step < own.row) piece[k] = from[i + k * step];
#pragma unroll
      for (int k = 0; k < unrolled; ++k)
        if (i + k * step < own.row) to[i + k * step] = piece[k];
    }
  }
}

// The call on dense rows, which are in the workspace.
struct Call {
  Arguments copies;
  DenseCall<Space::device> dense;
  std::size_t workspace;
};
Call on_dense_rows(const DeviceInputs& x, const DeviceOutputs& y, const Options& options,
                   const Launch& launch) {
  const Shape n = shape(x, y);
  Workspace workspace(launch);
  Call call{{x, options, n.time, {}, workspace.take<std::int32_t>(n.sequences)},
            dense_call(x, y, options),
            0};
  auto& lanes = call.dense.x.lanes;
  lanes.source = {ElementType::int32, call.copies.index, lanes.source.extents(),
                  lanes.source.strides()};
  std::size_t count = 0;
  const auto add = [&](const auto& pool, auto& dense, bool written) {
    if (!pool) return;
    const auto size = static_cast<Index>(size_of(pool.type()));
    const Index row = dense.strides()[0] * size;
    auto* const memory = workspace.take<std::byte>(n.sequences * row);
    dense = {dense.type(), memory, dense.extents(), dense.strides()};
    call.copies.rows[count++] = {static_cast<uint4*>(pool.data()), reinterpret_cast<uint4*>(memory),
                                 pool.strides()[0] * size / 16, row / 16, written};
  };
  auto& own = call.dense.y;
  add(y.state, own.state, true);
  add(y.k_state, own.k_state, options.update_kv_state);
  add(y.x_state, own.x_state, options.update_kv_state);
  add(y.angle_state, own.angle_state, true);
  call.workspace = workspace.size();
  return call;
}

}  // namespace

std::size_t gathered_workspace(const DeviceInputs& x, const DeviceOutputs& y,
                               const Options& options) {
  return on_dense_rows(x, y, options, {}).workspace;
}

void gathered(const DeviceInputs& x, const Options& options, const DeviceOutputs& y,
              const Launch& launch) {
  validate(x, y, options);
  const std::string refusal = gathered_refusal(x, y, options);
  require(refusal.empty(), refusal);
  require_workspace(launch, gathered_workspace(x, y, options));
  const Call call = on_dense_rows(x, y, options, launch);
  const Shape n = shape(x, y);
  if (n.sequences == 0 || n.slots == 0) return step(x, options, y, launch);
  require(n.sequences < 65536,
          "at most 65535 lanes are gathered, got " + std::to_string(n.sequences));
  const Index pieces = call.copies.rows[0].row / (threads * unrolled) + 1;
  const dim3 grid(static_cast<unsigned>(pieces), static_cast<unsigned>(n.sequences));
  const auto stream = static_cast<cudaStream_t>(launch.stream.handle);
  copy_rows<false><<<grid, threads, 0, stream>>>(call.copies);
  check(cudaGetLastError());
  step(call.dense.x, call.dense.options, call.dense.y, launch);
  copy_rows<true><<<grid, threads, 0, stream>>>(call.copies);
  check(cudaGetLastError());
}

}  // namespace groundstate::gpu::mamba3_step
