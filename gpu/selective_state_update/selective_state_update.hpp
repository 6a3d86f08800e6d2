// selective_state_update on the device: the entry points of its kernels (equation and tensors:
// reference/selective_state_update/contract.hpp).
//
// Tensors are device views of the contract with element types known at run time. Index tensors are
// read on the device and must be legal there: slots inside of the pool, one lane a slot that is
// written, offsets that do not decrease (validate_indices() of lane.hpp says so on a host). Offsets
// are 64 bit. No entry point allocates or waits; each can be captured in a graph. Results depend on
// nothing but the inputs: no atomics, every sum in a fixed order.
//
// Errors: std::invalid_argument naming the tensor or the workspace, what it is and what is
// accepted; std::runtime_error (gpu/core/check.hpp) where CUDA fails.
#pragma once

#include "gpu/core/launch.hpp"
#include "reference/selective_state_update/lane.hpp"

namespace groundstate::selective_state_update {

using DeviceInputs = Inputs<Space::device, AnyElements>;
using DeviceOutputs = Outputs<Space::device, AnyElements>;

}  // namespace groundstate::selective_state_update

namespace groundstate::gpu::selective_state_update {

using namespace groundstate::selective_state_update;

// ---- gpu.recurrent: the reference, row by row (recurrent.cu)
//
// Every contract: any layout, storage, N and T, lanes one after the other where Options::sequential
// says so. In fp32 every bit is that of the reference on the host; arithmetic is fp64 where out and
// state are fp64, and exp is then CUDA's.
std::size_t recurrent_workspace(const DeviceInputs& x, const DeviceOutputs& y,
                                const Options& options);
void recurrent(const DeviceInputs& x, const Options& options, const DeviceOutputs& y,
               const Launch& launch);

// ---- gpu.step: a few tokens at the speed of memory (step.cu)
//
// Arithmetic is fp32. Rows of states must be contiguous and aligned to 16 bytes; lanes share
// nothing. Shared memory holds the tokens of a lane.
void step(const DeviceInputs& x, const Options& options, const DeviceOutputs& y,
          const Launch& launch);

// Why gpu.step does not take a call, whatever the layouts are; empty where it does. `tokens` are
// those of the longest lane, or more.
inline std::string step_refusal(ElementType out, ElementType state, Index columns, Index tokens,
                                const Options& options) {
  if (out == ElementType::float64 || state == ElementType::float64)
    return "arithmetic is fp32: neither out nor the state may be fp64";
  if (options.sequential) return "lanes one after the other are for gpu.recurrent";
  const auto size = static_cast<Index>(size_of(state));
  constexpr Index most = 512;
  const Index several = 16 / size;
  if (columns % several != 0 || columns < 1 || columns > most)
    return "N must be a multiple of " + std::to_string(several) + ", at most " +
           std::to_string(most) + " in " + std::string(name_of(state)) + "; got " +
           std::to_string(columns);
  constexpr Index most_tokens = 64;
  if (tokens > most_tokens)
    return "at most " + std::to_string(most_tokens) + " tokens of a lane, got " +
           std::to_string(tokens);
  return "";
}

}  // namespace groundstate::gpu::selective_state_update
