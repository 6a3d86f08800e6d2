// The interface of simple_gla: storage of every type and layout is read exactly and written with
// one rounding, and inputs that contradict each other are refused in words.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "reference/core/philox.hpp"
#include "reference/simple_gla/recurrent.hpp"

namespace groundstate::simple_gla {
namespace {

constexpr Index batch = 2, time = 5, heads = 2, value_heads = 4, keys = 3, values = 6;

double normal(std::string_view name, Index i) {
  return RandomStream(9, name).normal(static_cast<std::uint64_t>(i));
}

// Dense tensors in the declared order, all of one type but for the offsets.
template <class T>
struct Dense {
  std::vector<T> query = filled("q", batch*time*heads*keys),
                 key = filled("k", batch*time*heads*keys),
                 value = filled("v", batch*time*value_heads*values),
                 log_decay = filled("g", batch*time*value_heads),
                 constant = filled("g_gamma", value_heads),
                 state = filled("h0", batch*value_heads*keys*values);

  static std::vector<T> filled(std::string_view name, Index count) {
    std::vector<T> result;
    for (Index i = 0; i < count; ++i) result.push_back(T(normal(name, i)));
    return result;
  }
  HostInputs inputs() const {
    return {HostView<const T, Batch, Time, Head, Key>(query.data(), {batch, time, heads, keys}),
            HostView<const T, Batch, Time, Head, Key>(key.data(), {batch, time, heads, keys}),
            HostView<const T, Batch, Time, ValueHead, Value>(value.data(),
                                                             {batch, time, value_heads, values}),
            HostView<const T, Batch, Time, ValueHead>(log_decay.data(), {batch, time, value_heads}),
            HostView<const T, ValueHead>(constant.data(), {value_heads}),
            HostView<const T, Sequence, ValueHead, Key, Value>(state.data(),
                                                               {batch, value_heads, keys, values}),
            {}};
  }
};

constexpr Options options{0.5};

Result<double> oracle(const Problem<double>& p) { return recurrent<Exact>(p); }

// ---- gather

// By the definition of each tensor, element by element.
template <class T>
void expect_gathered(const Problem<double>& p, const Dense<T>& x, Index b, Index hv) {
  const auto at = [](const std::vector<T>& data, Index i) {
    return static_cast<double>(data[static_cast<std::size_t>(i)]);
  };
  const Index head = hv / (value_heads / heads);
  for (Index t = 0; t < time; ++t) {
    const Index row = b * time + t;
    for (Index k = 0; k < keys; ++k) {
      EXPECT_EQ(p.q(t, k), at(x.query, (row * heads + head) * keys + k));
      EXPECT_EQ(p.k(t, k), at(x.key, (row * heads + head) * keys + k));
    }
    for (Index v = 0; v < values; ++v)
      EXPECT_EQ(p.v(t, v), at(x.value, (row * value_heads + hv) * values + v));
    EXPECT_EQ(p.log_decay[t], at(x.log_decay, row * value_heads + hv) + at(x.constant, hv));
  }
  for (Index k = 0; k < keys; ++k)
    for (Index v = 0; v < values; ++v)
      EXPECT_EQ(p.h0(k, v), at(x.state, ((b * value_heads + hv) * keys + k) * values + v));
  EXPECT_EQ(p.scale, 0.5);
}

template <class T>
class SimpleGlaStorage : public testing::Test {};
using StorageTypes = testing::Types<double, float, bf16, fp16>;
TYPED_TEST_SUITE(SimpleGlaStorage, StorageTypes);

TYPED_TEST(SimpleGlaStorage, IsWidenedExactly) {
  const Dense<TypeParam> x;
  for (Index b = 0; b < batch; ++b)
    for (Index hv = 0; hv < value_heads; ++hv)
      expect_gathered(gather<double>(x.inputs(), options, place(x.inputs(), options, b, hv)), x, b,
                      hv);
}

TYPED_TEST(SimpleGlaStorage, MayBeSlicesOfOneFusedTensor) {
  const Dense<TypeParam> x;
  // q, k and v of a token beside each other, as one projection makes them; a few elements lie
  // between.
  const Index q_at = 1, k_at = q_at + heads * keys + 2, v_at = k_at + heads * keys + 3,
              token = v_at + value_heads * values + 5;
  std::vector<TypeParam> fused(static_cast<std::size_t>(batch * time * token),
                               TypeParam(std::numeric_limits<double>::quiet_NaN()));
  for (Index row = 0; row < batch * time; ++row) {
    const auto copy = [&](const std::vector<TypeParam>& from, Index width, Index to) {
      for (Index i = 0; i < width; ++i)
        fused[static_cast<std::size_t>(row * token + to + i)] =
            from[static_cast<std::size_t>(row * width + i)];
    };
    copy(x.query, heads * keys, q_at);
    copy(x.key, heads * keys, k_at);
    copy(x.value, value_heads * values, v_at);
  }
  HostInputs sliced = x.inputs();
  using QueryView = HostView<const TypeParam, Batch, Time, Head, Key>;
  sliced.query =
      QueryView(fused.data() + q_at, {batch, time, heads, keys}, {time * token, token, keys, 1});
  sliced.key =
      QueryView(fused.data() + k_at, {batch, time, heads, keys}, {time * token, token, keys, 1});
  sliced.value = HostView<const TypeParam, Batch, Time, ValueHead, Value>(
      fused.data() + v_at, {batch, time, value_heads, values}, {time * token, token, values, 1});
  for (Index b = 0; b < batch; ++b)
    for (Index hv = 0; hv < value_heads; ++hv)
      expect_gathered(gather<double>(sliced, options, place(sliced, options, b, hv)), x, b, hv);
}

TYPED_TEST(SimpleGlaStorage, MayBeBroadcastAndTransposed) {
  Dense<TypeParam> x;
  HostInputs strided = x.inputs();
  // One row of gates for all batches, one k for all heads, one state for all sequences and stored
  // [value, key].
  strided.log_decay = HostView<const TypeParam, Batch, Time, ValueHead>(
      x.log_decay.data(), {batch, time, value_heads}, {0, value_heads, 1});
  strided.key = HostView<const TypeParam, Batch, Time, Head, Key>(
      x.key.data(), {batch, time, heads, keys}, {time * keys, keys, 0, 1});
  std::vector<TypeParam> transposed(x.state.size());
  for (Index hv = 0; hv < value_heads; ++hv)
    for (Index k = 0; k < keys; ++k)
      for (Index v = 0; v < values; ++v)
        transposed[static_cast<std::size_t>((hv * values + v) * keys + k)] =
            x.state[static_cast<std::size_t>((hv * keys + k) * values + v)];
  strided.initial_state = HostView<const TypeParam, Sequence, ValueHead, Key, Value>(
      transposed.data(), {batch, value_heads, keys, values}, {0, keys * values, 1, keys});

  Dense<TypeParam> same = x;  // the same, written out
  for (Index b = 0; b < batch; ++b) {
    for (Index i = 0; i < time * value_heads; ++i)
      same.log_decay[static_cast<std::size_t>(b * time * value_heads + i)] =
          x.log_decay[static_cast<std::size_t>(i)];
    for (Index t = 0; t < time; ++t)
      for (Index i = 0; i < heads * keys; ++i)
        same.key[static_cast<std::size_t>((b * time + t) * heads * keys + i)] =
            x.key[static_cast<std::size_t>((b * time + t) * keys + i % keys)];
    for (Index i = 0; i < value_heads * keys * values; ++i)
      same.state[static_cast<std::size_t>(b * value_heads * keys * values + i)] =
          x.state[static_cast<std::size_t>(i)];
  }
  for (Index b = 0; b < batch; ++b)
    for (Index hv = 0; hv < value_heads; ++hv)
      expect_gathered(gather<double>(strided, options, place(strided, options, b, hv)), same, b,
                      hv);
}

TEST(SimpleGlaGather, AbsentTensorsAreZero) {
  const Dense<double> x;
  HostInputs bare = x.inputs();
  bare.log_decay = {};
  bare.constant_log_decay = {};
  bare.initial_state = {};
  const Problem<double> p = gather<double>(bare, options, place(bare, options, 1, 3));
  EXPECT_TRUE((p.log_decay.array() == 0).all());
  EXPECT_TRUE((p.h0.array() == 0).all());
}

TEST(SimpleGlaGather, GatesAreAddedInTheScalarOfTheRecipe) {
  const Dense<double> x;
  const Place at = place(x.inputs(), options, 0, 0);
  const Problem<float> p = gather<float>(x.inputs(), options, at);
  for (Index t = 0; t < time; ++t)
    EXPECT_EQ(p.log_decay[t], static_cast<float>(normal("g", t * value_heads)) +
                                  static_cast<float>(normal("g_gamma", 0)));
}

// ---- scatter

TYPED_TEST(SimpleGlaStorage, IsWrittenWithOneRoundingAndNowhereElse) {
  const Dense<TypeParam> x;
  // Rows and states with room between them, which must stay as it is.
  const TypeParam canary(-77.0);
  const Index o_row = values + 3, ht_row = keys + 1;
  std::vector<TypeParam> o(static_cast<std::size_t>(batch * time * value_heads * o_row), canary),
      ht(static_cast<std::size_t>(batch * value_heads * values * ht_row), canary);
  HostOutputs y;
  y.output = HostView<TypeParam, Batch, Time, ValueHead, Value>(
      o.data(), {batch, time, value_heads, values},
      {time * value_heads * o_row, value_heads * o_row, o_row, 1});
  y.final_state = HostView<TypeParam, Sequence, ValueHead, Key, Value>(  // stored [value, key]
      ht.data(), {batch, value_heads, keys, values},
      {value_heads * values * ht_row, values * ht_row, 1, ht_row});
  for_each_problem<double>(x.inputs(), options, y, oracle);

  const auto same = [](TypeParam stored, double computed) {
    return static_cast<double>(stored) == static_cast<double>(TypeParam(computed));
  };
  for (Index b = 0; b < batch; ++b)
    for (Index hv = 0; hv < value_heads; ++hv) {
      const Result<double> r =
          recurrent<Exact>(gather<double>(x.inputs(), options, place(x.inputs(), options, b, hv)));
      for (Index t = 0; t < time; ++t)
        for (Index v = 0; v < o_row; ++v) {
          const TypeParam stored =
              o[static_cast<std::size_t>(((b * time + t) * value_heads + hv) * o_row + v)];
          EXPECT_TRUE(same(stored, v < values ? r.o(t, v) : -77.0))
              << b << " " << hv << " " << t << " " << v;
        }
      for (Index v = 0; v < values; ++v)
        for (Index k = 0; k < ht_row; ++k) {
          const TypeParam stored =
              ht[static_cast<std::size_t>(((b * value_heads + hv) * values + v) * ht_row + k)];
          EXPECT_TRUE(same(stored, k < keys ? r.ht(k, v) : -77.0))
              << b << " " << hv << " " << v << " " << k;
        }
    }
}

TEST(SimpleGlaScatter, TheFinalStateIsOptional) {
  const Dense<double> x;
  std::vector<double> with(static_cast<std::size_t>(batch * time * value_heads * values)),
      without = with, ht(x.state.size());
  const auto outputs = [&](std::vector<double>& o) {
    HostOutputs y;
    y.output = HostView<double, Batch, Time, ValueHead, Value>(o.data(),
                                                               {batch, time, value_heads, values});
    return y;
  };
  HostOutputs both = outputs(with);
  both.final_state = HostView<double, Sequence, ValueHead, Key, Value>(
      ht.data(), {batch, value_heads, keys, values});
  for_each_problem<double>(x.inputs(), options, both, oracle);
  for_each_problem<double>(x.inputs(), options, outputs(without), oracle);
  EXPECT_EQ(with, without);
}

TEST(SimpleGlaScatter, ReverseWritesEachTokenInItsPlace) {
  const Dense<double> x;
  const Options reversed{0.5, true};
  std::vector<double> o(static_cast<std::size_t>(batch * time * value_heads * values));
  HostOutputs y;
  y.output =
      HostView<double, Batch, Time, ValueHead, Value>(o.data(), {batch, time, value_heads, values});
  for_each_problem<double>(x.inputs(), reversed, y, oracle);
  // The last token is the first to be processed: it sees the decayed initial state and itself.
  const Problem<double> p = gather<double>(x.inputs(), options, place(x.inputs(), options, 1, 2));
  const Index last = time - 1;
  const Matrix<double> state =
      std::exp(p.log_decay[last]) * p.h0 + p.k.row(last).transpose() * p.v.row(last);
  for (Index v = 0; v < values; ++v)
    EXPECT_NEAR(o[static_cast<std::size_t>(((1 * time + last) * value_heads + 2) * values + v)],
                0.5 * p.q.row(last).dot(state.col(v)), 1e-14);
}

// ---- what is refused

std::string refusal(const HostInputs& x) {
  try {
    validate(x);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "accepted";
}

// One row of `time` tokens, cut by these offsets.
struct Packed {
  explicit Packed(std::vector<std::int64_t> entries, Index states = -1)
      : offsets(std::move(entries)) {
    const Index sequences = states >= 0 ? states : static_cast<Index>(offsets.size()) - 1;
    x = dense.inputs();
    x.query =
        HostView<const double, Batch, Time, Head, Key>(dense.query.data(), {1, time, heads, keys});
    x.key =
        HostView<const double, Batch, Time, Head, Key>(dense.key.data(), {1, time, heads, keys});
    x.value = HostView<const double, Batch, Time, ValueHead, Value>(dense.value.data(),
                                                                    {1, time, value_heads, values});
    x.log_decay = HostView<const double, Batch, Time, ValueHead>(dense.log_decay.data(),
                                                                 {1, time, value_heads});
    x.initial_state = HostView<const double, Sequence, ValueHead, Key, Value>(
        dense.state.data(), {sequences, value_heads, keys, values});
    x.offsets =
        HostView<const std::int64_t, Offset>(offsets.data(), {static_cast<Index>(offsets.size())});
  }
  Dense<double> dense;
  std::vector<std::int64_t> offsets;
  HostInputs x;
};

TEST(SimpleGlaValidate, TakesWhatIsLegal) {
  const Dense<float> x;
  EXPECT_EQ(refusal(x.inputs()), "accepted");
  for (const std::vector<std::int64_t>& offsets :
       {std::vector<std::int64_t>{0, 5}, {0, 2, 5}, {0, 0, 5}, {0, 5, 5}, {0, 0, 3, 3, 5, 5}})
    EXPECT_EQ(refusal(Packed(offsets).x), "accepted");
}

TEST(SimpleGlaValidate, RefusesOffsetsThatAreNone) {
  EXPECT_EQ(refusal(Packed({0, 3, 2, 5}).x),
            "simple_gla: cu_seqlens must not decrease: entry 2 is 2 after 3");
  EXPECT_EQ(refusal(Packed({0, 3, 4}).x),
            "simple_gla: cu_seqlens must end at the number of tokens, 5, got 4");
  EXPECT_EQ(refusal(Packed({0, 6}).x),
            "simple_gla: cu_seqlens must end at the number of tokens, 5, got 6");
  EXPECT_EQ(refusal(Packed({1, 5}).x), "simple_gla: cu_seqlens must start at 0, got 1");
  EXPECT_EQ(refusal(Packed({0, -1, 5}).x),
            "simple_gla: cu_seqlens must not decrease: entry 1 is -1 after 0");
  EXPECT_EQ(refusal(Packed({}, 0).x), "simple_gla: cu_seqlens needs at least one entry");
}

TEST(SimpleGlaValidate, RefusesPackedSequencesInSeveralRows) {
  const Dense<double> x;
  const std::vector<std::int64_t> offsets{0, 2, 5};
  HostInputs packed = x.inputs();
  packed.offsets = HostView<const std::int64_t, Offset>(offsets.data(), {3});
  EXPECT_EQ(refusal(packed), "simple_gla: packed sequences (cu_seqlens) need batch = 1, got 2");
}

TEST(SimpleGlaValidate, RefusesAStateForOtherSequences) {
  EXPECT_EQ(refusal(Packed({0, 2, 3, 5}, 1).x),
            "simple_gla: h0 must be [sequence, value_head, key, value] = [3, 4, 3, 6]");
  const Dense<double> x;
  HostInputs wrong = x.inputs();
  wrong.initial_state = HostView<const double, Sequence, ValueHead, Key, Value>(
      x.state.data(), {batch, value_heads, values, keys});
  EXPECT_EQ(refusal(wrong),
            "simple_gla: h0 must be [sequence, value_head, key, value] = [2, 4, 3, 6]");
}

TEST(SimpleGlaValidate, RefusesHeadsThatDoNotGroup) {
  const Dense<double> x;
  HostInputs wrong = x.inputs();
  wrong.value = HostView<const double, Batch, Time, ValueHead, Value>(x.value.data(),
                                                                      {batch, time, 3, values});
  EXPECT_EQ(refusal(wrong), "simple_gla: heads of v (3) must be a multiple of the heads of q (2)");
}

TEST(SimpleGlaValidate, RefusesTensorsOfOtherShapes) {
  const Dense<double> x;
  const auto refused = [&](auto&& change) {
    HostInputs wrong = x.inputs();
    change(wrong);
    return refusal(wrong);
  };
  EXPECT_EQ(refused([](HostInputs& in) { in.value = {}; }), "simple_gla: q, k and v are required");
  EXPECT_EQ(refused([&](HostInputs& in) {
              in.key = HostView<const double, Batch, Time, Head, Key>(x.key.data(),
                                                                      {batch, time, heads, 2});
            }),
            "simple_gla: k must have the shape of q");
  EXPECT_EQ(refused([&](HostInputs& in) {
              in.value = HostView<const double, Batch, Time, ValueHead, Value>(
                  x.value.data(), {batch, time - 1, value_heads, values});
            }),
            "simple_gla: v must have the batch and time of q");
  EXPECT_EQ(refused([&](HostInputs& in) {
              in.log_decay = HostView<const double, Batch, Time, ValueHead>(x.log_decay.data(),
                                                                            {batch, time, heads});
            }),
            "simple_gla: g must be [batch, time, value_head] = [2, 5, 4]");
  EXPECT_EQ(refused([&](HostInputs& in) {
              in.constant_log_decay = HostView<const double, ValueHead>(x.constant.data(), {heads});
            }),
            "simple_gla: g_gamma must have one value per value head, 4");
}

}  // namespace
}  // namespace groundstate::simple_gla
