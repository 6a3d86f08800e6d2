// selective_state_update against the equation written out once more, and against itself: other
// layouts, other slots, other ways to cut time.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "harness/case/tensor.hpp"
#include "reference/core/philox.hpp"
#include "reference/selective_state_update/stepwise.hpp"
#include "tests/refusal.hpp"

namespace groundstate::selective_state_update {
namespace {

using harness::Tensor;

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

struct Sizes {
  Index lanes = 3, time = 1, heads = 2, groups = 1, value = 5, state = 12, slots = 3;
};

Tensor tensor(std::string name, ElementType type, const std::vector<Index>& extents) {
  std::vector<harness::AxisExtent> axes;
  static constexpr std::array<std::string_view, 5> names{Batch::name, Time::name, Head::name,
                                                         Value::name, State::name};
  for (std::size_t i = 0; i < extents.size(); ++i) axes.push_back({names[i], extents[i], 0});
  return Tensor::allocate(std::move(name), type, axes);
}

// A call with tensors of its own. Views can be replaced by others before run().
struct Call {
  explicit Call(const Sizes& sizes, ElementType stored = ElementType::float64,
                ElementType activation = ElementType::float64)
      : n(sizes) {
    input.x = fill("x", activation, {n.lanes, n.time, n.heads, n.value}).view(input.x);
    input.dt = fill("dt", activation, {n.lanes, n.time, n.heads, n.value}, 0.1, 0.4).view(input.dt);
    input.A = fill("A", activation, {n.heads, n.value, n.state}, -1, 0.5).view(input.A);
    input.B = fill("B", activation, {n.lanes, n.time, n.groups, n.state}).view(input.B);
    input.C = fill("C", activation, {n.lanes, n.time, n.groups, n.state}).view(input.C);
    input.D = fill("D", activation, {n.heads, n.value}).view(input.D);
    input.z = fill("z", activation, {n.lanes, n.time, n.heads, n.value}).view(input.z);
    input.dt_bias = fill("dt_bias", activation, {n.heads, n.value}, 0, 0.1).view(input.dt_bias);
    out = tensor("out", activation, {n.lanes, n.time, n.heads, n.value});
    pool = tensor("state", stored, {n.slots, n.heads, n.value, n.state});
    scale = tensor("state_scale", ElementType::float32, {n.slots, n.heads, n.value});
    const RandomStream stream(1, "state");
    for (Index i = 0; i < pool.elements(); ++i) {
      const double s = stream.normal(static_cast<std::uint64_t>(i));
      pool.store(i, is_integer(stored) ? std::round(20 * s) : s);
    }
    for (Index i = 0; i < scale.elements(); ++i) scale.store(i, 0.01 * static_cast<double>(i + 1));
    output.out = {out.type(), out.data(), {n.lanes, n.time, n.heads, n.value}, strides(out)};
    output.state = {pool.type(), pool.data(), {n.slots, n.heads, n.value, n.state}, strides(pool)};
    if (has_codes(stored))
      output.scale = {scale.type(), scale.data(), {n.slots, n.heads, n.value}, strides3(scale)};
  }
  Call(const Call&) = delete;

  template <class Recipe = Exact>
  void run() {
    recurrent<Recipe>(input, options, output);
  }
  // An index tensor of [lanes, columns].
  HostView<const Any, Sequence, Time> indices(const std::vector<Index>& values, Index columns = 1) {
    Tensor own = tensor("indices", ElementType::int64,
                        {static_cast<Index>(values.size()) / columns, columns});
    for (std::size_t i = 0; i < values.size(); ++i)
      own.store(static_cast<Index>(i), static_cast<double>(values[i]));
    held.push_back(own);
    return {own.type(), own.data(), {own.axes()[0].extent, columns}, {columns, 1}};
  }
  template <class Axis>
  HostView<const Any, Axis> list(const std::vector<Index>& values) {
    const auto two = indices(values);
    return {two.type(), two.data(), {static_cast<Index>(values.size())}, {1}};
  }
  double state(Index slot, Index h, Index p, Index s) const {
    return output.state.load(Slot{slot}, Head{h}, Value{p}, State{s});
  }
  double y(Index lane, Index t, Index h, Index p) const {
    return output.out.load(Batch{lane}, Time{t}, Head{h}, Value{p});
  }

  Sizes n;
  Inputs<Space::host, AnyElements> input;
  Outputs<Space::host, AnyElements> output;
  Options options;
  Tensor out, pool, scale;
  std::vector<Tensor> held;

 private:
  struct Filled {
    Tensor own;
    template <class... Axes>
    HostView<const Any, Axes...> view(const HostView<const Any, Axes...>&) const {
      std::array<Index, sizeof...(Axes)> extents{}, strides{};
      for (std::size_t i = 0; i < extents.size(); ++i) {
        extents[i] = own.axes()[i].extent;
        strides[i] = own.axes()[i].stride;
      }
      return {own.type(), own.data(), extents, strides};
    }
  };
  Filled fill(const char* name, ElementType type, const std::vector<Index>& extents,
              double mean = 0, double size = 1) {
    Tensor own = tensor(name, type, extents);
    const RandomStream stream(7, name);
    for (Index i = 0; i < own.elements(); ++i)
      own.store(i, mean + size * stream.normal(static_cast<std::uint64_t>(i)));
    held.push_back(own);
    return {own};
  }
  static std::array<Index, 4> strides(const Tensor& x) {
    return {x.axes()[0].stride, x.axes()[1].stride, x.axes()[2].stride, x.axes()[3].stride};
  }
  static std::array<Index, 3> strides3(const Tensor& x) {
    return {x.axes()[0].stride, x.axes()[1].stride, x.axes()[2].stride};
  }
};

testing::AssertionResult same_bytes(const Tensor& a, const Tensor& b) {
  if (a.bytes() == b.bytes() && std::memcmp(a.data(), b.data(), a.bytes()) == 0)
    return testing::AssertionSuccess();
  return testing::AssertionFailure() << a.name() << " differs";
}
std::vector<std::byte> bytes_of(const Tensor& x) {
  const auto* const data = static_cast<const std::byte*>(x.data());
  return {data, data + x.bytes()};
}

// ---- the equation

// Token by token on one lane and head, in the order in which the contract writes it. Each output is
// N + 4 roundings of terms whose sizes add up to `bound`.
void expect_equation(const Call& c, const Tensor& before, Index lane, Index slot) {
  constexpr double u = 0x1p-53;
  const Index group_size = c.n.heads / c.n.groups;
  for (Index h = 0; h < c.n.heads; ++h)
    for (Index p = 0; p < c.n.value; ++p) {
      std::vector<double> S(static_cast<std::size_t>(c.n.state)), size(S.size());
      for (std::size_t k = 0; k < S.size(); ++k) {
        S[k] = before.load(((slot * c.n.heads + h) * c.n.value + p) * c.n.state +
                           static_cast<Index>(k));
        size[k] = std::abs(S[k]);
      }
      for (Index t = 0; t < c.n.time; ++t) {
        const auto at = [&](const auto& view) {
          return view.load(Batch{lane}, Time{t}, Head{h}, Value{p});
        };
        const auto group = [&](const auto& view, std::size_t k) {
          return view.load(Batch{lane}, Time{t}, Group{h / group_size},
                           State{static_cast<Index>(k)});
        };
        const Inputs<Space::host, AnyElements> x = broadcast(c.input);
        double d = at(x.dt) + (x.dt_bias ? x.dt_bias.load(Head{h}, Value{p}) : 0);
        if (c.options.softplus && d <= 20) d = std::log1p(std::exp(d));
        double y = 0, bound = 0;
        for (std::size_t k = 0; k < S.size(); ++k) {
          const double g = x.A.load(Head{h}, Value{p}, State{static_cast<Index>(k)}) * d;
          S[k] = S[k] * std::exp(g) + d * group(x.B, k) * at(x.x);
          size[k] =
              size[k] * std::exp(g) * (1 + std::abs(g)) + std::abs(d * group(x.B, k) * at(x.x));
          y += S[k] * group(x.C, k);
          bound += size[k] * std::abs(group(x.C, k));
          if (t + 1 == c.n.time) {
            EXPECT_NEAR(c.state(slot, h, p, static_cast<Index>(k)), S[k],
                        8 * static_cast<double>(t + 1) * u * size[k]);
          }
        }
        if (x.D) y += at(x.x) * x.D.load(Head{h}, Value{p});
        bound += std::abs(at(x.x));
        const double gate = x.z ? at(x.z) / (1 + std::exp(-at(x.z))) : 1;
        EXPECT_NEAR(
            c.y(lane, t, h, p), y * gate,
            static_cast<double>(c.n.state + 8 * (t + 1)) * u * bound * (1 + std::abs(gate)) * 4)
            << "lane " << lane << " t " << t << " h " << h << " p " << p;
      }
    }
}

TEST(SelectiveStateUpdate, ACallIsTheEquation) {
  for (const Index groups : {1, 2})
    for (const Index time : {1, 4})
      for (const bool softplus : {false, true})
        for (const bool all : {false, true}) {
          Call c({.time = time, .heads = 4, .groups = groups});
          c.options.softplus = softplus;
          if (!all) {
            c.input.D = {};
            c.input.z = {};
            c.input.dt_bias = {};
          }
          const Tensor before = Call(c.n).pool;
          c.run();
          for (Index lane = 0; lane < c.n.lanes; ++lane) expect_equation(c, before, lane, lane);
        }
}

TEST(SelectiveStateUpdate, WithoutDecayTheStateIsASumOfOuterProductsExactly) {
  Call c({.lanes = 1, .time = 3, .heads = 1, .slots = 1});
  for (Tensor& own : c.held)
    for (Index i = 0; i < own.elements(); ++i)
      own.store(i, own.name() == "A" ? 0 : own.name() == "dt" ? 1 : static_cast<double>(i % 7 - 3));
  for (Index i = 0; i < c.pool.elements(); ++i) c.pool.store(i, static_cast<double>(i % 5));
  c.input.z = {};
  c.input.dt_bias = {};
  const std::vector<std::byte> before = bytes_of(c.pool);
  c.run();
  for (Index p = 0; p < c.n.value; ++p)
    for (Index k = 0; k < c.n.state; ++k) {
      double sum = load_element(ElementType::float64, before.data(), p * c.n.state + k);
      for (Index t = 0; t < c.n.time; ++t)
        sum += c.input.x.load(Batch{0}, Time{t}, Head{0}, Value{p}) *
               c.input.B.load(Batch{0}, Time{t}, Group{0}, State{k});
      EXPECT_EQ(c.state(0, 0, p, k), sum);
    }
}

TEST(SelectiveStateUpdate, WithDtZeroTheStateKeepsItsBits) {
  for (const ElementType stored :
       {ElementType::float32, ElementType::bfloat16, ElementType::float16}) {
    Call c({}, stored, ElementType::float32);
    for (Tensor& own : c.held)
      for (Index i = 0; own.name() == "dt" && i < own.elements(); ++i) own.store(i, 0);
    c.input.dt_bias = {};
    const std::vector<std::byte> before = bytes_of(c.pool);
    c.run<Single>();
    EXPECT_EQ(bytes_of(c.pool), before) << name_of(stored);
  }
}

// ---- layouts

TEST(SelectiveStateUpdate, OneNumberAHeadIsThatNumberWrittenOut) {
  for (const bool extent_one : {true, false}) {
    Call compact({.time = 2}, ElementType::float32, ElementType::float32),
        full(compact.n, ElementType::float32, ElementType::float32);
    auto& a = full.input;
    for (const Tensor& own : full.held) {
      Tensor x = own;  // the first element of each head, everywhere
      const Index row = own.name() == "A" ? full.n.value * full.n.state : full.n.value;
      if (own.name() == "A" || own.name() == "dt" || own.name() == "dt_bias" || own.name() == "D")
        for (Index i = 0; i < x.elements(); ++i) x.store(i, x.load(i / row * row));
    }
    auto& b = compact.input;
    const auto extent = [&](Index wide) { return extent_one ? Index{1} : wide; };
    const Index P = compact.n.value, N = compact.n.state, H = compact.n.heads;
    b.A = {b.A.type(), b.A.data(), {H, extent(P), extent(N)}, {P * N, 0, 0}};
    b.D = {b.D.type(), b.D.data(), {H, extent(P)}, {P, 0}};
    b.dt_bias = {b.dt_bias.type(), b.dt_bias.data(), {H, extent(P)}, {P, 0}};
    b.dt = {b.dt.type(), b.dt.data(), {compact.n.lanes, 2, H, extent(P)}, {2 * H * P, H * P, P, 0}};
    EXPECT_TRUE(is_tied(broadcast(b)));
    EXPECT_FALSE(is_tied(broadcast(a)));
    compact.run<Single>();
    full.run<Single>();
    EXPECT_TRUE(same_bytes(compact.out, full.out));
    EXPECT_TRUE(same_bytes(compact.pool, full.pool));
  }
}

TEST(SelectiveStateUpdate, SlicesOfWiderTensorsAndStridedPoolsHaveTheBitsOfDenseOnes) {
  const Sizes n{.time = 2};
  Call dense(n), sliced(n);
  // x, B, C and dt as columns of one projection; the pool with gaps between slots, heads and rows.
  Tensor wide = tensor("projection", ElementType::float64, {n.lanes, n.time, 1, 200});
  for (Index i = 0; i < wide.elements(); ++i) wide.store(i, not_a_number);
  Index column = 3;
  const auto place = [&](auto& view, Index rows, Index columns) {
    auto* const data = static_cast<double*>(wide.data()) + column;
    const auto extents = view.extents();
    for (Index b = 0; b < n.lanes; ++b)
      for (Index t = 0; t < n.time; ++t)
        for (Index i = 0; i < rows * columns; ++i)
          data[(b * n.time + t) * 200 + i] =
              load_element(view.type(), view.data(), (b * n.time + t) * rows * columns + i);
    view = {ElementType::float64, data, extents, {n.time * 200, 200, columns, 1}};
    column += rows * columns + 1;
  };
  place(sliced.input.x, n.heads, n.value);
  place(sliced.input.B, n.groups, n.state);
  place(sliced.input.C, n.groups, n.state);
  place(sliced.input.dt, n.heads, n.value);
  const Index row = n.state + 3, head = n.value * row + 5, slot = n.heads * head + 11;
  Tensor cache = tensor("cache", ElementType::float64, {1, 1, 1, n.slots * slot});
  for (Index i = 0; i < cache.elements(); ++i) cache.store(i, not_a_number);
  const auto at = [&](Index s, Index h, Index p, Index k) {
    return s * slot + h * head + p * row + k;
  };
  const auto for_states = [&](auto&& use) {
    for (Index s = 0; s < n.slots; ++s)
      for (Index h = 0; h < n.heads; ++h)
        for (Index p = 0; p < n.value; ++p)
          for (Index k = 0; k < n.state; ++k) use(s, h, p, k);
  };
  for_states([&](Index s, Index h, Index p, Index k) {
    cache.store(at(s, h, p, k), dense.state(s, h, p, k));
  });
  sliced.output.state = {ElementType::float64,
                         cache.data(),
                         {n.slots, n.heads, n.value, n.state},
                         {slot, head, row, 1}};
  dense.run();
  sliced.run();
  EXPECT_TRUE(same_bytes(dense.out, sliced.out));
  Index written = 0;
  for_states([&](Index s, Index h, Index p, Index k) {
    EXPECT_EQ(cache.load(at(s, h, p, k)), dense.state(s, h, p, k));
  });
  for (Index i = 0; i < cache.elements(); ++i) written += !std::isnan(cache.load(i));
  EXPECT_EQ(written, n.slots * n.heads * n.value * n.state) << "the gaps are nobody's";
}

TEST(SelectiveStateUpdate, OffsetsBeyond2To31ElementsReachTheirSlot) {
  const Sizes n{.lanes = 1, .slots = 2};
  Call near(n, ElementType::int8, ElementType::float32),
      far(n, ElementType::int8, ElementType::float32);
  constexpr Index stride = (Index{1} << 31) + 12345;
  const std::size_t bytes = 2 * static_cast<std::size_t>(stride);
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* const slot = static_cast<std::int8_t*>(memory) + stride;
  const Index size = n.heads * n.value * n.state;
  std::memcpy(slot, static_cast<const std::int8_t*>(near.pool.data()) + size,
              static_cast<std::size_t>(size));
  far.output.state = {ElementType::int8,
                      memory,
                      far.output.state.extents(),
                      {stride, n.value * n.state, n.state, 1}};
  near.input.source = near.indices({1});
  far.input.source = far.indices({1});
  near.run<Single>();
  far.run<Single>();
  EXPECT_TRUE(same_bytes(near.out, far.out));
  EXPECT_EQ(std::memcmp(slot, static_cast<const std::int8_t*>(near.pool.data()) + size,
                        static_cast<std::size_t>(size)),
            0);
  munmap(memory, bytes);
}

// ---- lanes and slots

TEST(SelectiveStateUpdate, PaddedLanesGiveZeroAndTouchNothing) {
  for (const std::optional<Index> pad : {std::optional<Index>(), std::optional<Index>(99)}) {
    Call c({.lanes = 4, .slots = 5}, ElementType::bfloat16, ElementType::float32);
    Call alone(c.n, ElementType::bfloat16, ElementType::float32);
    c.options.pad_slot_id = alone.options.pad_slot_id = pad;
    const Index none = pad.value_or(-7);
    c.input.source = c.indices({none, 0, none, 3});
    for (Tensor& own : c.held)
      for (Index lane : {0, 2})
        if (own.axes()[0].name == Batch::name && own.axes()[0].extent == 4 &&
            own.axes().size() == 4)
          for (Index i = 0; i < own.axes()[0].stride; ++i)
            own.store(lane * own.axes()[0].stride + i, not_a_number);
    const std::vector<std::byte> before = bytes_of(c.pool);
    c.run<Single>();
    for (Index i = 0; i < c.n.heads * c.n.value; ++i)
      for (Index lane : {0, 2}) {
        EXPECT_EQ(c.out.load(lane * c.n.heads * c.n.value + i), 0);
        EXPECT_FALSE(std::signbit(c.out.load(lane * c.n.heads * c.n.value + i)));
      }
    const std::vector<std::byte> after = bytes_of(c.pool);
    const std::size_t slot = after.size() / 5;
    for (std::size_t s = 0; s < 5; ++s)
      EXPECT_EQ(std::memcmp(&after[s * slot], &before[s * slot], slot) == 0, s != 0 && s != 3) << s;
  }
}

TEST(SelectiveStateUpdate, WithPaddingOnlyThePoolMayBeEmpty) {
  Call c({.slots = 0});
  c.input.source = c.indices({-1, -2, -3});
  c.run();
  for (Index i = 0; i < c.out.elements(); ++i) EXPECT_EQ(c.out.load(i), 0);
}

TEST(SelectiveStateUpdate, SlotsOfTwoLanesAreRefusedByName) {
  Call c({.slots = 6});
  c.input.source = c.indices({4, 2, 4});
  expect_refused([&] { c.run(); }, "lanes 0 and 2 both write slot 4");
  c.input.destination = c.indices({0, 1, 3});
  EXPECT_EQ(refusal([&] { c.run(); }), "accepted") << "several lanes may read a slot";
  c.input.destination = c.indices({0, 5, 0});
  expect_refused([&] { c.run(); }, "lanes 0 and 2 both write slot 0");
  c.input.destination = c.indices({2, 5, 3});
  expect_refused([&] { c.run(); }, "lane 1 reads slot 2, which lane 0 writes");
  c.options.update_state = false;
  EXPECT_EQ(refusal([&] { c.run(); }), "accepted") << "nothing is written";
}

TEST(SelectiveStateUpdate, SlotsOutsideOfThePoolAreRefusedByName) {
  Call c({.slots = 6});
  c.input.source = c.indices({0, 6, 1});
  expect_refused([&] { c.run(); },
                 "state_batch_indices of lane 1 is 6; accepted is 0 to 5, negative for padding");
  c.input.source = c.indices({0, 2, std::numeric_limits<std::int32_t>::max()});
  expect_refused([&] { c.run(); }, "lane 2 is 2147483647");
  c.options.pad_slot_id = 99;
  c.input.source = c.indices({0, -1, 99});
  expect_refused([&] { c.run(); }, "lane 1 is -1; accepted is 0 to 5 and pad_slot_id, 99");
  c.input.source = c.indices({0, 1, 2});
  c.input.destination = c.indices({0, 1, 77});
  expect_refused([&] { c.run(); }, "dst_state_batch_indices of lane 2 is 77");
}

TEST(SelectiveStateUpdate, WhatContradictsItselfIsRefused) {
  Call c({.time = 3, .slots = 9});
  c.input.accepted = c.list<Sequence>({1, 1, 1});
  expect_refused([&] { c.run(); }, "num_accepted_tokens needs state_batch_indices");
  c.input.source = c.indices({0, 1, 2, 3, 4, 5}, 2);
  c.input.accepted = c.list<Sequence>({1, 3, 1});
  expect_refused([&] { c.run(); }, "num_accepted_tokens of lane 1 is 3; accepted is 0 to 2");
  c.input.accepted = {};
  c.input.destination = c.indices({0, 6, 1, 7, 2, 8}, 2);
  expect_refused([&] { c.run(); }, "a column per token, 3, or one; it has 2");
  c.input.destination = {};
  c.options.stochastic = StochasticRounding{};
  expect_refused([&] { c.run(); }, "stochastic rounding needs a state of 16 or 8 bits");
  c.options.stochastic.reset();
  c.input.C = c.input.B;
  c.output.scale = {ElementType::float32, c.scale.data(), {9, 2, 5}, {10, 5, 1}};
  expect_refused([&] { c.run(); }, "state_scale must be given exactly where");
  Call groups({.heads = 4, .groups = 3});
  expect_refused([&] { groups.run(); }, "the groups of B must divide the heads of x, 4; got 3");
}

TEST(SelectiveStateUpdate, LanesOfOneSlotOneAfterTheOtherAreCallsOneAfterTheOther) {
  for (const ElementType stored :
       {ElementType::float32, ElementType::bfloat16, ElementType::int8}) {
    const Sizes two{.lanes = 2, .time = 2};
    Call together(two, stored, ElementType::float32), apart(two, stored, ElementType::float32);
    together.options.sequential = true;
    together.input.source = together.indices({1, 1});
    together.run<Single>();
    for (Index lane = 0; lane < 2; ++lane) {
      const auto cut = [&](auto view) {
        auto extents = view.extents();
        extents[0] = 1;
        const auto* const data =
            static_cast<const std::byte*>(view.data()) +
            lane * view.strides()[0] * static_cast<Index>(size_of(view.type()));
        return decltype(view)(view.type(), const_cast<std::byte*>(data), extents, view.strides());
      };
      Inputs<Space::host, AnyElements> x = apart.input;
      x.x = cut(x.x), x.dt = cut(x.dt), x.z = cut(x.z), x.B = cut(x.B), x.C = cut(x.C);
      x.source = apart.indices({1});
      Outputs<Space::host, AnyElements> y = apart.output;
      y.out = cut(y.out);
      recurrent<Single>(x, apart.options, y);
    }
    EXPECT_TRUE(same_bytes(together.out, apart.out)) << name_of(stored);
    EXPECT_TRUE(same_bytes(together.pool, apart.pool)) << name_of(stored);
  }
}

TEST(SelectiveStateUpdate, PackedLanesAreLanesByThemselves) {
  const std::vector<Index> offsets{0, 2, 2, 3, 6};
  Call packed({.lanes = 1, .time = 6, .slots = 5});
  packed.input.offsets = packed.list<Offset>(offsets);
  packed.input.source = packed.indices({4, 0, 2, 1});
  const std::vector<std::byte> before = bytes_of(packed.pool);
  packed.run();
  for (Index lane : {0, 2, 3}) {
    const Index begin = offsets[static_cast<std::size_t>(lane)],
                length = offsets[static_cast<std::size_t>(lane) + 1] - begin;
    Call own({.lanes = 1, .time = 6, .slots = 5});
    const auto cut = [&](auto view) {
      auto extents = view.extents();
      extents[1] = length;
      const auto* const data = static_cast<const double*>(view.data()) + begin * view.strides()[1];
      return decltype(view)(view.type(), const_cast<double*>(data), extents, view.strides());
    };
    auto& x = own.input;
    x.x = cut(x.x), x.dt = cut(x.dt), x.z = cut(x.z), x.B = cut(x.B), x.C = cut(x.C);
    own.output.out = cut(own.output.out);
    const Index slot = std::vector<Index>{4, 0, 2, 1}[static_cast<std::size_t>(lane)];
    x.source = own.indices({slot});
    own.run();
    for (Index t = 0; t < length; ++t)
      for (Index p = 0; p < own.n.value; ++p)
        EXPECT_EQ(packed.y(0, begin + t, 1, p), own.y(0, t, 1, p));
    for (Index p = 0; p < own.n.value; ++p)
      EXPECT_EQ(packed.state(slot, 1, p, 3), own.state(slot, 1, p, 3));
  }
  const std::size_t slot = before.size() / 5;
  for (const std::size_t untouched : {0u, 3u})
    EXPECT_EQ(std::memcmp(bytes_of(packed.pool).data() + untouched * slot,
                          before.data() + untouched * slot, slot),
              0)
        << "a lane without tokens stores nothing";
}

// ---- several tokens

// The states after each token, by calls of 1, 2, .. tokens on a pool of the same type.
std::vector<std::vector<std::byte>> states_after(const Sizes& n, ElementType stored) {
  std::vector<std::vector<std::byte>> result;
  for (Index t = 1; t <= n.time; ++t) {
    Call own(n, stored, ElementType::float32);
    const auto cut = [&](auto view) {
      auto extents = view.extents();
      extents[1] = t;
      return decltype(view)(view.type(), view.data(), extents, view.strides());
    };
    auto& x = own.input;
    x.x = cut(x.x), x.dt = cut(x.dt), x.z = cut(x.z), x.B = cut(x.B), x.C = cut(x.C);
    own.output.out = cut(own.output.out);
    own.run<Single>();
    result.push_back(bytes_of(own.pool));
  }
  return result;
}

TEST(SelectiveStateUpdate, ADestinationATokenHoldsTheStateAfterIt) {
  for (const ElementType stored :
       {ElementType::float32, ElementType::bfloat16, ElementType::int8}) {
    const Sizes n{.lanes = 1, .time = 3, .slots = 5};
    Call c(n, stored, ElementType::float32);
    c.input.destination = c.indices({3, -1, 1}, 3);
    const std::vector<std::byte> before = bytes_of(c.pool);
    c.run<Single>();
    const auto expected = states_after(n, stored);
    const std::vector<std::byte> after = bytes_of(c.pool);
    const std::size_t slot = after.size() / 5;
    const auto same = [&](std::size_t own, const std::vector<std::byte>& other,
                          std::size_t theirs) {
      return std::memcmp(&after[own * slot], &other[theirs * slot], slot) == 0;
    };
    EXPECT_TRUE(same(3, expected[0], 0)) << name_of(stored);
    EXPECT_TRUE(same(1, expected[2], 0)) << name_of(stored);
    for (const std::size_t untouched : {0u, 2u, 4u})
      EXPECT_TRUE(same(untouched, before, untouched));
  }
}

TEST(SelectiveStateUpdate, IntermediateStatesAreThoseAfterEachToken) {
  for (const ElementType stored :
       {ElementType::float32, ElementType::float16, ElementType::int16}) {
    const Sizes n{.lanes = 2, .time = 3, .slots = 2};
    Call c(n, stored, ElementType::float32);
    Tensor states = tensor("intermediate", stored, {4, n.time, n.heads, n.value, n.state}),
           scales = tensor("scales", ElementType::float32, {4, n.time, n.heads, n.value});
    const Index row = n.heads * n.value;
    c.output.intermediate = {
        stored,
        states.data(),
        {4, n.time, n.heads, n.value, n.state},
        {n.time * row * n.state, row * n.state, n.value * n.state, n.state, 1}};
    if (has_codes(stored))
      c.output.intermediate_scale = {ElementType::float32,
                                     scales.data(),
                                     {4, n.time, n.heads, n.value},
                                     {n.time * row, row, n.value, 1}};
    c.input.intermediate_rows = c.list<Sequence>({3, 0});
    c.options.update_state = false;
    const std::vector<std::byte> before = bytes_of(c.pool);
    c.run<Single>();
    EXPECT_EQ(bytes_of(c.pool), before) << "update_state = false";
    const auto expected = states_after(n, stored);
    const std::size_t slot = before.size() / 2;
    for (std::size_t t = 0; t < 3; ++t)
      for (const auto& [lane, own] : {std::pair<std::size_t, std::size_t>{0, 3}, {1, 0}})
        EXPECT_EQ(std::memcmp(static_cast<const std::byte*>(states.data()) + (own * 3 + t) * slot,
                              &expected[t][lane * slot], slot),
                  0)
            << name_of(stored) << " t " << t << " lane " << lane;
  }
}

TEST(SelectiveStateUpdate, AcceptedTokensChooseTheColumnThatIsRead) {
  const std::vector<std::pair<Index, Index>> accepted_and_column{{0, 0}, {1, 0}, {2, 1}, {3, 2}};
  for (const auto& [accepted, column] : accepted_and_column) {
    Call chosen({.lanes = 1, .slots = 4}), plain({.lanes = 1, .slots = 4});
    const std::vector<Index> slots{2, 0, 3};
    chosen.input.source = chosen.indices(slots, 3);
    chosen.input.accepted = chosen.list<Sequence>({accepted});
    plain.input.source = plain.indices({slots[static_cast<std::size_t>(column)]});
    chosen.run();
    plain.run();
    EXPECT_TRUE(same_bytes(chosen.out, plain.out)) << accepted;
    EXPECT_TRUE(same_bytes(chosen.pool, plain.pool)) << accepted;
  }
}

TEST(SelectiveStateUpdate, CallsOneAfterTheOtherAreOneCallWhereStoringLosesNothing) {
  for (const Index tokens : {1, 2, 7}) {
    Call at_once({.time = 5}), in_calls(at_once.n);
    at_once.run();
    stepwise<Exact>(in_calls.input, in_calls.options, in_calls.output, tokens);
    EXPECT_TRUE(same_bytes(at_once.out, in_calls.out)) << tokens;
    EXPECT_TRUE(same_bytes(at_once.pool, in_calls.pool)) << tokens;
  }
}

TEST(SelectiveStateUpdate, EveryCallOfManyDrawsOtherBits) {
  const Sizes n{.lanes = 1, .time = 3, .slots = 1};
  Call many(n, ElementType::bfloat16, ElementType::float32),
      one_by_one(n, ElementType::bfloat16, ElementType::float32);
  many.options.stochastic = {7, 10};
  stepwise<Single>(many.input, many.options, many.output, 1);
  for (Index t = 0; t < n.time; ++t) {
    auto x = one_by_one.input;
    auto y = one_by_one.output;
    x.x = tokens_of(x.x, t, 1), x.dt = tokens_of(x.dt, t, 1), x.z = tokens_of(x.z, t, 1);
    x.B = tokens_of(x.B, t, 1), x.C = tokens_of(x.C, t, 1), y.out = tokens_of(y.out, t, 1);
    Options options;
    options.stochastic = {7 + t, 10};
    recurrent<Single>(x, options, y);
  }
  EXPECT_TRUE(same_bytes(many.out, one_by_one.out));
  EXPECT_TRUE(same_bytes(many.pool, one_by_one.pool));
}

TEST(SelectiveStateUpdate, CallsThatReadWhatTheyDoNotWriteAreRefused) {
  Call c({.time = 2, .slots = 6});
  c.input.destination = c.indices({3, 4, 5});
  expect_refused([&] { stepwise<Exact>(c.input, c.options, c.output, 1); },
                 "dense lanes that write the slot that they read");
}

// ---- storage

// The pool of fp32 that the call gives, encoded row by row.
template <class Stored>
void expect_encoding(bool stochastically) {
  SCOPED_TRACE(name_of(element_type_of<Stored>::value));
  const Sizes n{.lanes = 2, .slots = 3};
  constexpr ElementType type = element_type_of<Stored>::value;
  Call c(n, type, ElementType::float32), wide(n, ElementType::float32, ElementType::float32);
  const StochasticRounding rounding{-5, 7};
  if (stochastically) c.options.stochastic = rounding;
  c.input.source = c.indices({2, 0});
  wide.input.source = wide.indices({2, 0});
  for (Index i = 0; i < c.pool.elements(); ++i) {
    const double factor = is_code<Stored> ? c.scale.load(i / n.state) : 1;
    wide.pool.store(i, static_cast<float>(c.pool.load(i)) * static_cast<float>(factor));
  }
  c.run<Single>();
  wide.run<Single>();
  EXPECT_TRUE(same_bytes(c.out, wide.out)) << "outputs are those of the state that is not rounded";
  for (Index row = 0; row < c.scale.elements(); ++row) {
    if (row / (n.heads * n.value) == 1) continue;  // the slot that no lane has
    const auto* const values = static_cast<const float*>(wide.pool.data()) + row * n.state;
    float amax = 0;
    for (Index k = 0; k < n.state; ++k) amax = std::max(amax, std::abs(values[k]));
    RowScale scale;
    if constexpr (is_code<Stored>) {
      scale = row_scale<Stored>(amax);
      EXPECT_EQ(c.scale.load(row), scale.decode);
    }
    for (Index k = 0; k < n.state; ++k) {
      const Index i = row * n.state + k;
      const std::uint32_t word =
          rounding_words(rounding, i - k % 4)[static_cast<std::size_t>(k % 4)];
      const float value = values[k] * scale.encode;
      const Stored expected =
          stochastically ? stochastic<Stored>(value, word) : nearest<Stored>(value);
      EXPECT_EQ(c.pool.load(i), static_cast<double>(expected)) << i;
    }
  }
}

TEST(SelectiveStateUpdate, WhatIsStoredIsTheEncodingOfTheStateInFp32) {
  for (const bool stochastically : {false, true}) {
    expect_encoding<bf16>(stochastically);
    expect_encoding<fp16>(stochastically);
    expect_encoding<fp8>(stochastically);
    expect_encoding<std::int8_t>(stochastically);
    expect_encoding<std::int16_t>(stochastically);
  }
}

// Updates of a thousandth of the state, against a decay of as much: to nearest they are all lost,
// and the state stays where it is; stochastically it goes to its fixed point of 1.
TEST(SelectiveStateUpdate, StochasticRoundingDoesNotStagnate) {
  const auto after = [](bool stochastically) {
    Call c({.lanes = 1, .heads = 1, .value = 4, .state = 16, .slots = 1}, ElementType::bfloat16,
           ElementType::float32);
    for (Tensor& own : c.held)
      for (Index i = 0; i < own.elements(); ++i)
        own.store(i, own.name() == "A" ? -1 : own.name() == "dt" ? 1e-3 : 1);
    c.input.dt_bias = {};
    for (Index i = 0; i < c.pool.elements(); ++i) c.pool.store(i, 0.5);
    for (int step = 0; step < 8000; ++step) {
      if (stochastically) c.options.stochastic = {step, 10};
      c.run<Single>();
    }
    double mean = 0;
    for (Index i = 0; i < c.pool.elements(); ++i) mean += c.pool.load(i);
    return mean / static_cast<double>(c.pool.elements());
  };
  EXPECT_EQ(after(false), 0.5);
  // A rounding has at most the variance update * spacing, 5e-4 * 2^-7, and some 500 of them are
  // remembered: each element is off by 0.044, the mean of 64 by 0.0055. Six of those.
  EXPECT_NEAR(after(true), 1, 0.035);
}

}  // namespace
}  // namespace groundstate::selective_state_update
