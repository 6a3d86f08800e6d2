// The entry points of selective_state_update on the device. What they compute is judged by
// `groundstate run` (paths gpu.*); here is what a case line cannot say: strides, offsets beyond
// 2^31 elements, and what is refused, which needs no device.
#include "gpu/selective_state_update/selective_state_update.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gpu/core/buffer.hpp"
#include "gpu/core/device.hpp"
#include "gpu/selective_state_update/direct_step.hpp"
#include "tests/gpu/buffers.hpp"
#include "tests/gpu/far_slot.hpp"
#include "tests/gpu/row_major_view.hpp"
#include "tests/refusal.hpp"

namespace groundstate::gpu::selective_state_update {
namespace {

struct Example {
  Index lanes = 2, time = 1, heads = 2, value = 8, state = 32, slots = 3;

  DeviceInputs inputs() const {
    DeviceInputs x;
    x.x = view<decltype(x.x)>({lanes, time, heads, value});
    x.dt = view<decltype(x.dt)>({lanes, time, heads, 1});
    x.A = view<decltype(x.A)>({heads, 1, 1});
    x.B = view<decltype(x.B)>({lanes, time, 1, state});
    x.C = view<decltype(x.C)>({lanes, time, 1, state});
    x.source = view<decltype(x.source)>({lanes, 1}, ElementType::int32);
    return x;
  }
  DeviceOutputs outputs(ElementType stored = ElementType::float32) const {
    DeviceOutputs y;
    y.out = view<decltype(y.out)>({lanes, time, heads, value});
    y.state = view<decltype(y.state)>({slots, heads, value, state}, stored);
    if (has_codes(stored)) y.scale = view<decltype(y.scale)>({slots, heads, value});
    return y;
  }
};

TEST(SelectiveStateUpdateOnDevice, RefusesTensorsThatDoNotFitTogether) {
  const Example n;
  DeviceInputs x = n.inputs();
  x.C = view<decltype(x.C)>({2, 1, 1, 31});
  expect_refused([&] { recurrent(x, {}, n.outputs(), {}); }, "C must have the shape of B");
  expect_refused([&] { step(x, {}, n.outputs(), {}); }, "C must have the shape of B");
  DeviceOutputs y = n.outputs(ElementType::int8);
  y.scale = {};
  expect_refused([&] { step(n.inputs(), {}, y, {}); }, "state_scale must be given exactly where");
  expect_refused([&] { recurrent(n.inputs(), {}, n.outputs(), {}); }, "are needed");
}

TEST(SelectiveStateUpdateOnDevice, StepRefusesWhatItsAccessesCannotTake) {
  const Example odd{.state = 30}, long_row{.state = 1024}, many{.time = 65}, n;
  expect_refused([&] { step(odd.inputs(), {}, odd.outputs(), {}); },
                 "N must be a multiple of 4, at most 512 in fp32; got 30");
  expect_refused([&] { step(long_row.inputs(), {}, long_row.outputs(ElementType::bfloat16), {}); },
                 "at most 512 in bf16; got 1024");
  expect_refused([&] { step(many.inputs(), {}, many.outputs(), {}); }, "at most 64 tokens");
  expect_refused([&] { step(n.inputs(), {}, n.outputs(ElementType::float64), {}); }, "fp64");
  Options sequential;
  sequential.sequential = true;
  expect_refused([&] { step(n.inputs(), sequential, n.outputs(), {}); }, "one after the other");
  DeviceOutputs y = n.outputs();
  auto strides = y.state.strides();
  strides[2] += 1;
  y.state = {y.state.type(), y.state.data(), y.state.extents(), strides};
  expect_refused([&] { step(n.inputs(), {}, y, {}); }, "aligned to 16 bytes");
}

// Without a device: nothing is launched.
TEST(SelectiveStateUpdateOnDevice, AStepOfNothingIsNothing) {
  for (const Example& n : {Example{.lanes = 0}, Example{.heads = 0}, Example{.value = 0}})
    EXPECT_NO_THROW(step(n.inputs(), {}, n.outputs(), {}));
}

// ---- on a device

class SelectiveStateUpdatePool : public testing::TestWithParam<ElementType> {
  void SetUp() override {
    if (!device_name()) GTEST_SKIP() << "no CUDA device here";
  }
};

// A slot behind 2^31 elements gets what the same one of a dense pool gets: codes through
// shared memory, numbers by way of registers.
TEST_P(SelectiveStateUpdatePool, OffsetsBeyond2To31ElementsReachTheirSlot) {
  const ElementType type = GetParam();
  const Example n{.lanes = 1, .state = 64, .slots = slots_to_far};
  const Index slot = n.heads * n.value * n.state;
  const auto numbers = [](Index count, float first) {
    std::vector<float> result;
    for (Index i = 0; i < count; ++i) result.push_back(first + 0.01f * static_cast<float>(i % 37));
    return result;
  };
  const Buffer x = uploaded("x", numbers(n.heads * n.value, -0.2f)),
               dt = uploaded("dt", numbers(n.heads, 0.1f)), A = uploaded("A", numbers(n.heads, -1)),
               B = uploaded("B", numbers(n.state, -0.1f)),
               C = uploaded("C", numbers(n.state, 0.1f));
  for (const bool fast : {false, true})
    expect_a_far_slot_gets_the_same_bits(
        type, slot, [&](std::byte* pool, const FarPlace& at, std::vector<std::byte>& output) {
          const Buffer source = uploaded("source", std::vector{static_cast<std::int32_t>(at.slot)});
          const Buffer out("out", sizeof(float) * static_cast<std::size_t>(n.heads * n.value));
          const Buffer own_scale =
              uploaded("scale", numbers(slots_to_far * n.heads * n.value, 0.01f));
          DeviceInputs in = n.inputs();
          in.x = {ElementType::float32, x.data(), in.x.extents(), in.x.strides()};
          in.dt = {ElementType::float32, dt.data(), in.dt.extents(), in.dt.strides()};
          in.A = {ElementType::float32, A.data(), in.A.extents(), in.A.strides()};
          in.B = {ElementType::float32, B.data(), in.B.extents(), in.B.strides()};
          in.C = {ElementType::float32, C.data(), in.C.extents(), in.C.strides()};
          in.source = {ElementType::int32, source.data(), {1, 1}, {1, 1}};
          DeviceOutputs y = n.outputs(type);
          y.out = {ElementType::float32, out.data(), y.out.extents(), y.out.strides()};
          if (y.scale)
            y.scale = {ElementType::float32, own_scale.data(), y.scale.extents(),
                       y.scale.strides()};
          auto strides = y.state.strides();
          strides[0] = at.stride;
          y.state = {type, pool, y.state.extents(), strides};
          if (!fast) {
            const Buffer workspace("workspace", recurrent_workspace(in, y, {}));
            recurrent(in, {}, y, {{}, workspace.data(), workspace.size()});
            synchronize();
          } else if (has_codes(type)) {
            step(in, {}, y, {});
          } else {
            ASSERT_TRUE(direct_step(in, {}, y, {}));
          }
          output = bytes_of(out);
        });
}
INSTANTIATE_TEST_SUITE_P(, SelectiveStateUpdatePool,
                         testing::Values(ElementType::int8, ElementType::float32,
                                         ElementType::bfloat16, ElementType::float16),
                         [](const auto& type) { return std::string(name_of(type.param)); });

}  // namespace
}  // namespace groundstate::gpu::selective_state_update
