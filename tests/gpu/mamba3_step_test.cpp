// The entry points of mamba3_step on the device. What they compute is judged by `groundstate run`
// (paths gpu.*); here is what a case line cannot say: strides, parameters of several types, offsets
// beyond 2^31 elements, and what is refused, which needs no device.
#include "gpu/mamba3_step/mamba3_step.hpp"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "gpu/core/buffer.hpp"
#include "gpu/core/device.hpp"
#include "gpu/mamba3_step/direct_step.hpp"
#include "tests/gpu/buffers.hpp"
#include "tests/gpu/far_slot.hpp"
#include "tests/gpu/row_major_view.hpp"
#include "tests/refusal.hpp"

namespace groundstate::gpu::mamba3_step {
namespace {

struct Example {
  Index lanes = 2, time = 1, heads = 2, ranks = 3, value = 8, state = 32, slots = 3;
  ElementType tokens = ElementType::float32;

  DeviceInputs inputs() const {
    DeviceInputs x;
    x.x = view<decltype(x.x)>({lanes, time, heads, value}, tokens);
    x.A = view<decltype(x.A)>({lanes, time, heads});
    x.dt = view<decltype(x.dt)>({lanes, time, heads});
    x.trap = view<decltype(x.trap)>({lanes, time, heads});
    x.B = view<decltype(x.B)>({lanes, time, ranks, 1, state}, tokens);
    x.C = view<decltype(x.C)>({lanes, time, ranks, 1, state}, tokens);
    x.outproj = view<decltype(x.outproj)>({ranks, heads, value});
    x.lanes.source = view<decltype(x.lanes.source)>({lanes, 1}, ElementType::int32);
    return x;
  }
  DeviceOutputs outputs(ElementType stored = ElementType::float32) const {
    DeviceOutputs y;
    y.out = view<decltype(y.out)>({lanes, time, heads, value}, tokens);
    y.state = view<decltype(y.state)>({slots, heads, value, state}, stored);
    y.k_state = view<decltype(y.k_state)>({slots, ranks, heads, state}, tokens);
    y.x_state = view<decltype(y.x_state)>({slots, heads, value}, tokens);
    return y;
  }
};

using Entry = void(const DeviceInputs&, const Options&, const DeviceOutputs&, const Launch&);
constexpr Entry* every_entry[] = {recurrent, step, separate, gathered};

TEST(Mamba3StepOnDevice, EveryEntryRefusesTensorsThatDoNotFitTogether) {
  const Example n;
  DeviceInputs x = n.inputs();
  x.C = view<decltype(x.C)>({2, 1, 3, 1, 31});
  DeviceOutputs turned = n.outputs();
  turned.rotation = Rotation::halved;
  for (Entry* const entry : every_entry) {
    expect_refused([&] { entry(x, {}, n.outputs(), {}); }, "C must have the shape of B");
    expect_refused([&] { entry(n.inputs(), {}, turned, {}); }, "they must be the same");
  }
  expect_refused([&] { recurrent(n.inputs(), {}, n.outputs(), {}); }, "are needed");
  expect_refused([&] { gathered(n.inputs(), {}, n.outputs(), {}); }, "are needed");
  expect_refused([&] { separate(n.inputs(), {}, n.outputs(), {}); }, "the prologue needs theta");
}

TEST(Mamba3StepOnDevice, StepRefusesWhatItsAccessesCannotTake) {
  const Example odd{.state = 30}, long_row{.state = 132}, many{.time = 2000}, tall{.value = 1024},
      small{.value = 1, .state = 4}, n;
  const auto refuses = [](const Example& own, const DeviceOutputs& y, const std::string& words) {
    expect_refused([&] { step(own.inputs(), {}, y, {}); }, words);
  };
  refuses(odd, odd.outputs(), "N must be a multiple of 4, at most 128; got 30");
  refuses(long_row, long_row.outputs(), "at most 128; got 132");
  refuses(many, many.outputs(), "bytes of shared memory; accepted is up to");
  refuses(tall, tall.outputs(), "bytes of shared memory; accepted is up to");
  refuses(small, small.outputs(ElementType::bfloat16), "whole 16 bytes");
  refuses(n, n.outputs(ElementType::float64), "arithmetic is fp32");
  Options sequential;
  sequential.sequential = true;
  expect_refused([&] { step(n.inputs(), sequential, n.outputs(), {}); }, "one after the other");
  DeviceOutputs y = n.outputs();
  auto strides = y.state.strides();
  strides[1] += 1;
  y.state = {y.state.type(), y.state.data(), y.state.extents(), strides};
  refuses(n, y, "whole 16 bytes");
}

TEST(Mamba3StepOnDevice, GatheredRefusesWhatIsNotAGather) {
  const Example n;
  DeviceInputs dense = n.inputs(), elsewhere = n.inputs();
  dense.lanes.source = {};
  elsewhere.lanes.destination = elsewhere.lanes.source;
  EXPECT_NE(gathered_refusal(dense, n.outputs(), {}).find("nothing to gather"), std::string::npos);
  EXPECT_NE(gathered_refusal(elsewhere, n.outputs(), {}).find("the slot they read"),
            std::string::npos);
  DeviceOutputs apart = n.outputs();
  auto strides = apart.k_state.strides();
  strides[1] *= 2;
  apart.k_state = {apart.k_state.type(), nullptr, apart.k_state.extents(), strides};
  EXPECT_NE(gathered_refusal(n.inputs(), apart, {}).find("adjacent"), std::string::npos);
  EXPECT_EQ(gathered_refusal(n.inputs(), n.outputs(), {}), "");
}

TEST(Mamba3StepOnDevice, PartsOfAStageDoNotOverlap) {
  const Example n{.time = 3};
  const DeviceInputs x = n.inputs();
  const StepStage stage = step_stage(x, n.outputs(), 72);
  std::vector<std::pair<Index, Index>> places{{0, 72}};
  for (const Part& part : stage.parts)
    if (part.rows > 0)
      places.emplace_back(
          part.place, part.place + (part.is_of_tokens() ? 3 : 1) * part.rows * Index{part.pitch});
  const Index floats = n.time * n.ranks * stage.row_pitch * 4;
  places.insert(places.end(), {{stage.numbers, stage.numbers + 10 * 4},
                               {stage.destination, stage.destination + 3 * 8},
                               {stage.now, stage.now + floats},
                               {stage.before, stage.before + floats}});
  std::sort(places.begin(), places.end());
  for (std::size_t i = 1; i < places.size(); ++i) {
    EXPECT_LE(places[i - 1].second, places[i].first);
    EXPECT_EQ(places[i].first % 16, 0);
  }
  EXPECT_LE(places.back().second, stage.bytes);
  EXPECT_EQ(stage.engine_bytes_a_token, 4u * (2 * 3 * 32 + 8));
  EXPECT_EQ(stage.engine_bytes, 4u * (3 * 32 + 8 + 3 * 8));
}

// Pools whose slots are 2^31 bytes apart go through shared memory. Nothing is launched.
TEST(Mamba3StepOnDevice, ADirectStepLeavesWideStridesAlone) {
  const Example n{.ranks = 4, .value = 64, .state = 128, .tokens = ElementType::bfloat16};
  alignas(16) std::byte somewhere[16];
  const auto place = [&](auto&... views) {
    ((views = {views.type(), somewhere, views.extents(), views.strides()}), ...);
  };
  DeviceInputs x = n.inputs();
  place(x.x, x.A, x.dt, x.trap, x.B, x.C, x.outproj, x.lanes.source);
  for (const ElementType type : {ElementType::float32, ElementType::bfloat16}) {
    DeviceOutputs y = n.outputs(type);
    place(y.out, y.state, y.k_state, y.x_state);
    auto strides = y.state.strides();
    strides[0] = (Index{1} << 31) / static_cast<Index>(size_of(type));
    y.state = {type, somewhere, y.state.extents(), strides};
    EXPECT_FALSE(direct_step(x, {}, y, {}));
  }
}

// ---- on a device

// A tensor of the view's shape and type with number(i) as its element i, of which the view is then.
template <class View, class Number>
Buffer filled(View& view, const Number& number) {
  Index count = 1;
  for (const Index extent : view.extents()) count *= extent;
  std::vector<std::byte> host(static_cast<std::size_t>(count) * size_of(view.type()));
  for (Index i = 0; i < count; ++i) store_element(view.type(), host.data(), i, number(i));
  Buffer tensor = uploaded("tensor", host);
  view = {view.type(), tensor.data(), view.extents(), view.strides()};
  return tensor;
}

// Projections, biases and norms of 16 bits, and theta, are the same numbers in fp32. (A case line
// has one type for all parameters, and a direct step takes A in fp32 only.)
TEST(Mamba3StepOnDevice, ADirectStepHasTheBitsOfItsParametersInFp32) {
  if (!device_name()) GTEST_SKIP() << "no CUDA device here";
  constexpr Index angles = 40;
  constexpr Example n{.ranks = 4, .value = 64, .state = 128, .tokens = ElementType::bfloat16};
  const auto result_of = [&](ElementType weights, Rotation rotation) {
    std::vector<Buffer> held;
    DeviceInputs x = n.inputs();
    x.theta = view<decltype(x.theta)>({n.lanes, 1, n.heads, angles}, weights);
    for (auto* const bias : {&x.B_bias, &x.C_bias})
      *bias = view<decltype(x.B_bias)>({n.ranks, n.heads, n.state}, weights);
    for (auto* const norm : {&x.B_norm, &x.C_norm})
      *norm = view<decltype(x.B_norm)>({n.state}, weights);
    for (auto* const projection : {&x.xproj, &x.outproj})
      *projection = view<decltype(x.xproj)>({n.ranks, n.heads, n.value}, weights);
    double first = -0.5;
    const auto fill = [&](auto& view) {  // with numbers that bf16 has
      first += 0.0625;
      held.push_back(
          filled(view, [&](Index i) { return first + static_cast<double>(i % 37) / 64; }));
    };
    const auto fill_all = [&](auto&... views) { (fill(views), ...); };
    fill_all(x.x, x.A, x.dt, x.trap, x.B, x.C, x.theta, x.B_bias, x.C_bias, x.B_norm, x.C_norm,
             x.xproj, x.outproj);
    held.push_back(uploaded("source", std::vector<std::int32_t>{2, 0}));
    x.lanes.source = {ElementType::int32, held.back().data(), {n.lanes, 1}, {1, 1}};
    DeviceOutputs y = n.outputs();
    y.rotation = rotation;
    y.angle_state = view<decltype(y.angle_state)>({n.slots, n.heads, angles});
    const std::size_t outputs = held.size();
    fill_all(y.out, y.state, y.k_state, y.x_state, y.angle_state);
    Options options;
    options.rotation = rotation;
    options.update_kv_state = true;
    EXPECT_TRUE(direct_step(x, options, y, {}));
    synchronize();
    std::vector<std::vector<std::byte>> bytes;
    for (std::size_t i = outputs; i < held.size(); ++i) bytes.push_back(bytes_of(held[i]));
    return bytes;
  };
  for (const Rotation rotation : {Rotation::pairwise, Rotation::halved})
    EXPECT_EQ(result_of(ElementType::bfloat16, rotation),
              result_of(ElementType::float32, rotation));
}

struct PoolCase {
  const char* name;
  ElementType pool;
  Example sizes;
  bool by_registers;
};

class Mamba3StepPool : public testing::TestWithParam<PoolCase> {
  void SetUp() override {
    if (!device_name()) GTEST_SKIP() << "no CUDA device here";
  }
};

// A slot behind 2^31 elements gets what the same one of a dense pool gets.
TEST_P(Mamba3StepPool, OffsetsBeyond2To31ElementsReachTheirSlot) {
  const auto& [name, type, n, by_registers] = GetParam();
  const Index slot = n.heads * n.value * n.state;
  std::vector<Buffer> held;
  const auto fill = [&](auto& view, double first) {
    held.push_back(
        filled(view, [&](Index i) { return first + 0.01 * static_cast<double>(i % 37); }));
  };
  DeviceInputs x = n.inputs();
  fill(x.x, -0.2);
  fill(x.A, -1);
  fill(x.dt, 0.1);
  fill(x.trap, 0.3);
  fill(x.B, -0.1);
  fill(x.C, 0.1);
  fill(x.outproj, 0.5);
  for (const bool fast : {false, true})
    expect_a_far_slot_gets_the_same_bits(
        type, slot, [&](std::byte* pool, const FarPlace& at, std::vector<std::byte>& output) {
          const Buffer source = uploaded("source", std::vector{static_cast<std::int32_t>(at.slot)});
          x.lanes.source = {ElementType::int32, source.data(), {1, 1}, {1, 1}};
          DeviceOutputs y = n.outputs(type);
          fill(y.k_state, 0.2);
          fill(y.x_state, 0.4);
          const Buffer out("out", static_cast<std::size_t>(n.heads * n.value) * size_of(n.tokens));
          y.out = {n.tokens, out.data(), y.out.extents(), y.out.strides()};
          auto strides = y.state.strides();
          strides[0] = at.stride;
          y.state = {type, pool, y.state.extents(), strides};
          if (fast && by_registers && at.stride < beyond_31_bits) {
            ASSERT_TRUE(direct_step(x, {}, y, {}));
          } else if (fast) {
            step(x, {}, y, {});
          } else {
            const Buffer workspace("workspace", recurrent_workspace(x, y, {}));
            recurrent(x, {}, y, {{}, workspace.data(), workspace.size()});
            synchronize();
          }
          output = bytes_of(out);
        });
}

constexpr Example few_rows{.lanes = 1, .slots = slots_to_far},
    whole_layer{.lanes = 1,
                .ranks = 4,
                .value = 64,
                .state = 128,
                .slots = slots_to_far,
                .tokens = ElementType::bfloat16};
INSTANTIATE_TEST_SUITE_P(
    , Mamba3StepPool,
    testing::Values(PoolCase{"shared_bf16", ElementType::bfloat16, few_rows, false},
                    PoolCase{"registers_fp32", ElementType::float32, whole_layer, true},
                    PoolCase{"registers_bf16", ElementType::bfloat16, whole_layer, true},
                    PoolCase{"registers_fp16", ElementType::float16, whole_layer, true}),
    [](const auto& c) { return std::string(c.param.name); });

}  // namespace
}  // namespace groundstate::gpu::mamba3_step
