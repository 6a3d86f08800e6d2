// The backward of simple_gla on whole tensors: sequences, heads, groups, reversal, layouts and
// storage types are bookkeeping that changes no bit, and inputs that contradict each other are
// refused by name.
#include "tests/reference/simple_gla_backward_tensors.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

namespace groundstate::simple_gla {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// ---- sequences

TEST(SimpleGlaBackwardTensors, APackedSequenceIsTheSequenceAlone) {
  for (const std::vector<Index>& lengths :
       {std::vector<Index>{0, 5, 17, 0, 1, 16}, {33}, {0}, {2, 0, 0}})
    for (const bool reverse : {false, true}) {
      Index time = 0;
      for (const Index length : lengths) time += length;
      const Case<double> packed(Sizes{1, time, 2, 4, lengths});
      const Options o{0.5, reverse};
      for (const Path& path : paths()) {
        const Output<double> together = run(path, packed, o);
        Output<double> joined(packed.n);
        for (auto& [name, tensor] : joined.tensors())
          if (tensor != &joined.dg_gamma) tensor->clear();
        for (Index s = 0; s < packed.n.sequences(); ++s) {
          Output<double> alone = run(path, packed.alone(s), o);
          for (std::size_t i = 0; i < 6; ++i) {
            std::vector<double>&own = *alone.tensors()[i].second,
            &all = *joined.tensors()[i].second;
            if (i != 4) all.insert(all.end(), own.begin(), own.end());
          }
        }
        joined.dg_gamma = together.dg_gamma;
        EXPECT_EQ(differing(together, joined), "") << path.name << " of " << lengths.size();
      }
    }
}

TEST(SimpleGlaBackwardTensors, DgOfTheConstantGateIsSummedOverTheSequences) {
  const Case<double> packed(Sizes{1, 39, 2, 4, {0, 5, 17, 0, 1, 16}});
  const Case<double> batch(Sizes{3, 20, 2, 4});
  for (const Path& path : paths()) {
    const bool exact = path.name.ends_with("exact");  // else the sum is rounded to float
    const auto matches = [&](const std::vector<double>& whole, const std::vector<double>& sum) {
      for (std::size_t i = 0; i < sum.size(); ++i)
        if (exact ? whole[i] != sum[i]
                  : std::abs(whole[i] - sum[i]) > 1e-6 * (1 + std::abs(sum[i])))
          return false;
      return true;
    };
    std::vector<double> sum(4);
    for (Index s = 0; s < packed.n.sequences(); ++s) {
      const std::vector<double> own = run(path, packed.alone(s)).dg_gamma;
      for (std::size_t i = 0; i < 4; ++i) sum[i] += own[i];
    }
    EXPECT_TRUE(matches(run(path, packed).dg_gamma, sum)) << path.name;
    // And over all tokens: dg of the same case.
    const Output<double> r = run(path, batch);
    std::vector<double> tokens(4);
    for (std::size_t i = 0; i < r.dg.size(); ++i) tokens[i % 4] += r.dg[i];
    for (std::size_t i = 0; i < 4; ++i)
      EXPECT_NEAR(r.dg_gamma[i], tokens[i], exact ? 1e-12 : 1e-4) << path.name;
  }
}

TEST(SimpleGlaBackwardTensors, AnEmptySequencePassesTheGradientOfItsState) {
  const Case<float> c(Sizes{1, 22, 2, 4, {0, 5, 17, 0}}), all_empty(Sizes{2, 0, 2, 4});
  const auto row = static_cast<std::ptrdiff_t>(c.dht.size() / 4);
  for (const Path& path : paths()) {
    const Output<float> r = run(path, c);
    for (const std::ptrdiff_t sequence : {0, 3})
      EXPECT_TRUE(std::equal(r.dh0.begin() + sequence * row, r.dh0.begin() + (sequence + 1) * row,
                             c.dht.begin() + sequence * row))
          << path.name << " sequence " << sequence;
    EXPECT_EQ(run(path, all_empty).dh0, all_empty.dht) << path.name;
    EXPECT_EQ(run(path, all_empty).dg_gamma, std::vector<float>(4)) << path.name;
  }
}

TEST(SimpleGlaBackwardTensors, ReverseIsTheFlippedSequence) {
  const Case<double> c(Sizes{2, 37, 2, 4});
  const auto flip = [&](std::vector<double>& x) {
    const std::size_t row = x.size() / (2 * 37);
    std::vector<double> old = x;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::size_t b = i / (37 * row), t = i / row % 37;
      x[i] = old[(b * 37 + 36 - t) * row + i % row];
    }
  };
  Case<double> flipped = c;
  for (std::vector<double>* x : {&flipped.q, &flipped.k, &flipped.v, &flipped.g, &flipped.d_o})
    flip(*x);
  for (const Path& path : paths()) {
    Output<double> r = run(path, flipped, {0.5, true});
    for (std::vector<double>* x : {&r.dq, &r.dk, &r.dv, &r.dg}) flip(*x);
    EXPECT_EQ(differing(r, run(path, c)), "") << path.name;
  }
}

// ---- heads

TEST(SimpleGlaBackwardTensors, DqAndDkAreSumsOverTheValueHeadsOfAHead) {
  const Index time = 21;
  const Case<double> grouped(Sizes{2, time, 2, 6});
  Case<double> repeated(Sizes{2, time, 6, 6});
  const std::size_t keys = static_cast<std::size_t>(grouped.n.keys);
  for (std::size_t i = 0; i < repeated.q.size(); ++i) {
    const std::size_t token = i / (6 * keys), head = i / keys % 6 / 3;
    repeated.q[i] = grouped.q[(token * 2 + head) * keys + i % keys];
    repeated.k[i] = grouped.k[(token * 2 + head) * keys + i % keys];
  }
  for (const Path& path : paths()) {
    const bool exact = path.name.ends_with("exact");
    const Output<double> r = run(path, grouped), each = run(path, repeated);
    EXPECT_TRUE(same_bits(r.dv, each.dv) && same_bits(r.dg, each.dg) &&
                same_bits(r.dg_gamma, each.dg_gamma) && same_bits(r.dh0, each.dh0))
        << path.name;
    for (std::size_t i = 0; i < r.dq.size(); ++i) {
      const std::size_t first = (i / keys * 3) * keys + i % keys;
      const auto sum = [&](const std::vector<double>& x) {
        return exact ? (x[first] + x[first + keys]) + x[first + 2 * keys]
                     : (static_cast<float>(x[first]) + static_cast<float>(x[first + keys])) +
                           static_cast<float>(x[first + 2 * keys]);
      };
      ASSERT_EQ(r.dq[i], sum(each.dq)) << path.name;
      ASSERT_EQ(r.dk[i], sum(each.dk)) << path.name;
    }
  }
}

// ---- what a bad element reaches

TEST(SimpleGlaBackwardTensors, ABadSequenceLeavesItsNeighboursAlone) {
  const std::vector<Index> lengths{20, 13, 0, 24};
  for (const bool reverse : {false, true})
    for (const double bad : {nan, infinity}) {
      const Case<double> good(Sizes{1, 57, 1, 2, lengths});
      Case<double> broken = good;
      for (std::vector<double>* x : {&broken.q, &broken.k, &broken.v, &broken.g, &broken.d_o}) {
        const auto row = static_cast<std::ptrdiff_t>(x->size() / 57);
        std::fill(x->begin() + 20 * row, x->begin() + 33 * row, bad);
      }
      for (std::vector<double>* x : {&broken.h0, &broken.dht}) {
        const auto row = static_cast<std::ptrdiff_t>(x->size() / 4);
        std::fill(x->begin() + row, x->begin() + 2 * row, bad);
      }
      for (const Path& path : paths()) {
        Output<double> r = run(path, broken, {0.5, reverse}),
                       expected = run(path, good, {0.5, reverse});
        EXPECT_TRUE(std::isnan(r.dg_gamma[0]) && std::isnan(r.dg_gamma[1])) << path.name;
        expected.dg_gamma = r.dg_gamma;  // the sum over the sequences
        for (std::size_t i = 0; i < 6; ++i) {
          std::vector<double>&own = *r.tensors()[i].second, &other = *expected.tensors()[i].second;
          const auto row = static_cast<std::ptrdiff_t>(other.size() / (i == 5 ? 4 : 57));
          const auto begin = (i == 5 ? 1 : 20) * row, end = (i == 5 ? 2 : 33) * row;
          if (i != 4) std::copy(own.begin() + begin, own.begin() + end, other.begin() + begin);
        }
        EXPECT_EQ(differing(r, expected), "") << path.name;
      }
    }
}

TEST(SimpleGlaBackwardTensors, ABadValueHeadReachesItsGroupAlone) {
  const Case<double> good(Sizes{1, 37, 2, 4});  // value heads 0 and 1 share head 0
  const std::size_t values = 11, states = 5 * 11;
  for (const double bad : {nan, infinity}) {
    Case<double> broken = good;
    for (std::size_t i = 0; i < broken.v.size(); ++i)
      if (i / values % 4 == 1) broken.v[i] = broken.d_o[i] = bad;
    for (std::size_t i = 0; i < broken.g.size(); ++i)
      if (i % 4 == 1) broken.g[i] = bad;
    for (std::size_t i = 0; i < broken.h0.size(); ++i)
      if (i / states == 1) broken.h0[i] = broken.dht[i] = bad;
    for (const Path& path : paths()) {
      const Output<double> r = run(path, broken);
      Output<double> expected = run(path, good);
      for (std::size_t i = 0; i < r.dq.size(); ++i)
        if (i / 5 % 2 == 0) expected.dq[i] = r.dq[i], expected.dk[i] = r.dk[i];
      for (std::size_t i = 0; i < r.dv.size(); ++i)
        if (i / values % 4 == 1) expected.dv[i] = r.dv[i];
      for (std::size_t i = 0; i < r.dg.size(); ++i)
        if (i % 4 == 1) expected.dg[i] = r.dg[i];
      for (std::size_t i = 0; i < r.dh0.size(); ++i)
        if (i / states == 1) expected.dh0[i] = r.dh0[i];
      expected.dg_gamma[1] = r.dg_gamma[1];
      EXPECT_EQ(differing(r, expected), "") << path.name;
      EXPECT_TRUE(std::isnan(r.dg_gamma[1])) << path.name;
    }
  }
}

// ---- memory

TEST(SimpleGlaBackwardTensors, NothingIsReadFromOutputsAndEveryElementIsWritten) {
  for (const Sizes& sizes : {Sizes{2, 37, 2, 4}, Sizes{1, 1, 1, 1}, Sizes{2, 0, 1, 1},
                             Sizes{1, 22, 1, 2, {0, 5, 17, 0}}, Sizes{1, 0, 1, 2, {0, 0}}}) {
    const Case<double> c(sizes);
    for (const Path& path : paths())
      for (const double filler : {nan, infinity, 3e38})
        EXPECT_EQ(differing(run(path, c, options, filler), run(path, c, options, 0)), "")
            << path.name << " T=" << sizes.time << " over " << filler;
  }
}

TEST(SimpleGlaBackwardTensors, TheStorageOrderOfStatesChangesNone) {
  const Case<double> c(Sizes{2, 37, 2, 4});
  const Index states = 5 * 11;
  const auto transposed = [&](const std::vector<double>& x, Index rows) {
    const Index columns = states / rows;
    std::vector<double> result(x.size());
    for (Index i = 0; i < static_cast<Index>(x.size()); ++i) {
      const Index row = i % states / columns, column = i % columns;
      result[static_cast<std::size_t>(i / states * states + column * rows + row)] =
          x[static_cast<std::size_t>(i)];
    }
    return result;
  };
  const std::array<Index, 4> extents{2, 4, 5, 11}, strides{4 * states, states, 1, 5};
  const std::vector<double> h0 = transposed(c.h0, 5), dht = transposed(c.dht, 5);
  using States = HostView<const double, Sequence, ValueHead, Key, Value>;
  HostBackwardInputs x = c.inputs();
  x.initial_state = States(h0.data(), extents, strides);
  x.final_state_gradient = States(dht.data(), extents, strides);
  for (const Path& path : paths()) {
    Output<double> r(c.n);
    HostBackwardOutputs y = r.views();
    y.initial_state =
        HostView<double, Sequence, ValueHead, Key, Value>(r.dh0.data(), extents, strides);
    path.run(x, options, y);
    r.dh0 = transposed(r.dh0, 11);
    EXPECT_EQ(differing(r, run(path, c)), "") << path.name;
  }
}

template <class T>
class SimpleGlaBackwardStorage : public testing::Test {};
using StorageTypes = testing::Types<float, bf16, fp16>;
TYPED_TEST_SUITE(SimpleGlaBackwardStorage, StorageTypes);

TYPED_TEST(SimpleGlaBackwardStorage, IsWidenedExactlyAndRoundedOnce) {
  const Case<TypeParam> narrow(Sizes{2, 37, 2, 4});
  Case<double> wide(narrow.n);
  for (const auto& [from, to] : {std::pair{&narrow.q, &wide.q},
                                 {&narrow.k, &wide.k},
                                 {&narrow.v, &wide.v},
                                 {&narrow.g, &wide.g},
                                 {&narrow.g_gamma, &wide.g_gamma},
                                 {&narrow.h0, &wide.h0},
                                 {&narrow.d_o, &wide.d_o},
                                 {&narrow.dht, &wide.dht}})
    for (std::size_t i = 0; i < to->size(); ++i) (*to)[i] = static_cast<double>((*from)[i]);
  for (const Path& path : paths()) {
    Output<TypeParam> r = run(path, narrow);
    Output<double> expected = run(path, wide);
    for (std::size_t i = 0; i < 6; ++i) {
      std::vector<TypeParam> rounded;
      for (const double x : *expected.tensors()[i].second) rounded.push_back(TypeParam(x));
      EXPECT_TRUE(same_bits(*r.tensors()[i].second, rounded))
          << r.tensors()[i].first << " " << path.name;
    }
  }
}

TEST(SimpleGlaBackwardTensors, HaveTheSameBitsForAnyNumberOfThreads) {
  Sizes sizes{2, 60, 2, 4};
  sizes.keys = sizes.values = 50;  // worth sharing
  const Case<double> c(sizes);
  const int before = threads();
  for (const Path& path : paths()) {
    set_threads(1);
    const Output<double> one = run(path, c);
    set_threads(3);
    EXPECT_EQ(differing(run(path, c), one), "") << path.name;
    set_threads(before);
  }
}

// ---- what may be absent and what is refused

TEST(SimpleGlaBackwardTensors, AbsentStatesAndGatesAreZeroAndAbsentOutputsAreSkipped) {
  Case<double> c(Sizes{2, 37, 2, 4});
  HostBackwardInputs x = c.inputs();
  x.log_decay = {};
  x.constant_log_decay = {};
  x.initial_state = {};
  x.final_state_gradient = {};
  for (std::vector<double>* zero : {&c.g, &c.g_gamma, &c.h0, &c.dht})
    std::fill(zero->begin(), zero->end(), 0);
  for (const Path& path : paths()) {
    const Output<double> expected = run(path, c);
    Output<double> r(c.n);
    path.run(x, options, r.views());
    EXPECT_EQ(differing(r, expected), "") << path.name;
    HostBackwardOutputs y = r.views();
    y.log_decay = {};
    y.constant_log_decay = {};
    y.initial_state = {};
    r.dg.clear(), r.dg_gamma.clear(), r.dh0.clear();
    path.run(x, options, y);
    EXPECT_EQ(differing(r, expected), " dg dg_gamma dh0") << path.name;
  }
}

TEST(SimpleGlaBackwardTensors, AreRefusedByName) {
  const auto message = [](auto change) -> std::string {
    const Case<double> c(Sizes{2, 3, 2, 4});
    Output<double> r(c.n);
    HostBackwardInputs x = c.inputs();
    HostBackwardOutputs y = r.views();
    change(x, y);
    try {
      for_each_problem<double>(x, options, y, [](const auto& p) { return backward<Exact>(p); });
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "accepted";
  };
  const std::array<Index, 4> tokens{2, 3, 4, 12}, keys{2, 3, 2, 6}, states{2, 4, 11, 5};
  double* const none = nullptr;
  EXPECT_EQ(message([](auto&, auto&) {}), "accepted");
  const std::string d_o = "simple_gla: do is required and must have the shape of v";
  EXPECT_EQ(message([](auto& x, auto&) { x.output_gradient = {}; }), d_o);
  EXPECT_EQ(message([&](auto& x, auto&) {
              x.output_gradient = HostView<double, Batch, Time, ValueHead, Value>(none, tokens);
            }),
            d_o);
  EXPECT_EQ(message([&](auto& x, auto&) {
              x.final_state_gradient =
                  HostView<double, Sequence, ValueHead, Key, Value>(none, states);
            }),
            "simple_gla: dht must be [sequence, value_head, key, value]");
  EXPECT_EQ(message([&](auto&, auto& y) {
              y.query = HostView<double, Batch, Time, Head, Key>(none, keys);
            }),
            "simple_gla: dq must have the shape of q");
  EXPECT_EQ(message([&](auto&, auto& y) { y.key = {}; }),
            "simple_gla: dk must have the shape of k");
  EXPECT_EQ(message([&](auto&, auto& y) {
              y.value = HostView<double, Batch, Time, ValueHead, Value>(none, tokens);
            }),
            "simple_gla: dv must have the shape of v");
  EXPECT_EQ(message([&](auto&, auto& y) {
              y.log_decay = HostView<double, Batch, Time, ValueHead>(none, {2, 3, 2});
            }),
            "simple_gla: dg must be [batch, time, value_head]");
  EXPECT_EQ(message([&](auto&, auto& y) {
              y.constant_log_decay = HostView<double, ValueHead>(none, {2});
            }),
            "simple_gla: dg_gamma must have one value per value head");
  EXPECT_EQ(message([&](auto&, auto& y) {
              y.initial_state = HostView<double, Sequence, ValueHead, Key, Value>(none, states);
            }),
            "simple_gla: dh0 must be [sequence, value_head, key, value]");
}

}  // namespace
}  // namespace groundstate::simple_gla
