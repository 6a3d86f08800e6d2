// The pairs of simple_gla that must agree in every bit, whatever the recipe: what a launcher, a
// layout, a neighbour or a thread may never change.
#include <array>
#include <numeric>

#include "reference/core/parallel.hpp"
#include "reference/simple_gla/chunked.hpp"
#include "tests/reference/simple_gla_example.hpp"

namespace groundstate::harness {
namespace {

constexpr std::array recipes{"exact", "single", "tensorcore-bf16"};

// Short sequences of a shape that fills neither a tile nor a register block.
std::string small(std::string_view rest) {
  return fmt::format("simple_gla H=1 K=24 V=20 dtype=fp32 state=random {}", rest);
}

// ---- tiles and steps of one pass

TEST(SimpleGlaBits, NumStepsChangesNone) {
  for (const char* const gates : {"g", "gamma", "both", "none"})
    for (const Index chunks : {1, 2, 3, 5, 6, 7, 9})
      for (const Index missing : {0, 5}) {
        const Example example(small(fmt::format("gate=medium gamma=-0.05 gate_inputs={} T={}",
                                                gates, chunks * 16 - missing)));
        for (const std::string_view recipe : recipes)
          for (const std::string_view tiles : {"", ",key_tile=16,value_tile=8"}) {
            const auto path = [&](Index steps) {
              return fmt::format("fused[chunk=16,num_steps={}{}]:{}", steps, tiles, recipe);
            };
            const auto one = example(path(1));
            for (Index steps = 2; steps <= 8; ++steps)
              ASSERT_TRUE(same_bits(example(path(steps)), one))
                  << example.line.canonical() << " " << path(steps);
          }
      }
}

TEST(SimpleGlaBits, PackedSequencesKeepNumStepsAndPeelTheTail) {
  const Example example(small("gate=medium lengths=16+80+0+97+3"));
  for (const std::string_view recipe : recipes) {
    const auto one = example(fmt::format("fused[chunk=16,num_steps=1]:{}", recipe));
    for (Index steps = 2; steps <= 8; ++steps)
      ASSERT_TRUE(
          same_bits(example(fmt::format("fused[chunk=16,num_steps={}]:{}", steps, recipe)), one))
          << recipe << " " << steps;
  }
}

TEST(SimpleGlaBits, ARunReportsTheStepsThatTheRuleLeaves) {
  const Example example(small("T=96"));  // 6 chunks of 16
  Tensors outputs = example.run("fused[chunk=16]");
  const auto report = [&](std::string_view variant) {
    return example.op().run(example.line, parse_path_variant(variant, example.op().path_keys()),
                            example.inputs, outputs);
  };
  EXPECT_EQ(report("fused[chunk=16,num_steps=4]"), "num_steps 4 -> 2 (6 chunks)");
  EXPECT_EQ(report("fused[chunk=16,num_steps=3]"), "");
  EXPECT_EQ(report("chunked[chunk=16]"), "");
}

TEST(SimpleGlaBits, ValueTilesChangeNone) {
  const Example example(small("T=53 gate=medium"));
  for (const std::string_view recipe : recipes)
    for (const Index key_tile : {0, 7, 8, 24}) {
      const auto path = [&](Index value_tile) {
        return fmt::format("fused[chunk=16,key_tile={},value_tile={}]:{}", key_tile, value_tile,
                           recipe);
      };
      const auto whole = example(path(0));
      for (const Index value_tile : {1, 3, 8, 16, 19, 20, 64})
        ASSERT_TRUE(same_bits(example(path(value_tile)), whole)) << path(value_tile);
    }
}

TEST(SimpleGlaBits, OnePassEqualsTwoPassesWhereAllKeysAreInOneTile) {
  for (const char* const gate : {"open", "medium", "hard_reset", "growth"}) {
    const Example example(small(fmt::format("T=53 gate={}", gate)));
    for (const std::string_view recipe : {"exact", "single", "tf32", "tensorcore-bf16",
                                          "tensorcore-fp16", "tensorcore-bf16-state"}) {
      const auto two = example(fmt::format("chunked[chunk=16]:{}", recipe));
      for (const std::string_view keys : {"", ",key_tile=24", ",key_tile=64", ",value_tile=6"})
        ASSERT_TRUE(same_bits(example(fmt::format("fused[chunk=16{}]:{}", keys, recipe)), two))
            << gate << " " << recipe << keys;
      ASSERT_TRUE(same_bits(example(fmt::format("segmented[chunk=16,segments=1]:{}", recipe)), two))
          << gate << " " << recipe;
    }
  }
}

TEST(SimpleGlaBits, EveryDeclaredPairOfVariantsIsEqual) {
  const Example example("simple_gla H=2 HV=4 T=200 K=40 V=56 gate=medium state=random dtype=fp32");
  for (const EqualVariants& pair : example.op().equal_variants())
    EXPECT_TRUE(same_bits(example(pair.left), example(pair.right)))
        << pair.name << ": " << pair.left << " and " << pair.right;
}

// ---- what is computed beside it

TEST(SimpleGlaBits, APackedSequenceIsTheSequenceAlone) {
  std::string thousand = "1";
  for (Index i = 1; i < 1000; ++i) thousand += fmt::format("+{}", 1 + i * 7919 % 3);
  const auto each_alone = [](const std::string& line, const std::vector<std::string>& paths) {
    const Example packed(line);
    for (const std::string& path : paths) {
      const auto together = packed(path);
      std::vector<PairOutputs> alone;
      Index begin = 0;
      const std::vector<std::int64_t> lengths = packed.line.integers("lengths");
      for (std::size_t n = 0; n < lengths.size(); ++n) {
        const Example sequence = packed.without("cu_seqlens")
                                     .part("time", begin, lengths[n])
                                     .part("sequence", static_cast<Index>(n), 1);
        for (PairOutputs& pair : sequence(path)) alone.push_back(std::move(pair));
        begin += lengths[n];
      }
      ASSERT_TRUE(same_bits(together, alone)) << path << " " << line.substr(0, 200);
    }
  };
  for (const char* const rest :
       {"lengths=15", "lengths=0+0+16", "lengths=0+1+99+20", "lengths=25+24+50",
        "lengths=37+16+0+0", "lengths=20+13+7+24 gate=open", "lengths=20+13+0+24 reverse=yes",
        "lengths=33+31+16 gate_inputs=both gamma=-0.05"})
    each_alone(fmt::format("{} HV=2", small(rest)), every_variant());
  each_alone(
      "simple_gla H=1 K=4 V=4 gate=slow state=random dtype=fp32 lengths=" + thousand,
      {"recurrent", "chunked[chunk=16]", "fused[chunk=16]:single", "chunked:tensorcore-bf16"});
}

TEST(SimpleGlaBits, ABatchElementIsTheElementAlone) {
  const Example batch("simple_gla B=3 H=1 HV=2 T=37 K=24 V=20 gate=medium state=random dtype=fp32");
  for (const std::string& path : every_variant()) {
    const auto together = batch(path);
    std::vector<PairOutputs> alone;
    for (Index b = 0; b < 3; ++b)
      for (PairOutputs& pair : batch.part("batch", b, 1).part("sequence", b, 1)(path))
        alone.push_back(std::move(pair));
    ASSERT_TRUE(same_bits(together, alone)) << path;
  }
}

TEST(SimpleGlaBits, AHeadIsTheHeadAloneWithTheKeysOfItsGroup) {
  const Example all(
      "simple_gla B=2 H=2 HV=6 T=37 K=24 V=20 gate=mixed gate_inputs=both state=random "
      "dtype=fp32");
  for (const std::string& path : every_variant()) {
    const auto together = all(path);
    for (Index head = 0; head < 6; ++head) {
      const auto alone = all.part("value_head", head, 1).part("head", head / 3, 1)(path);
      for (std::size_t b = 0; b < 2; ++b)
        ASSERT_TRUE(same_bits(together[b * 6 + static_cast<std::size_t>(head)], alone[b]))
            << path << " head " << head << " of batch " << b;
    }
  }
}

TEST(SimpleGlaBits, ThreadsChangeNone) {
  const int before = threads();
  // One problem, whose columns are shared out, and several.
  for (const char* const line :
       {"simple_gla H=1 T=50 K=24 V=70 gate=medium state=random dtype=fp32",
        "simple_gla B=3 HV=4 T=40 K=24 V=20 gate=medium state=random dtype=fp32"}) {
    const Example example(line);
    for (const std::string& path : every_variant()) {
      set_threads(1);
      const auto one = example(path);
      const Tensors whole = example.run(path);
      for (const int count : {2, 3, 7}) {
        set_threads(count);
        EXPECT_TRUE(same_bits(example(path), one)) << path << " on " << count;
        EXPECT_TRUE(same_bits(example.run(path), whole)) << path << " on " << count;
      }
      set_threads(before);
      EXPECT_TRUE(same_bits(example.run(path), whole)) << path << ", run again";
    }
  }
}

// ---- where time is cut

// ht of the first call is h0 of the second; states are fp64, so that nothing is rounded in between.
TEST(SimpleGlaBits, ACallMayEndAtAnyChunkBoundary) {
  for (const std::string_view direction : {"no", "yes"}) {
    const Example whole(
        small(fmt::format("T=70 gate=medium state_dtype=fp64 reverse={}", direction)));
    for (const std::string& path : every_variant()) {
      const Index interval =
          whole.op().resume_interval(parse_path_variant(path, whole.op().path_keys()));
      if (interval == 0) continue;
      const auto together = whole(path);
      for (const Index done : interval == 1
                                  ? std::vector<Index>{1, 16, 33, 69}
                                  : std::vector<Index>{interval, 2 * interval, 4 * interval}) {
        const Index rest = 70 - done;
        const bool reverse = direction == "yes";
        const auto first = whole.part("time", reverse ? rest : 0, done)(path);
        const auto second =
            whole.part("time", reverse ? 0 : done, rest).with("h0", [&](Index i, double) {
              return first[0][1].data()[i];
            })(path);
        Matrix<double> o(70, 20);
        o.middleRows(reverse ? rest : 0, done) = first[0][0];
        o.middleRows(reverse ? 0 : done, rest) = second[0][0];
        ASSERT_TRUE(same_bits(o, together[0][0])) << path << " cut after " << done << ", o";
        ASSERT_TRUE(same_bits(second[0][1], together[0][1]))
            << path << " cut after " << done << ", ht";
      }
    }
  }
}

TEST(SimpleGlaBits, StepsOfAnyNumberOfTokensAreTheRecurrence) {
  const Example example(small("T=35 gate=medium HV=2"));
  for (const std::string_view recipe : {"exact", "single", "single-bf16-state"})
    for (const Index tokens : {1, 2, 3, 5, 8, 16, 34, 35, 64})
      EXPECT_TRUE(same_bits(example(fmt::format("step[tokens={}]:{}", tokens, recipe)),
                            example(fmt::format("recurrent:{}", recipe))))
          << tokens << " " << recipe;
}

TEST(SimpleGlaBits, ReverseIsTheForwardOfTheFlippedSequence) {
  const Index time = 37;
  const Example forward(small(fmt::format("T={} gate=medium gate_inputs=both", time)));
  Example backward(forward.line.with("reverse", "yes"));
  for (const char* const name : {"q", "k", "v", "g"}) {
    const Tensor& tensor = *find(forward.inputs, name);
    const Index row = tensor.elements() / time;
    std::vector<double> values;
    for_each_element(tensor, [&](Index, Index offset) { values.push_back(tensor.load(offset)); });
    backward = backward.with(name, [&](Index i, double) {
      return values[static_cast<std::size_t>((time - 1 - i / row) * row + i % row)];
    });
  }
  for (const std::string& path : every_variant()) {
    auto flipped = backward(path);
    flipped[0][0] = flipped[0][0].colwise().reverse().eval();
    ASSERT_TRUE(same_bits(flipped, forward(path))) << path;
  }
}

// ---- memory

TEST(SimpleGlaBits, TheStorageOrderOfStatesChangesNone) {
  const Example kv("simple_gla HV=4 T=37 K=24 V=20 gate=medium state=random dtype=fp32");
  const Example vk(kv.line.with("state_layout", "vk"));
  ASSERT_NE(find(kv.inputs, "h0")->axes()[3].stride, find(vk.inputs, "h0")->axes()[3].stride);
  for (const std::string& path : every_variant())
    ASSERT_TRUE(same_bits(vk.run(path), kv.run(path))) << path;
}

TEST(SimpleGlaBits, NothingIsReadFromOutputsAndEveryElementIsWritten) {
  for (const char* const line :
       {"simple_gla B=2 HV=4 T=37 K=24 V=20 gate=medium state=random dtype=fp32",
        "simple_gla T=37 K=24 V=20 gate=hard_reset dtype=bf16", "simple_gla T=0 K=8 V=8 state=none",
        "simple_gla T=0 K=8 V=8 state=random", "simple_gla T=1 K=8 V=8",
        "simple_gla lengths=0+17+0+0 K=8 V=8",
        "simple_gla lengths=20+0+13 K=24 V=20 state=random reverse=yes"}) {
    const Example example(line);
    for (const std::string& path : every_variant()) {
      const Tensors zeroed = example.run(path, 0);
      for (const double filler : {std::numeric_limits<double>::quiet_NaN(),
                                  std::numeric_limits<double>::infinity(), 3e38})
        ASSERT_TRUE(same_bits(example.run(path, filler), zeroed))
            << line << " " << path << " " << filler;
    }
  }
}

// ---- inputs that mean the same

TEST(SimpleGlaBits, AnOpenGateIsNoGateAndAZeroStateIsNoState) {
  const auto with = [](std::string_view rest) {
    return Example(fmt::format("simple_gla H=1 T=37 K=24 V=20 dtype=fp32 {}", rest));
  };
  const Example plain = with("gate_inputs=none state=zero");
  for (const std::string& path : every_variant()) {
    const auto expected = plain(path);
    for (const char* const rest :
         {"gate=open state=zero", "gate=denormal state=zero", "gate_inputs=none",
          "gate_inputs=gamma gamma=lightning", "gate_inputs=gamma gamma=0"})
      ASSERT_TRUE(same_bits(with(rest)(path), expected)) << path << " " << rest;
  }
}

TEST(SimpleGlaBits, AConstantGateIsTheSameGateAtEveryToken) {
  const Example constant(small("T=37 gate_inputs=gamma gamma=-0.3"));
  const Example per_token =
      Example(small("T=37 gate=open")).with("g", [](Index, double) { return -0.3; });
  for (const std::string& path : every_variant())
    ASSERT_TRUE(same_bits(constant(path), per_token(path))) << path;
}

}  // namespace
}  // namespace groundstate::harness
