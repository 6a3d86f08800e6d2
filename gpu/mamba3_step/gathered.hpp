// gpu.gathered: gpu.step between a gather and a scatter of the slots.
//
// Three launches; the bits of gpu.step. Of lanes that write the slot that they read.
#pragma once

#include "gpu/core/launch.hpp"
#include "gpu/mamba3_step/step.hpp"

namespace groundstate::gpu::mamba3_step {

std::size_t gathered_workspace(const DeviceInputs& x, const DeviceOutputs& y,
                               const Options& options);
void gathered(const DeviceInputs& x, const Options& options, const DeviceOutputs& y,
              const Launch& launch);

// The call on dense pools, a row for each lane, that stands for one on slots; without their data.
template <Space space>
struct DenseCall {
  Inputs<space, AnyElements> x;
  Outputs<space, AnyElements> y;
  Options options;
};
template <Space space>
DenseCall<space> dense_call(const Inputs<space, AnyElements>& x,
                            const Outputs<space, AnyElements>& y, const Options& options) {
  DenseCall<space> call{x, y, options};
  const Shape n = shape(x, y);
  const std::array<Index, 2> extents{n.sequences, 1};
  call.x.lanes.source = {ElementType::int32, nullptr, extents, row_major_strides(extents)};
  call.x.lanes.accepted = {};
  call.options.pad_slot_id = {};
  const auto resize = [&](auto& pool) {
    if (!pool) return;
    auto own = pool.extents();
    own[0] = n.sequences;
    pool = {pool.type(), nullptr, own, row_major_strides(own)};
  };
  resize(call.y.state);
  resize(call.y.k_state);
  resize(call.y.x_state);
  resize(call.y.angle_state);
  return call;
}

// Why gpu.gathered does not take a call that validate() accepts; empty where it does.
template <Space space>
std::string gathered_refusal(const Inputs<space, AnyElements>& x,
                             const Outputs<space, AnyElements>& y, const Options& options) {
  if (!x.lanes.source) return "without state_batch_indices there is nothing to gather";
  if (x.lanes.destination || !options.update_state ||
      (y.intermediate && !x.lanes.intermediate_rows))
    return "gathered are the slots of lanes that write the slot they read, and nothing else by "
           "slot";
  if (options.stochastic) return "stochastic rounding draws by slot";
  const DenseCall<space> call = dense_call(x, y, options);
  const auto whole = [](const auto& pool, const auto& dense) {
    if (!pool) return true;
    const auto size = static_cast<Index>(size_of(pool.type()));
    auto strides = dense.strides();
    strides[0] = pool.strides()[0];
    return pool.strides() == strides && reinterpret_cast<std::size_t>(pool.data()) % 16 == 0 &&
           pool.strides()[0] * size % 16 == 0 && dense.strides()[0] * size % 16 == 0;
  };
  if (!whole(y.state, call.y.state) || !whole(y.k_state, call.y.k_state) ||
      !whole(y.x_state, call.y.x_state) || !whole(y.angle_state, call.y.angle_state))
    return "slots must be adjacent elements and whole 16 bytes to be gathered";
  return step_refusal(call.x, call.y, call.options);
}

}  // namespace groundstate::gpu::mamba3_step
