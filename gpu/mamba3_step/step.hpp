// gpu.step: a few tokens at the speed of memory.
//
// Arithmetic is fp32. The states of a slot and head must be adjacent or rows of whole 16 bytes,
// with all of their tokens in shared memory; lanes share nothing. One launch, with the prologue or
// without.
#pragma once

#include "gpu/core/launch.hpp"
#include "gpu/mamba3_step/device_tensors.hpp"
#include "gpu/mamba3_step/step_stage.hpp"

namespace groundstate::gpu::mamba3_step {

void step(const DeviceInputs& x, const Options& options, const DeviceOutputs& y,
          const Launch& launch);

// Why gpu.step does not take a call that validate() accepts; empty where it does.
template <Space space>
std::string step_refusal(const Inputs<space, AnyElements>& x, const Outputs<space, AnyElements>& y,
                         const Options& options) {
  const Shape n = shape(x, y);
  if (options.sequential) return "lanes one after the other are for gpu.recurrent";
  bool wide = false;
  const auto look = [&](std::string_view, const auto& view, ElementClass kind, Presence) {
    wide = wide || (view && view.type() == ElementType::float64 && kind != ElementClass::gate);
  };
  Inputs<space, AnyElements> inputs = x;
  Outputs<space, AnyElements> outputs = y;
  input_tensors(inputs, look);
  output_tensors(outputs, look);
  if (wide) return "arithmetic is fp32: only A, dt, trap and weights may be fp64";
  constexpr Index most_columns = 128;
  if (n.state % 4 != 0 || n.state < 4 || n.state > most_columns)
    return "N must be a multiple of 4, at most " + std::to_string(most_columns) + "; got " +
           std::to_string(n.state);
  const auto size = static_cast<Index>(size_of(y.state.type()));
  const auto aligned = [&](Index elements) { return elements * size % 16 == 0; };
  // Rows may lie apart where each is whole 16 bytes.
  const auto fits = [&](const auto& view) {
    if (!view) return true;
    bool good =
        view.template stride<State>() == 1 && reinterpret_cast<std::size_t>(view.data()) % 16 == 0;
    const std::size_t last = view.rank - 2;  // of the strides before those of P and N
    for (std::size_t i = 0; i < last; ++i) good = good && aligned(view.strides()[i]);
    const Index row = view.template stride<Value>();
    return good && (row == n.state ? aligned(n.value * n.state) : aligned(row) && aligned(n.state));
  };
  if (!fits(y.state) || !fits(y.state_out) || !fits(y.intermediate))
    return "states must be adjacent and of whole 16 bytes for each head, or rows of whole 16 bytes";
  constexpr Index most_bytes = 110 * 1024;
  const Index bytes = n.value * n.state * size + step_stage(x, y, 128).bytes;
  if (bytes > most_bytes)
    return "a state and its tokens take " + std::to_string(bytes) +
           " bytes of shared memory; accepted is up to " + std::to_string(most_bytes);
  return "";
}

}  // namespace groundstate::gpu::mamba3_step
