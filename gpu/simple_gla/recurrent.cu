// gpu.recurrent, forward: the recurrence (recurrence.cu) as the contract has it.
//
//   query = scale q, key = k, value = v, decay_t = exp(g_t + g_gamma)
//
// The order of operations is that of reference/simple_gla/step.hpp but for the sum over keys
// (tile.cuh).
#include "gpu/simple_gla/recurrence.hpp"

namespace groundstate::gpu::simple_gla {
namespace {

Recurrence forward(const DeviceInputs& x, const Options& options, const DeviceOutputs& y) {
  validate(x);
  validate(x, y);
  Recurrence r = recurrence_of(x, options);
  r.query = token_input(x.query, r.heads, options.scale);
  r.key = token_input(x.key, r.heads);
  r.value = token_input(x.value, r.heads);
  if (x.initial_state) r.initial = state_tensor<const void>(x.initial_state);
  r.output = token_output(y.output);
  if (y.final_state) r.final = state_tensor<void>(y.final_state);
  return r;
}

template <class Scalar>
void run(const Recurrence& r, const Launch& launch) {
  Workspace workspace(launch);
  Scalar* const own = take_recurrence<Scalar>(workspace, r);
  require_workspace(launch, workspace.size());
  launch_recurrence<Scalar>(r, own, launch.stream);
}

}  // namespace

std::size_t recurrent_workspace(const DeviceInputs& x, const DeviceOutputs& y) {
  const Recurrence r = forward(x, {}, y);
  Workspace workspace;
  if (is_double(y.output.type()))
    take_recurrence<double>(workspace, r);
  else
    take_recurrence<float>(workspace, r);
  return workspace.size();
}

void recurrent(const DeviceInputs& x, const Options& options, const DeviceOutputs& y,
               const Launch& launch) {
  const Recurrence r = forward(x, options, y);
  if (is_double(y.output.type()))
    run<double>(r, launch);
  else
    run<float>(r, launch);
}

}  // namespace groundstate::gpu::simple_gla
