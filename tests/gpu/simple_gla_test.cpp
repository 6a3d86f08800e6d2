// The entry points of simple_gla on the device. What they compute is judged by `groundstate run`
// (paths gpu.*); here is what a case line cannot say: slots of a pool, and what is refused, which
// needs no device.
#include "gpu/simple_gla/simple_gla.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "gpu/core/buffer.hpp"
#include "gpu/core/device.hpp"
#include "reference/core/philox.hpp"
#include "tests/gpu/buffers.hpp"
#include "tests/gpu/row_major_view.hpp"
#include "tests/refusal.hpp"

namespace groundstate::gpu::simple_gla {
namespace {

// ---- tensors in memory that nothing may touch

struct Example {
  Index batch = 2, time = 3, heads = 2, value_heads = 4, key = 16, value = 8;

  DeviceInputs inputs(ElementType type = ElementType::float32) const {
    DeviceInputs x;
    x.query = view<decltype(x.query)>({batch, time, heads, key}, type);
    x.key = view<decltype(x.key)>({batch, time, heads, key}, type);
    x.value = view<decltype(x.value)>({batch, time, value_heads, value}, type);
    x.log_decay = view<decltype(x.log_decay)>({batch, time, value_heads});
    return x;
  }
  DeviceOutputs outputs(ElementType type = ElementType::float32) const {
    DeviceOutputs y;
    y.output = view<decltype(y.output)>({batch, time, value_heads, value}, type);
    y.final_state = view<decltype(y.final_state)>({batch, value_heads, key, value});
    return y;
  }
  DeviceBackwardInputs backward_inputs(ElementType type = ElementType::float32) const {
    DeviceBackwardInputs x{inputs(type), {}, {}};
    x.output_gradient = view<decltype(x.output_gradient)>({batch, time, value_heads, value}, type);
    return x;
  }
  DeviceBackwardOutputs backward_outputs(ElementType type = ElementType::float32) const {
    DeviceBackwardOutputs y;
    y.query = view<decltype(y.query)>({batch, time, heads, key}, type);
    y.key = view<decltype(y.key)>({batch, time, heads, key}, type);
    y.value = view<decltype(y.value)>({batch, time, value_heads, value}, type);
    y.log_decay = view<decltype(y.log_decay)>({batch, time, value_heads});
    return y;
  }
  DevicePool pool(Index slots, ElementType type = ElementType::float32) const {
    return view<DevicePool>({slots, value_heads, key, value}, type);
  }
};

const Options options{1.0};

// ---- what is refused, before anything is launched

TEST(SimpleGlaOnDevice, RefusesTensorsThatDoNotFitTogether) {
  const Example n;
  Example other = n;
  other.value = 9;
  expect_refused([&] { recurrent(n.inputs(), options, other.outputs(), {}); }, "o must be");
  DeviceOutputs y = n.outputs();
  y.final_state = view<decltype(y.final_state)>({3, 4, 16, 8});
  expect_refused([&] { recurrent(n.inputs(), options, y, {}); }, "ht must be");
  DeviceInputs x = n.inputs();
  x.offsets = view<decltype(x.offsets)>({3}, ElementType::int64);
  expect_refused([&] { recurrent(x, options, n.outputs(), {}); }, "need batch = 1, got 2");
  DeviceBackwardInputs without = n.backward_inputs();
  without.output_gradient = {};
  expect_refused([&] { recurrent_backward(without, options, n.backward_outputs(), {}); },
                 "do is required");
  DeviceBackwardOutputs none = n.backward_outputs();
  none.key = {};
  expect_refused([&] { recurrent_backward(n.backward_inputs(), options, none, {}); },
                 "dk must have the shape of k");
}

TEST(SimpleGlaOnDevice, AStepRefusesWhatIsNoPoolOfItsStates) {
  const Example n;
  const auto call = [&](const DeviceInputs& x, const DevicePool& pool,
                        const DeviceView<const std::int32_t, Batch>& slots = {}) {
    return [=] { step(x, pool, slots, options, n.outputs().output, {}); };
  };
  DeviceInputs stateful = n.inputs();
  stateful.initial_state = view<decltype(stateful.initial_state)>({2, 4, 16, 8});
  expect_refused(call(stateful, n.pool(2)), "neither h0 nor cu_seqlens");
  expect_refused(call(n.inputs(), {}), "the pool must be");
  expect_refused(call(n.inputs(), view<DevicePool>({2, 4, 8, 16})), "the pool must be");
  expect_refused(call(n.inputs(), n.pool(1)), "a slot per sequence, 2");
  expect_refused(call(n.inputs(), n.pool(7), {nullptr, {3}}), "one index per sequence, 2");
  expect_refused(call(n.inputs(), n.pool(2, ElementType::int32)), "a pool of int32");
}

TEST(SimpleGlaOnDevice, AWorkspaceThatIsTooSmallIsRefused) {
  const Example n;
  expect_refused(
      [&] { recurrent_backward(n.backward_inputs(), options, n.backward_outputs(), {}); },
      "the workspace has 0 bytes");
  Example wide = n;
  wide.key = 513;
  expect_refused([&] { recurrent(wide.inputs(), options, wide.outputs(), {}); },
                 "the workspace has 0 bytes");
}

TEST(SimpleGlaOnDevice, ATokenThatDoesNotFitSharedMemoryIsRefused) {
  Example n;
  n.key = 100'000;
  const Launch huge{{}, nullptr, std::size_t{1} << 60};
  expect_refused([&] { recurrent(n.inputs(), options, n.outputs(), huge); }, "shared memory");
  expect_refused([&] { step(n.inputs(), n.pool(2), {}, options, n.outputs().output, huge); },
                 "shared memory");
}

TEST(SimpleGlaOnDevice, ChunkedPathsTakeTensorsOfOneTypeUpTo256Columns) {
  const Example n;
  const auto call = [](const DeviceInputs& x, const DeviceOutputs& y) {
    return [=] { fused(x, options, y, {}, {}); };
  };
  using enum ElementType;
  expect_refused(call(n.inputs(float64), n.outputs(float64)), "one type, bf16, fp16 or fp32");
  DeviceInputs mixed = n.inputs(float32);
  mixed.key = view<decltype(mixed.key)>(mixed.key.extents(), bfloat16);
  expect_refused(call(mixed, n.outputs()), "one type, bf16, fp16 or fp32");
  expect_refused(call(n.inputs(float32), n.outputs(bfloat16)), "o must have the type of q");
  expect_refused(
      [&] {
        fused_backward(n.backward_inputs(float32), options, n.backward_outputs(float16), {}, {});
      },
      "must have the type of q");
  Example wide = n;
  wide.key = 257;
  expect_refused(call(wide.inputs(float32), wide.outputs()), "K and V from 1 to 256, got 257");
}

// Without a device: nothing is launched.
TEST(SimpleGlaOnDevice, AStepOfNothingIsNothing) {
  for (const Index time : {1, 2}) {
    const Example n{.batch = 0, .time = time, .key = 128, .value = 64};
    EXPECT_NO_THROW(step(n.inputs(), n.pool(2), {}, options, n.outputs().output, {}));
  }
}

// ---- workspaces

// One state for each sequence and value head, padded, where registers do not hold it.
TEST(SimpleGlaOnDevice, TheRecurrenceNeedsAWorkspaceForLargeStatesOnly) {
  for (const ElementType type : {ElementType::float32, ElementType::float64}) {
    const std::size_t element = size_of(type);
    for (const Index key : {1, 64, 256, 512, 513, 2000}) {
      Example n;
      n.key = key;
      const bool registers = key <= (type == ElementType::float64 ? 256 : 512);
      const std::size_t bytes = recurrent_workspace(n.inputs(type), n.outputs(type));
      const std::size_t state = static_cast<std::size_t>(n.batch * n.value_heads * key * n.value);
      if (registers) {
        EXPECT_EQ(bytes, 0u) << key;
        EXPECT_EQ(step_workspace(n.inputs(), n.pool(2, type)), 0u) << key;
      } else {
        EXPECT_GE(bytes, state * element) << key;
        EXPECT_GE(step_workspace(n.inputs(), n.pool(2, type)), state * element) << key;
      }
    }
  }
}

// The workspace of a long sequence is far below one state for each token, and without gates there
// is nothing but dq and dk of every value head.
TEST(SimpleGlaOnDevice, TheAdjointStoresNoStateForEachToken) {
  Example n{1, 8192, 16, 16, 128, 128};
  const std::size_t states =
      static_cast<std::size_t>(n.time * n.value_heads * n.key * n.value) * sizeof(float);
  const std::size_t bytes = recurrent_backward_workspace(n.backward_inputs(), n.backward_outputs());
  EXPECT_LT(bytes, states / 16);
  DeviceBackwardOutputs ungated = n.backward_outputs();
  ungated.log_decay = {};
  EXPECT_EQ(recurrent_backward_workspace(n.backward_inputs(), ungated),
            static_cast<std::size_t>(2 * n.time * n.value_heads * n.key) * sizeof(float));
}

// A state before every chunk, as an operand, is most of the workspace.
TEST(SimpleGlaOnDevice, StatesOfFp32OperandsTakeTwiceTheWorkspaceOf16Bits) {
  const Example n{1, 8192, 16, 16, 128, 128};
  const FusedBackwardForm form{1, 64};
  const auto bytes = [&](ElementType type) {
    return fused_backward_workspace(n.backward_inputs(type), n.backward_outputs(type), form);
  };
  const std::size_t states =
      static_cast<std::size_t>((n.time / 64 + n.batch) * n.value_heads * n.key * n.value);
  EXPECT_EQ(bytes(ElementType::float16), bytes(ElementType::bfloat16));
  const std::size_t more = bytes(ElementType::float32) - bytes(ElementType::bfloat16);
  EXPECT_GE(more, 2 * states);
  EXPECT_LT(more, 2 * states + states / 64);
}

// ---- slots

// Normal numbers, the same for the same name.
struct Filled {
  Buffer buffer;
  explicit Filled(const std::string& name, Index elements, ElementType type)
      : buffer(name, static_cast<std::size_t>(elements) * size_of(type)) {
    std::vector<std::byte> host(buffer.size());
    const RandomStream stream(7, name);
    for (Index i = 0; i < elements; ++i)
      store_element(type, host.data(), i, stream.normal(static_cast<std::uint64_t>(i)));
    buffer.upload(host.data(), host.size());
  }
};

class Step : public testing::TestWithParam<ElementType> {
  void SetUp() override {
    if (!device_name()) GTEST_SKIP() << "no device";
  }
};

// Slots out of order and padding between them: the states that are named have the bits of a step on
// each sequence's own slot, all others are untouched, and padding gives zeros.
TEST_P(Step, AdvancesTheNamedSlotsAndNothingElse) {
  const ElementType type = GetParam();
  for (const Index key : {16, 128, 200, 600}) {
    const Example n{5, 3, 2, 4, key, 40};
    const Index slots = 9, state = n.value_heads * n.key * n.value,
                tokens = n.batch * n.time * n.value_heads * n.value;
    const std::vector<std::int32_t> named{7, -1, 0, 4, -1};
    Filled q("q", n.batch * n.time * n.heads * n.key, ElementType::bfloat16),
        k("k", n.batch * n.time * n.heads * n.key, ElementType::bfloat16),
        v("v", tokens, ElementType::bfloat16), g("g", tokens / n.value, ElementType::float32);
    DeviceInputs x = n.inputs(ElementType::bfloat16);
    x.query = view<decltype(x.query)>(x.query.extents(), ElementType::bfloat16, q.buffer.data());
    x.key = view<decltype(x.key)>(x.key.extents(), ElementType::bfloat16, k.buffer.data());
    x.value = view<decltype(x.value)>(x.value.extents(), ElementType::bfloat16, v.buffer.data());
    x.log_decay =
        view<decltype(x.log_decay)>(x.log_decay.extents(), ElementType::float32, g.buffer.data());
    const auto output = [&](Buffer& o) {
      return view<DeviceView<Any, Batch, Time, ValueHead, Value>>(
          {n.batch, n.time, n.value_heads, n.value}, ElementType::bfloat16, o.data());
    };
    const auto pool_view = [&](Buffer& pool, Index count) {
      return view<DevicePool>({count, n.value_heads, n.key, n.value}, type, pool.data());
    };

    Filled pool("pool", slots * state, type);
    const std::vector<std::byte> before = bytes_of(pool.buffer);
    const std::size_t slot_bytes = static_cast<std::size_t>(state) * size_of(type);
    // The same states, each in the slot of its sequence; padding has a state here.
    Buffer own("own", slot_bytes * static_cast<std::size_t>(n.batch));
    std::vector<std::byte> gathered(own.size());
    for (std::size_t b = 0; b < named.size(); ++b)
      std::memcpy(gathered.data() + b * slot_bytes,
                  before.data() + static_cast<std::size_t>(std::max(named[b], 0)) * slot_bytes,
                  slot_bytes);
    own.upload(gathered.data(), gathered.size());
    Buffer o("o", static_cast<std::size_t>(tokens) * 2), own_o("own o", o.size());
    Buffer indices("slots", named.size() * sizeof(std::int32_t));
    indices.upload(named.data(), indices.size());
    Buffer workspace("the workspace", step_workspace(x, pool_view(pool.buffer, slots)));
    const Launch launch{{}, workspace.data(), workspace.size()};
    step(x, pool_view(pool.buffer, slots),
         {reinterpret_cast<const std::int32_t*>(indices.data()), {n.batch}}, options, output(o),
         launch);
    step(x, pool_view(own, n.batch), {}, options, output(own_o), launch);

    const std::vector<std::byte> after = bytes_of(pool.buffer), expected = bytes_of(own),
                                 got = bytes_of(o), expected_o = bytes_of(own_o);
    for (Index slot = 0; slot < slots; ++slot) {
      const auto user = std::find(named.begin(), named.end(), slot);
      const std::byte* const right =
          user == named.end()
              ? before.data() + static_cast<std::size_t>(slot) * slot_bytes
              : expected.data() + static_cast<std::size_t>(user - named.begin()) * slot_bytes;
      EXPECT_EQ(std::memcmp(after.data() + static_cast<std::size_t>(slot) * slot_bytes, right,
                            slot_bytes),
                0)
          << "slot " << slot << ", K = " << key;
    }
    const std::size_t row = o.size() / named.size();
    for (std::size_t b = 0; b < named.size(); ++b) {
      const std::vector<std::byte> zeros(row);
      EXPECT_EQ(std::memcmp(got.data() + b * row,
                            named[b] < 0 ? zeros.data() : expected_o.data() + b * row, row),
                0)
          << "sequence " << b << ", K = " << key;
    }
    for (const Buffer* const buffer : {&pool.buffer, &own, &o, &own_o, &workspace})
      EXPECT_EQ(buffer->violation(), std::nullopt);
  }
}
INSTANTIATE_TEST_SUITE_P(, Step,
                         testing::Values(ElementType::float64, ElementType::float32,
                                         ElementType::bfloat16, ElementType::float16),
                         [](const auto& type) { return std::string(name_of(type.param)); });

}  // namespace
}  // namespace groundstate::gpu::simple_gla
