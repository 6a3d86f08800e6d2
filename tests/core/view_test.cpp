#include "reference/core/view.hpp"

#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <numeric>
#include <type_traits>
#include <vector>

namespace groundstate {
namespace {

TEST(View, IsRowMajorUnlessToldOtherwise) {
  std::array<int, 24> data;
  std::iota(data.begin(), data.end(), 0);
  const HostView<int, Time, Head, Key> x(data.data(), {2, 3, 4});
  EXPECT_EQ(x.extent<Head>(), 3);
  EXPECT_EQ(x.stride<Time>(), 12);
  EXPECT_EQ(x.stride<Key>(), 1);
  int expected = 0;
  for (Index t = 0; t < 2; ++t)
    for (Index h = 0; h < 3; ++h)
      for (Index k = 0; k < 4; ++k) EXPECT_EQ(x(Time{t}, Head{h}, Key{k}), expected++);
}

TEST(View, StorageOrderIsStride) {
  std::array<float, 6> value_major = {0, 10, 1, 11, 2, 12};  // [value = 3][key = 2]
  const HostView<float, Key, Value> state(value_major.data(), {2, 3}, {1, 2});
  for (Index k = 0; k < 2; ++k)
    for (Index v = 0; v < 3; ++v)
      EXPECT_EQ(state(Key{k}, Value{v}), static_cast<float>(10 * k + v));
  state(Key{1}, Value{2}) = -1;
  EXPECT_EQ(value_major[5], -1);
}

TEST(View, TakesASliceOfAFusedTensor) {
  std::array<float, 2 * 9> qkv;  // [time = 2][q, k, v of 3 each]
  std::iota(qkv.begin(), qkv.end(), 0.0f);
  const HostView<const float, Time, Key> k(qkv.data() + 3, {2, 3}, {9, 1});
  EXPECT_EQ(k(Time{0}, Key{0}), 3);
  EXPECT_EQ(k(Time{1}, Key{2}), 14);
}

TEST(View, BroadcastsWithStrideZero) {
  const std::array<float, 2> decay = {0.5f, 0.25f};
  const HostView<const float, Time, Head> x(decay.data(), {1000, 2}, {0, 1});
  EXPECT_EQ(x(Time{999}, Head{1}), 0.25f);
  EXPECT_EQ(x.extent<Time>(), 1000);
}

TEST(View, RunsBackwardsWithANegativeStride) {
  const std::array<float, 3> data = {1, 2, 3};
  const HostView<const float, Time> reversed(data.data() + 2, {3}, {-1});
  EXPECT_EQ(reversed(Time{0}), 3);
  EXPECT_EQ(reversed(Time{2}), 1);
}

TEST(View, AnAbsentTensorIsNotAnEmptyOne) {
  const HostView<float, Time, Head> absent, empty(nullptr, {0, 4});
  EXPECT_FALSE(absent);
  EXPECT_TRUE(empty);
  EXPECT_EQ(empty.extent<Head>(), 4);
  const HostView<const Any, Time, Head> erased_absent = absent, erased_empty = empty;
  EXPECT_FALSE(erased_absent);
  EXPECT_TRUE(erased_empty);
}

TEST(View, OffsetsAre64Bit) {
  constexpr Index large = Index{1} << 20;
  const Layout<Batch, Time, Head> layout({large, large, 4},
                                         row_major_strides<3>({large, large, 4}));
  EXPECT_EQ(layout.offset(Batch{large - 1}, Time{large - 1}, Head{3}), large * large * 4 - 1);
}

TEST(View, GivesUpWriteAccessImplicitlyAndNothingElse) {
  using Mutable = HostView<float, Time, Head>;
  static_assert(std::is_convertible_v<Mutable, HostView<const float, Time, Head>>);
  static_assert(!std::is_convertible_v<HostView<const float, Time, Head>, Mutable>);
  static_assert(!std::is_constructible_v<HostView<float, Head, Time>, Mutable>);
  static_assert(!std::is_constructible_v<DeviceView<float, Time, Head>, Mutable>);
  static_assert(!std::is_constructible_v<HostView<double, Time, Head>, Mutable>);
  static_assert(std::is_convertible_v<Mutable, HostView<Any, Time, Head>>);
  static_assert(std::is_convertible_v<Mutable, HostView<const Any, Time, Head>>);
  static_assert(std::is_convertible_v<HostView<Any, Time, Head>, HostView<const Any, Time, Head>>);
  static_assert(!std::is_convertible_v<HostView<const Any, Time, Head>, HostView<Any, Time, Head>>);
  static_assert(
      !std::is_constructible_v<HostView<Any, Time, Head>, HostView<const float, Time, Head>>);
  static_assert(
      !std::is_constructible_v<HostView<const Any, Time, Head>, DeviceView<float, Time, Head>>);
}

template <class T>
class AnyView : public testing::Test {};
using ElementTypes = testing::Types<double, float, bf16, fp16, std::int64_t, std::int32_t>;
TYPED_TEST_SUITE(AnyView, ElementTypes);

TYPED_TEST(AnyView, WidensExactlyOnLoadAndConvertsOnStore) {
  std::array<TypeParam, 6> data{};
  const HostView<TypeParam, Time, Head> typed(data.data(), {2, 3}, {1, 2});
  const HostView<Any, Time, Head> any = typed;
  const HostView<const Any, Time, Head> read_only = typed;
  EXPECT_EQ(any.type(), element_type_of<TypeParam>::value);
  EXPECT_EQ(size_of(any.type()), sizeof(TypeParam));
  for (Index t = 0; t < 2; ++t)
    for (Index h = 0; h < 3; ++h) {
      const auto x = static_cast<double>(-7 * t + h);
      any.store(x, Time{t}, Head{h});
      EXPECT_EQ(static_cast<double>(typed(Time{t}, Head{h})), x);
      EXPECT_EQ(any.load(Time{t}, Head{h}), x);
      EXPECT_EQ(read_only.load(Time{t}, Head{h}), x);
    }
}

TEST(AnyView, RoundsOnceOnStore) {
  const double x = 1 + 0x1p-8 + 0x1p-40;  // above a midpoint of bf16 by less than float can hold
  bf16 half{};
  float single{};
  double whole{};
  HostView<Any, Time>(ElementType::bfloat16, &half, {1}, {1}).store(x, Time{0});
  HostView<Any, Time>(ElementType::float32, &single, {1}, {1}).store(x, Time{0});
  HostView<Any, Time>(ElementType::float64, &whole, {1}, {1}).store(x, Time{0});
  EXPECT_EQ(static_cast<double>(half), 1 + 0x1p-7);
  EXPECT_EQ(single, 1 + 0x1p-8f);
  EXPECT_EQ(whole, x);
}

TEST(ElementType, IsNamedAsInACaseLine) {
  EXPECT_EQ(name_of(ElementType::float64), "fp64");
  EXPECT_EQ(name_of(ElementType::float32), "fp32");
  EXPECT_EQ(name_of(ElementType::bfloat16), "bf16");
  EXPECT_EQ(name_of(ElementType::float16), "fp16");
  EXPECT_EQ(name_of(ElementType::int64), "int64");
  EXPECT_EQ(name_of(ElementType::int32), "int32");
}

}  // namespace
}  // namespace groundstate
