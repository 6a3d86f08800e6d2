#include "harness/operators/simple_gla/device.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

#include "gpu/simple_gla/simple_gla.hpp"
#include "harness/operators/device_tensors.hpp"

namespace groundstate::harness::simple_gla_binding {
namespace {

namespace kernels = groundstate::gpu::simple_gla;
using gpu::Launch;

template <class T, class... Axes>
DeviceView<T, Batch, Time, Axes...> tokens(const DeviceView<T, Batch, Time, Axes...>& x,
                                           Index begin, Index count) {
  if (!x) return x;
  auto extents = x.extents();
  extents[1] = count;
  using Byte = std::conditional_t<std::is_const_v<T>, const std::byte, std::byte>;
  auto* const data = static_cast<Byte*>(x.data()) +
                     begin * x.template stride<Time>() * static_cast<Index>(size_of(x.type()));
  return {x.type(), data, extents, x.strides()};
}

// ---- gpu.step: calls of a few tokens on the final states, which start as the initial ones
//
// The outputs with the initial state, or zero, as the final one.
Tensors with_initial_state(const Tensors& inputs, const Tensors& outputs) {
  Tensors result = outputs;
  Tensor& state = *find(result, "ht");
  state = Tensor::allocate(state.name(), state.type(), state.axes(), state.storage_order());
  if (const Tensor* const h0 = find(inputs, "h0"))
    for_each_pair(state, *h0,
                  [&](Index, Index to, Index from) { state.store(to, h0->load(from)); });
  return result;
}

// The slots of all sequences, in their order.
Tensor every_slot(const Tensors& outputs) {
  const Index sequences = find(outputs, "ht")->extent(Sequence::name);
  Tensor slots = Tensor::allocate("slots", ElementType::int32, {{Batch::name, sequences, 0}});
  for (Index n = 0; n < sequences; ++n) slots.store(n, static_cast<double>(n));
  return slots;
}

struct StepCall {
  DeviceInputs inputs;
  DeviceView<const std::int32_t, Batch> slots;
  DeviceView<Any, Batch, Time, ValueHead, Value> output;
};

std::unique_ptr<DeviceRun> prepare_step(const Variant& v, const Options& options,
                                        const Tensors& inputs, const Tensors& outputs) {
  Tensors given = inputs;
  std::erase_if(given,
                [](const Tensor& x) { return x.name() == "h0" || x.name() == "cu_seqlens"; });
  given.push_back(every_slot(outputs));
  const auto x_memory = std::make_shared<const DeviceTensors>(given);
  const auto y_memory = std::make_shared<const DeviceTensors>(with_initial_state(inputs, outputs));
  const auto x = bind_inputs<DeviceInputs>(*x_memory);
  const auto y = bind_outputs<DeviceOutputs>(*y_memory);
  const auto& state = y.final_state;
  const DevicePool pool(state.type(), state.data(), state.extents(), state.strides());
  DeviceView<const Any, Batch> slots;
  x_memory->bind("slots", slots);
  const auto* const first_slot = static_cast<const std::int32_t*>(slots.data());

  // Packed sequences are advanced one by one, each in its own slot.
  const Tensor* const offsets = find(inputs, "cu_seqlens");
  const Shape n = shape(x);
  std::vector<StepCall> calls;
  const auto call = [&](Index slot, Index count_of_slots, Index begin, Index length) {
    for (Index done = 0; done < length; done += v.tokens) {
      const Index count = std::min(v.tokens, length - done);
      const Index first = options.reverse ? begin + length - done - count : begin + done;
      DeviceInputs part = x;
      part.query = tokens(x.query, first, count);
      part.key = tokens(x.key, first, count);
      part.value = tokens(x.value, first, count);
      part.log_decay = tokens(x.log_decay, first, count);
      calls.push_back(
          {part, {first_slot + slot, {count_of_slots}}, tokens(y.output, first, count)});
    }
  };
  if (offsets == nullptr) {
    call(0, n.batch, 0, n.time);
  } else {
    for (Index i = 0; i + 1 < offsets->elements(); ++i) {
      const auto begin = static_cast<Index>(offsets->load(i)),
                 end = static_cast<Index>(offsets->load(i + 1));
      call(i, 1, begin, end - begin);
    }
  }
  return make_device_run(
      x_memory, y_memory, kernels::step_workspace(x, pool),
      [=](const Launch& launch) {
        for (const StepCall& each : calls)
          kernels::step(each.inputs, pool, each.slots, options, each.output, launch);
      },
      Repeated::goes_on);
}

std::string steps_note(Index wanted, Index taken) {
  if (taken == wanted) return "";
  return "num_steps " + std::to_string(wanted) + " -> " + std::to_string(taken) +
         " (shared memory)";
}

}  // namespace

std::unique_ptr<DeviceRun> prepare(const Variant& v, const Options& options, const Tensors& inputs,
                                   const Tensors& outputs) {
  if (v.path == "step") return prepare_step(v, options, inputs, outputs);
  const auto x_memory = std::make_shared<const DeviceTensors>(inputs),
             y_memory = std::make_shared<const DeviceTensors>(outputs);
  const auto x = bind_inputs<DeviceInputs>(*x_memory);
  const auto y = bind_outputs<DeviceOutputs>(*y_memory);
  if (v.path == "recurrent")
    return make_device_run(
        x_memory, y_memory, kernels::recurrent_workspace(x, y),
        [=](const Launch& launch) { kernels::recurrent(x, options, y, launch); });
  const bool automatic = v.path == "auto", in_segments = automatic || v.path == "segmented";
  kernels::FusedForm form{v.num_steps, v.value_tile, in_segments ? v.segments : 1};
  if (automatic) form.segments = kernels::segments_that_fill(x);
  std::string note = steps_note(v.num_steps, kernels::fused_num_steps(x, y, form));
  if (automatic)
    note += (note.empty() ? "" : ", ") +
            (form.segments > 1 ? "gpu.segmented[segments=" + std::to_string(form.segments) + "]"
                               : std::string("gpu.fused"));
  return make_device_run(
      x_memory, y_memory, kernels::fused_workspace(x, y, form),
      [=](const Launch& launch) { kernels::fused(x, options, y, form, launch); }, Repeated::same,
      note);
}

std::unique_ptr<DeviceRun> prepare(const BackwardVariant& v, const Options& options,
                                   const Tensors& inputs, const Tensors& outputs) {
  const auto x_memory = std::make_shared<const DeviceTensors>(inputs),
             y_memory = std::make_shared<const DeviceTensors>(outputs);
  const auto x = bind_inputs<DeviceBackwardInputs>(*x_memory);
  const auto y = bind_outputs<DeviceBackwardOutputs>(*y_memory);
  if (v.path == "recurrent")
    return make_device_run(
        x_memory, y_memory, kernels::recurrent_backward_workspace(x, y),
        [=](const Launch& launch) { kernels::recurrent_backward(x, options, y, launch); });
  if (v.path == "chunked") {
    const kernels::ChunkedBackwardForm form{v.num_steps, v.value_tile, v.form.dh};
    return make_device_run(
        x_memory, y_memory, kernels::chunked_backward_workspace(x, y, form),
        [=](const Launch& launch) { kernels::chunked_backward(x, options, y, form, launch); },
        Repeated::same, steps_note(v.num_steps, kernels::chunked_backward_num_steps(x, y, form)));
  }
  const kernels::FusedBackwardForm form{v.num_steps, v.value_tile, v.form.dg_chunks};
  return make_device_run(
      x_memory, y_memory, kernels::fused_backward_workspace(x, y, form),
      [=](const Launch& launch) { kernels::fused_backward(x, options, y, form, launch); },
      Repeated::same, steps_note(v.num_steps, kernels::fused_backward_num_steps(x, y, form)));
}

}  // namespace groundstate::harness::simple_gla_binding
