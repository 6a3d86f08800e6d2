// mamba3_step on pools: slots, padding, bits that are copied, layouts of memory, what is refused.
#include <sys/mman.h>

#include "tests/reference/mamba3_step_example.hpp"

namespace groundstate::mamba3_step {
namespace {

const std::vector<std::string> pools{"state", "k_state", "x_state", "angle_state"};

// A slot of a pool, as its bytes.
std::vector<std::byte> slot_of(Call& c, const std::string& pool, Index slot) {
  const auto all = c.bytes(pool);
  const auto size = static_cast<std::ptrdiff_t>(all.size()) / c.n.slots;
  return {all.begin() + slot * size, all.begin() + (slot + 1) * size};
}

TEST(Mamba3StepPools, PaddedLanesGiveZeroAndTouchNothing) {
  for (const std::optional<Index> pad : {std::optional<Index>(), std::optional<Index>(99)}) {
    Call c({.lanes = 4, .slots = 5}, {.prologue = true},
           types_of(ElementType::bfloat16, ElementType::float32)),
        before(c.n, c.form, c.types);
    c.options.pad_slot_id = pad;
    c.options.update_kv_state = true;
    const Index none = pad.value_or(-7);
    c.x.lanes.source = c.indices({none, 0, none, 3});  // slot 0 belongs to another lane
    for (Tensor& own : c.held)
      if (own.axes()[0].name == Batch::name)
        for (const Index lane : {0, 2})
          for (Index i = 0; i < own.axes()[0].stride; ++i)
            own.store(lane * own.axes()[0].stride + i, not_a_number);
    for (const std::string& pool : pools)  // guard rows
      for (const Index slot : {1, 2, 4})
        for (Call* const own : {&c, &before})
          for (Index i = 0; i < own->at(pool).axes()[0].stride; ++i)
            own->at(pool).store(slot * own->at(pool).axes()[0].stride + i, not_a_number);
    c.run<Single>();
    const Index row = c.n.heads * c.n.value;
    for (Index i = 0; i < row; ++i) {
      for (const Index lane : {0, 2}) {
        EXPECT_EQ(c.at("out").load(lane * row + i), 0);
        EXPECT_FALSE(std::signbit(c.at("out").load(lane * row + i)));
      }
      EXPECT_TRUE(std::isfinite(c.at("out").load(row + i)));
    }
    for (const std::string& pool : pools)
      for (Index slot = 0; slot < 5; ++slot)
        EXPECT_EQ(slot_of(c, pool, slot) == slot_of(before, pool, slot), slot != 0 && slot != 3)
            << pool << slot;
  }
}

TEST(Mamba3StepPools, WithPaddingOnlyThePoolsMayBeEmpty) {
  Call c({.slots = 0});
  c.x.lanes.source = c.indices({-1, -2, std::numeric_limits<std::int32_t>::min()});
  c.run();
  for (Index i = 0; i < c.at("out").elements(); ++i) EXPECT_EQ(c.at("out").load(i), 0);
}

TEST(Mamba3StepPools, IndexedIsGatheredAndScattered) {
  Call indexed({.time = 2, .slots = 7}, {.prologue = true}, fp32_types),
      dense({.time = 2}, {.prologue = true}, fp32_types);
  const std::vector<Index> slots{5, 0, 2};
  indexed.x.lanes.source = indexed.indices(slots);
  for (const std::string& pool : pools)
    for (Index lane = 0; lane < 3; ++lane) {
      const Index row = dense.at(pool).axes()[0].stride;
      for (Index i = 0; i < row; ++i)
        dense.at(pool).store(
            lane * row + i, indexed.at(pool).load(slots[static_cast<std::size_t>(lane)] * row + i));
    }
  indexed.options.update_kv_state = dense.options.update_kv_state = true;
  indexed.run<Single>();
  dense.run<Single>();
  EXPECT_EQ(indexed.bytes("out"), dense.bytes("out"));
  for (const std::string& pool : pools)
    for (Index lane = 0; lane < 3; ++lane)
      EXPECT_EQ(slot_of(indexed, pool, slots[static_cast<std::size_t>(lane)]),
                slot_of(dense, pool, lane));
}

// Every bit pattern of 16 bits through B, and patterns of x.
TEST(Mamba3StepPools, BAndXAreCopiedBitForBit) {
  for (const ElementType type : {ElementType::bfloat16, ElementType::float16}) {
    Call c({.lanes = 2,
            .time = 2,
            .heads = 4,
            .groups = 2,
            .ranks = 4,
            .value = 8,
            .state = 4096,
            .slots = 3},
           {.gate = false}, types_of(ElementType::float32, type));
    c.x.lanes.source = c.indices({2, 0});
    c.options.update_kv_state = true;
    for (const char* const name : {"B", "x"})
      for (Index i = 0; i < c.at(name).elements(); ++i)
        static_cast<std::uint16_t*>(c.at(name).data())[i] = static_cast<std::uint16_t>(i * 40503);
    const auto k_before = slot_of(c, "k_state", 1), x_before = slot_of(c, "x_state", 1);
    c.run<Single>();
    const auto bits = [](const auto& view, auto... at) {
      return static_cast<const std::uint16_t*>(view.data())[view.offset(at...)];
    };
    for (const auto& [lane, slot] : {std::pair<Index, Index>{0, 2}, {1, 0}})
      for (Index h = 0; h < 4; ++h) {
        for (Index r = 0; r < 4; ++r)
          for (Index k = 0; k < 4096; ++k)
            ASSERT_EQ(bits(c.y.k_state, Slot{slot}, Rank{r}, Head{h}, State{k}),
                      bits(c.x.B, Batch{lane}, Time{1}, Rank{r}, Group{h / 2}, State{k}));
        for (Index p = 0; p < 8; ++p)
          ASSERT_EQ(bits(c.y.x_state, Slot{slot}, Head{h}, Value{p}),
                    bits(c.x.x, Batch{lane}, Time{1}, Head{h}, Value{p}));
      }
    EXPECT_EQ(slot_of(c, "k_state", 1), k_before);
    EXPECT_EQ(slot_of(c, "x_state", 1), x_before);
  }
}

TEST(Mamba3StepPools, WithoutUpdateKvTheyAreTheCallers) {
  Call kept({.time = 3}, {.prologue = true}, fp32_types), updated(kept.n, kept.form, fp32_types);
  const auto k = kept.bytes("k_state"), x = kept.bytes("x_state");
  updated.options.update_kv_state = true;
  kept.run<Single>();
  updated.run<Single>();
  EXPECT_EQ(kept.bytes("k_state"), k);
  EXPECT_EQ(kept.bytes("x_state"), x);
  for (const char* const name : {"out", "state", "angle_state"})
    EXPECT_EQ(kept.bytes(name), updated.bytes(name)) << name;
}

TEST(Mamba3StepPools, OutOfPlaceHasTheBitsOfInPlace) {
  for (const ElementType stored : {ElementType::float32, ElementType::bfloat16}) {
    Call in_place({.time = 2, .slots = 4}, {}, types_of(stored, ElementType::float32)),
        apart(in_place.n, {}, in_place.types);
    apart.y.state_out = apart.buffer<Sequence, Head, Value, State>(
        "state_out", stored,
        {{Sequence::name, 3, 0}, {Head::name, 2, 0}, {Value::name, 5, 0}, {State::name, 12, 0}});
    const auto state = apart.bytes("state");
    in_place.run<Single>();
    apart.run<Single>();
    EXPECT_EQ(apart.bytes("state"), state);
    EXPECT_EQ(apart.bytes("out"), in_place.bytes("out"));
    const auto out = apart.bytes("state_out"), expected = in_place.bytes("state");
    EXPECT_TRUE(std::equal(out.begin(), out.end(), expected.begin()));
  }
}

TEST(Mamba3StepPools, LanesOfOneSlotOneAfterTheOtherAreCallsOneAfterTheOther) {
  for (const bool prologue : {false, true}) {
    const Types types = types_of(ElementType::bfloat16, ElementType::bfloat16);
    Call together({.lanes = 2, .time = 2}, {.prologue = prologue}, types),
        apart(together.n, together.form, types);
    together.options.sequential = true;
    together.x.lanes.source = together.indices({1, 1});
    together.options.update_kv_state = apart.options.update_kv_state = true;
    together.run<Single>();
    for (const Index lane : {0, 1}) {  // the other one is padding, whose output is written too
      apart.x.lanes.source = apart.indices({lane == 0 ? Index{1} : -1, lane == 1 ? Index{1} : -1});
      apart.run<Single>();
    }
    for (const std::string& pool : pools)
      if (prologue || pool != "angle_state") {
        EXPECT_EQ(together.bytes(pool), apart.bytes(pool)) << pool;
      }
  }
}

TEST(Mamba3StepPools, PoolsMayBeSlicesOfLargerMemory) {
  const Sizes n{.time = 2};
  Call dense(n, {.prologue = true}), sliced(n, {.prologue = true});
  dense.options.update_kv_state = sliced.options.update_kv_state = true;
  std::deque<std::vector<double>> memory;
  const auto spread = [&](auto& view) {  // gaps of NaN behind every row, head and slot
    using View = std::remove_reference_t<decltype(view)>;
    auto strides = view.strides();
    Index stride = 1;
    for (std::size_t a = strides.size(); a-- > 0;) {
      strides[a] = stride;
      stride = stride * view.extents()[a] + 3;
    }
    auto& own = memory.emplace_back(static_cast<std::size_t>(stride), not_a_number);
    const View wide(ElementType::float64, own.data(), view.extents(), strides);
    Index elements = 1;
    for (const Index extent : view.extents()) elements *= extent;
    for (Index i = 0; i < elements; ++i) {
      Index offset = 0;
      for (std::size_t a = strides.size(), rest = static_cast<std::size_t>(i); a-- > 0;) {
        const auto extent = static_cast<std::size_t>(view.extents()[a]);
        offset += static_cast<Index>(rest % extent) * strides[a];
        rest /= extent;
      }
      own[static_cast<std::size_t>(offset)] = load_element(view.type(), view.data(), i);
    }
    view = wide;
    return elements;
  };
  const Index elements = spread(sliced.y.state) + spread(sliced.y.k_state) +
                         spread(sliced.y.x_state) + spread(sliced.y.angle_state);
  dense.run();
  sliced.run();
  EXPECT_EQ(dense.bytes("out"), sliced.bytes("out"));
  Index written = 0;
  for (const auto& own : memory)
    written += std::count_if(own.begin(), own.end(), [](double x) { return !std::isnan(x); });
  EXPECT_EQ(written, elements) << "the gaps are nobody's";
  for (Index slot = 0; slot < n.slots; ++slot)
    for (Index h = 0; h < n.heads; ++h) {
      const auto a = load_carried<double>(dense.y, slot, h),
                 b = load_carried<double>(sliced.y, slot, h);
      EXPECT_TRUE(a.state == b.state && a.k == b.k && a.x == b.x && a.angle == b.angle);
    }
}

TEST(Mamba3StepPools, OffsetsBeyond2To31ElementsReachTheirSlot) {
  const Sizes n{.lanes = 1, .slots = 2};
  const Types types = types_of(ElementType::bfloat16, ElementType::bfloat16);
  Call near(n, {}, types), far(n, {}, types);
  constexpr Index stride = (Index{1} << 31) + 12345;
  const std::size_t bytes = 4 * static_cast<std::size_t>(stride);
  std::vector<void*> mapped;
  const auto move = [&](auto& view) {  // the second slot, far behind the first
    using View = std::remove_reference_t<decltype(view)>;
    void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    mapped.push_back(memory);
    const auto size = static_cast<std::size_t>(view.strides()[0]) * 2;
    std::memcpy(static_cast<std::byte*>(memory) + 2 * stride,
                static_cast<const std::byte*>(view.data()) + size, size);
    auto strides = view.strides();
    strides[0] = stride;
    view = View(view.type(), memory, view.extents(), strides);
  };
  move(far.y.state), move(far.y.k_state), move(far.y.x_state);
  for (Call* const c : {&near, &far}) {
    c->x.lanes.source = c->indices({1});
    c->options.update_kv_state = true;
    c->run<Single>();
  }
  EXPECT_EQ(near.bytes("out"), far.bytes("out"));
  const auto a = load_carried<float>(near.y, 1, 1), b = load_carried<float>(far.y, 1, 1);
  EXPECT_TRUE(a.state == b.state && a.k == b.k && a.x == b.x);
  for (void* const memory : mapped) munmap(memory, bytes);
}

TEST(Mamba3StepPools, PackedLanesAreLanesByThemselves) {
  const std::vector<Index> offsets{0, 2, 2, 3, 6}, slots{4, 0, 2, 1};
  Call packed({.lanes = 1, .time = 6, .slots = 5}, {.prologue = true});
  Call before(packed.n, packed.form);
  packed.x.lanes.offsets = packed.list<Offset>(offsets);
  packed.x.lanes.source = packed.indices(slots);
  packed.options.update_kv_state = true;
  packed.run();
  for (const std::size_t lane : {0u, 2u, 3u}) {
    Call own(packed.n, packed.form);
    own.keep_tokens(offsets[lane], offsets[lane + 1] - offsets[lane]);
    own.x.lanes.source = own.indices({slots[lane]});
    own.options.update_kv_state = true;
    own.run();
    for (const std::string& pool : pools)
      EXPECT_EQ(slot_of(packed, pool, slots[lane]), slot_of(own, pool, slots[lane])) << pool;
    const Index row = own.n.heads * own.n.value;
    for (Index i = offsets[lane] * row; i < offsets[lane + 1] * row; ++i)
      EXPECT_EQ(packed.at("out").load(i), own.at("out").load(i));
  }
  for (const std::string& pool : pools)
    for (const Index slot : {0, 3})
      EXPECT_EQ(slot_of(packed, pool, slot), slot_of(before, pool, slot));
}

// ---- what is refused

TEST(Mamba3StepPools, SlotsThatAreNotOneLanesAreRefusedByName) {
  Call c({.slots = 6});
  c.x.lanes.source = c.indices({4, 2, 4});
  expect_refused([&] { c.run(); }, "mamba3_step: lanes 0 and 2 both write slot 4");
  c.x.lanes.destination = c.indices({0, 1, 3});
  EXPECT_EQ(refusal([&] { c.run(); }), "accepted") << "several lanes may read a slot";
  c.x.lanes.destination = c.indices({2, 5, 3});
  expect_refused([&] { c.run(); }, "lane 1 reads slot 2, which lane 0 writes");
  c.x.lanes.destination = {};
  c.x.lanes.source = c.indices({0, 6, 1});
  expect_refused([&] { c.run(); },
                 "state_batch_indices of lane 1 is 6; accepted is 0 to 5, negative for padding");
  c.x.lanes.source = c.indices({0, 1, std::numeric_limits<std::int32_t>::max()});
  expect_refused([&] { c.run(); }, "lane 2 is 2147483647");
  c.x.lanes.source = c.indices({0, 1, 2});
  c.x.lanes.replayed = c.list<Sequence>({0, 2, 1});
  expect_refused([&] { c.run(); }, "replayed_tokens of lane 1 is 2; accepted is 0 to 1");
}

TEST(Mamba3StepPools, WhatTheCudaStepCannotTakeIsRefusedWithItsReason) {
  Call gate({});
  gate.x.outproj = {};
  expect_refused([&] { gate.run(); }, "z needs outproj");
  gate.x.zproj = {};
  expect_refused([&] { gate.run(); }, "z and zproj must be given together");

  Call apart({});
  apart.y.state_out = apart.buffer<Sequence, Head, Value, State>(
      "state_out", ElementType::float64,
      {{Sequence::name, 3, 0}, {Head::name, 2, 0}, {Value::name, 5, 0}, {State::name, 12, 0}});
  apart.options.update_kv_state = true;
  expect_refused([&] { apart.run(); }, "state_out leaves the pools as they are");
  apart.options.update_kv_state = false;
  apart.x.lanes.source = apart.indices({0, 1, 2});
  expect_refused([&] { apart.run(); }, "state_out is for the dense form: with state_batch_indices");

  Call tile({.value = 6});
  tile.options.tile_d = 3;
  EXPECT_EQ(refusal([&] { tile.run(); }), "accepted");
  tile.options.update_kv_state = true;
  expect_refused([&] { tile.run(); }, "tile_d is 3; update_kv_state needs a single D-tile");
  tile.options.tile_d = 12;  // the other library's own assertion lets this pass
  expect_refused([&] { tile.run(); }, "tile_d is 12; it must divide P = 6");
  tile.options.tile_d = 6;
  EXPECT_EQ(refusal([&] { tile.run(); }), "accepted");
}

TEST(Mamba3StepPools, MixedRotationsAreRefused) {
  Call c({}, {.prologue = true});
  c.options.rotation = Rotation::halved;
  expect_refused([&] { c.run(); },
                 "the states of the pools are rotated pairwise, B and C of this call halved");
}

TEST(Mamba3StepPools, WhatContradictsItselfIsRefused) {
  Call plain({});
  plain.x.B_bias = plain.buffer<Rank, Head, State>(
      "B_bias", ElementType::float64,
      {{Rank::name, 3, 0}, {Head::name, 2, 0}, {State::name, 12, 0}});
  expect_refused([&] { plain.run(); }, "biases and norm weights belong to the prologue");
  Call odd({.state = 7, .frequencies = 2}, {.prologue = true});
  expect_refused([&] { odd.run(); }, "a rotation needs an even N, got 7");
  Call many({.frequencies = 7}, {.prologue = true});
  expect_refused([&] { many.run(); }, "theta has 7 frequencies; accepted is 0 to N / 2 = 6");
  Call groups({.heads = 4, .groups = 3});
  expect_refused([&] { groups.run(); }, "the groups of B must divide the heads of x, 4; got 3");
  Call wide({});
  wide.options.stochastic = StochasticRounding{};
  expect_refused([&] { wide.run(); }, "stochastic rounding needs a state of 16 bits");
  Call keys({}, {}, types_of(ElementType::float32, ElementType::bfloat16));
  keys.y.k_state = {ElementType::float32, keys.y.k_state.data(), keys.y.k_state.extents(),
                    keys.y.k_state.strides()};
  expect_refused([&] { keys.run(); }, "k_state must have the type of B");
  Call still({});
  expect_refused([&] { rotating<Exact>(still.x, still.options, still.y); },
                 "the rotating form needs B and C before their rotation");
}

}  // namespace
}  // namespace groundstate::mamba3_step
