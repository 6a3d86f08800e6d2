// Stage bisection: honest intermediates agree, and of wrong ones the message alone says which stage
// is the first and where.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "harness/case/error.hpp"
#include "harness/case/sweep.hpp"
#include "harness/fixture/read.hpp"
#include "harness/fixture/write.hpp"
#include "harness/operators/registry.hpp"
#include "harness/operators/stage_axes.hpp"
#include "harness/run/compare_case.hpp"
#include "harness/run/judge_stages.hpp"
#include "harness/run/outputs.hpp"
#include "harness/run/report_message.hpp"
#include "harness/run/run_case.hpp"
#include "reference/core/scalar.hpp"
#include "tests/harness/expect_contains.hpp"
#include "tests/harness/program.hpp"
#include "tests/harness/temporary_folder.hpp"

namespace groundstate::harness {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// ---- honest

// Every case of the lines by every path; how many stages were judged.
Index honest_stages(std::string_view line, const std::vector<std::string>& paths) {
  RunOptions options;
  options.paths = paths;
  options.equalities = false;
  options.stages = true;
  Index stages = 0;
  for (const Case& c : expand(line, grammars())) {
    const CaseReport report = run_case(operator_of(c), {c, {}, {}, {}}, options);
    for (const Result& result : report.results) {
      if (!result.stages) {
        ADD_FAILURE() << result.reproducer << ": " << result.note;
        continue;
      }
      EXPECT_EQ(result.stages->first_diverging(), nullptr) << result.reproducer << "\n"
                                                           << result.stages->sentence();
      stages += static_cast<Index>(result.stages->verdict.tensors.size());
    }
  }
  return stages;
}

const std::vector<std::string> bf16_paths{
    "chunked:tensorcore-bf16", "chunked[chunk=16]:tensorcore-bf16-state",
    "segmented:tensorcore-bf16", "chunked:single", "chunked:tf32"};
// A running sum makes NaN of gates of -infinity.
const std::vector<std::string> running_sums{"chunked:fla-chunk-bf16",
                                            "fused[chunk=32]:tpu-fused-bf16",
                                            "fused[gate_sum=plain]:tensorcore-bf16"};

TEST(Stages, HonestForwardsNeverDivergeInHardRegimes) {
  const std::string line = "simple_gla T=150 H=2 K=16 V=24 state=random gate=";
  const std::string finite =
      "open,slow,normal,fast,dense,reset,underflow,growth,mixed_sign,chunk_end";
  EXPECT_EQ(honest_stages(line + finite + ",hard_reset,closed", bf16_paths), 12 * 5 * 3);
  EXPECT_EQ(honest_stages(line + finite, running_sums), 10 * 3 * 3);
  EXPECT_EQ(honest_stages(line + finite + " dtype=fp16", {"chunked:tensorcore-fp16"}), 10 * 3);
  EXPECT_EQ(honest_stages(line + finite + ",hard_reset,closed dtype=fp32",
                          {"chunked", "chunked[chunk=128]:single"}),
            12 * 2 * 3);
  EXPECT_EQ(honest_stages(line + finite + " dtype=fp64", {"chunked"}), 10 * 3);
}

TEST(Stages, HonestGradientsNeverDivergeInHardRegimes) {
  const std::string line = "simple_gla.backward T=150 H=2 K=16 V=24 state=random dht=random gate=";
  const std::string finite = "open,slow,normal,fast,reset,underflow,growth,mixed_sign";
  EXPECT_EQ(honest_stages(line + finite + ",hard_reset",
                          {"chunked:tensorcore-bf16", "chunked[dh_dtype=operand]:tensorcore-bf16",
                           "chunked[chunk=16]:single", "segmented:tensorcore-bf16"}),
            9 * 4 * 5);
  EXPECT_EQ(honest_stages(line + finite, running_sums), 8 * 3 * 5);
}

TEST(Stages, HonestPathsNeverDivergeOnPackedReversedGroupedAndHardValues) {
  for (const std::string line :
       {"simple_gla lengths=5+0+130+0+64 H=2 HV=4 K=16 V=24 state=random",
        "simple_gla B=2 T=0,1,64,65 H=2 K=8 V=8 state=random",
        "simple_gla T=100 H=2 K=16 V=24 reverse=yes gate_inputs=both gamma=-0.05",
        "simple_gla T=100 H=2 K=64 V=24 values=positive,huge,tiny keys=positive",
        "simple_gla T=100 H=2 K=16 V=24 gate_inputs=none",
        "simple_gla T=100 H=2 K=16 V=24 values=integer keys=integer",
        "simple_gla T=400 H=1 K=16 V=24 gate=slow values=positive keys=positive"})
    honest_stages(line, bf16_paths);
  for (const std::string line :
       {"simple_gla.backward lengths=5+0+130+0+64 H=2 HV=4 K=16 V=24 state=random dht=random",
        "simple_gla.backward T=100 H=2 K=16 V=24 reverse=yes gate_inputs=both gamma=-0.05",
        "simple_gla.backward T=0,1,64 H=2 K=8 V=8 do=zero dht=random"})
    honest_stages(line, {"chunked:tensorcore-bf16", "segmented:single"});
}

// ---- wrong: the stages of an honest path in a file, with one fault

class WrongStages : public TemporaryFolder {
 protected:
  using Fault = std::function<void(Tensors&)>;

  // A file as somebody fills it: outputs of the path, its stages with the fault, and NaN elsewhere.
  std::string file(const std::string& line, const std::string& variant, const Fault& fault) {
    const Case c = parse_case(line, grammars());
    const Operator& op = operator_of(c);
    const PathVariant v = checked_variant(op, variant);
    const Tensors inputs = generate(op.inputs(c));
    FixtureWriter writer(path("case.h5"));
    writer.begin_case("/", c.canonical(), c.operator_name());
    for (const Tensor& tensor : inputs) writer.write("inputs", tensor);
    Tensors outputs;
    for (const TensorSpec& spec : op.outputs(c)) outputs.push_back(spec.allocate());
    op.run(c, v, inputs, outputs);
    for (const Tensor& tensor : outputs) writer.write("outputs", tensor);
    Tensors stages = own_stages(op, c, v, inputs).tensors;
    fault(stages);
    for (const Tensor& tensor : stages) writer.write("stages", tensor);
    writer.attribute("stages", "chunk", std::int64_t{v.integer("chunk", op.path_keys())});
    writer.commit();
    return path("case.h5");
  }
  Result compare(const std::string& name, const std::string& form,
                 const std::string& recipe = "") const {
    CompareOptions options;
    options.file = name;
    if (!form.empty()) options.form = form;
    if (!recipe.empty()) options.recipe = recipe;
    const std::vector<FixtureCase> cases = read_fixture(name);
    return compare_case(check_fixture(cases.front(), options), options).report.results.at(0);
  }
  // What the message says.
  std::string message(const std::string& line, const std::string& variant, const Fault& fault) {
    const PathVariant v = checked_variant(operator_of(parse_case(line, grammars())), variant);
    PathVariant form = v;
    form.recipe.clear();
    const auto keys = operator_of(parse_case(line, grammars())).path_keys();
    const Result result = compare(file(line, variant, fault), form.text(keys), recipe_of(v));
    EXPECT_EQ(result.status, Status::failed);
    EXPECT_EQ(result.verdict.status, Status::passed) << "the outputs are right";
    return result.stages ? result.stages->sentence() : "";
  }
  void expect_first(const std::string& text, const std::string& stage, const std::string& at) {
    expect_contains(text, fmt::format("first diverging stage (chunks of 32): {}: ", stage));
    expect_contains(text, at);
  }

  static constexpr const char* line =
      "simple_gla B=2 T=150 H=2 K=16 V=24 dtype=fp32 gate=normal state=random";
  static constexpr const char* backward =
      "simple_gla.backward B=2 T=150 H=2 K=16 V=24 dtype=fp32 gate=medium state=random dht=random";
  static constexpr const char* variant = "chunked[chunk=32]:single";
};

// An element, by its place along the axes.
void edit(Tensors& stages, std::string_view name, const std::vector<Index>& place,
          const std::function<double(double)>& change) {
  Tensor& tensor = *find(stages, name);
  Index offset = 0;
  for (std::size_t i = 0; i < place.size(); ++i) offset += place[i] * tensor.axes()[i].stride;
  tensor.store(offset, change(tensor.load(offset)));
}
double value(const Tensors& stages, std::string_view name, const std::vector<Index>& place) {
  const Tensor& tensor = *find(stages, name);
  Index offset = 0;
  for (std::size_t i = 0; i < place.size(); ++i) offset += place[i] * tensor.axes()[i].stride;
  return tensor.load(offset);
}

TEST_F(WrongStages, HonestOnesAreSaidToAgree) {
  const Result result = compare(file(line, variant, [](Tensors&) {}), "chunked[chunk=32]");
  EXPECT_EQ(result.status, Status::passed);
  EXPECT_EQ(result.stages->sentence(),
            "no stage diverges (chunks of 32); compared: cumulative_decay, chunk_states, scores");
}

TEST_F(WrongStages, ACumulativeDecayThatLacksTheLastGateOfAChunkIsNamed) {
  const std::string text = message(line, variant, [](Tensors& stages) {
    const double before = value(stages, "cumulative_decay", {1, 62, 1});
    edit(stages, "cumulative_decay", {1, 63, 1}, [&](double) { return before; });
  });
  expect_first(text, "cumulative_decay", "first at b=1 t=63 h=1: got ");
  expect_contains(text, "agreeing: chunk_states, scores");
}

TEST_F(WrongStages, AScoreAboveTheDiagonalIsNamed) {
  const std::string text = message(line, variant, [](Tensors& stages) {
    edit(stages, "scores", {0, 40, 1, 9}, [](double) { return 1e-3; });
  });
  expect_first(text, "scores", "first at b=0 t=40 h=1 j=9: got ");
  expect_contains(text, "expected 0x0p+0 (0)");
}

TEST_F(WrongStages, AScoreWithTheGateOfItsNeighbourIsNamed) {
  const std::string text = message(line, variant, [](Tensors& stages) {
    const double wrong = value(stages, "cumulative_decay", {0, 70, 0}) -
                         value(stages, "cumulative_decay", {0, 69, 0});
    edit(stages, "scores", {0, 70, 0, 3}, [&](double x) { return x / std::exp(wrong); });
  });
  expect_first(text, "scores", "first at b=0 t=70 h=0 j=3: got ");
}

TEST_F(WrongStages, AStateOfOneChunkRoundedToBf16IsNamed) {
  const std::string text = message(line, variant, [](Tensors& stages) {
    for (Index k = 0; k < 16; ++k)
      for (Index v = 0; v < 24; ++v)
        edit(stages, "chunk_states", {1, 3, 0, k, v},
             [](double x) { return round_to<Bfloat16Format>(static_cast<float>(x)); });
  });
  expect_first(text, "chunk_states", "first at b=1 c=3 h=0 k=0 v=0: got ");
  expect_contains(text, "only c=3");
}

TEST_F(WrongStages, AMissingDecayInTheStateIsNamedAndSoIsWhatComesFirst) {
  const std::string text = message(line, variant, [](Tensors& stages) {
    const double decay = std::exp(value(stages, "cumulative_decay", {0, 63, 1}));
    for (Index k = 0; k < 16; ++k)
      for (Index v = 0; v < 24; ++v) {
        const double before = value(stages, "chunk_states", {0, 1, 1, k, v});
        edit(stages, "chunk_states", {0, 2, 1, k, v},
             [&](double x) { return x + (1 - decay) * before; });
      }
    edit(stages, "scores", {0, 0, 0, 0}, [](double x) { return 2 * x; });
  });
  expect_first(text, "chunk_states", "first at b=0 c=2 h=1 k=0 v=0: got ");
  expect_contains(text, "only c=2");
}

TEST_F(WrongStages, AStateGradientOfTheChunkBehindIsNamed) {
  const std::string text = message(backward, variant, [](Tensors& stages) {
    for (Index k = 0; k < 16; ++k)
      for (Index v = 0; v < 24; ++v) {
        const double stale = value(stages, "dh_states", {0, 2, 1, k, v});
        edit(stages, "dh_states", {0, 1, 1, k, v}, [&](double) { return stale; });
      }
  });
  expect_first(text, "dh_states", "first at b=0 c=1 h=1 k=0 v=0: got ");
  expect_contains(text, "agreeing: cumulative_decay, chunk_states, scores, dscores");
}

TEST_F(WrongStages, ADscoreWithoutTheScaleIsNamed) {
  const std::string text = message(backward, variant, [](Tensors& stages) {
    edit(stages, "dscores", {1, 149, 0, 2}, [](double x) { return 4 * x; });
  });
  expect_first(text, "dscores", "first at b=1 t=149 h=0 j=2: got ");
}

// Operands of 16 bits hide what fp32 shows, and a wrong one does not hide behind them.
TEST_F(WrongStages, AreNamedUnderTensorCoresToo) {
  const std::string text =
      message("simple_gla B=2 T=150 H=2 K=16 V=24 gate=medium state=random",
              "chunked[chunk=32]:tensorcore-bf16", [](Tensors& stages) {
                edit(stages, "scores", {1, 33, 1, 1}, [](double x) { return 1.2 * x; });
              });
  expect_first(text, "scores", "first at b=1 t=33 h=1 j=1: got ");
}

TEST_F(WrongStages, ChunksOfPackedSequencesCountInTheirOwn) {
  const std::string text =
      message("simple_gla lengths=40+0+70 H=1 HV=2 K=16 V=24 dtype=fp32 state=random", variant,
              [](Tensors& stages) {
                // The first two chunks are of the first sequence.
                edit(stages, "chunk_states", {0, 4, 1, 5, 7}, [](double x) { return x + 1; });
              });
  expect_first(text, "chunk_states", "first at n=2 c=2 h=1 k=5 v=7: got ");
}

// ---- what is given

TEST_F(WrongStages, AStageThatNobodyWroteIsNotComparedAndIsSaidToBeMissing) {
  const Result result = compare(
      file(line, variant,
           [](Tensors& stages) {
             Tensor& scores = *find(stages, "scores");
             for_each_element(scores, [&](Index, Index offset) { scores.store(offset, nan); });
           }),
      "chunked[chunk=32]");
  EXPECT_EQ(result.status, Status::passed);
  expect_contains(result.stages->sentence(),
                  "compared: cumulative_decay, chunk_states; not given: scores");
}

TEST_F(WrongStages, AStageThatIsPartlyWrittenFails) {
  const std::string text = message(line, variant, [](Tensors& stages) {
    edit(stages, "scores", {0, 10, 0, 20}, [](double) { return nan; });
  });
  expect_first(text, "scores", "first at b=0 t=10 h=0 j=20: got NaN, expected 0x0p+0 (0)");
}

TEST_F(WrongStages, ThatNobodyWroteAtAllAreSaidToBeMissing) {
  const Result result = compare(
      file(line, variant,
           [](Tensors& stages) {
             for (Tensor& tensor : stages)
               for_each_element(tensor, [&](Index, Index offset) { tensor.store(offset, nan); });
           }),
      "chunked[chunk=32]");
  EXPECT_EQ(result.status, Status::passed);
  expect_contains(result.stages->sentence(), "no stages: nothing was written to any of stages/");
}

TEST_F(WrongStages, WithoutADeclaredFormTheChunkOfTheFileCounts) {
  const Result result =
      compare(file(line, variant,
                   [](Tensors& stages) {
                     edit(stages, "scores", {0, 40, 1, 9}, [](double) { return 1e-3; });
                   }),
              "");
  EXPECT_EQ(result.status, Status::failed);
  expect_first(result.stages->sentence(), "scores", "first at b=0 t=40 h=1 j=9: got ");
}

TEST_F(WrongStages, AFormOfOtherChunksOrOfNoneIsRefused) {
  const std::string name = file(line, variant, [](Tensors&) {});
  const auto refused = [&](const std::string& form) -> std::string {
    try {
      compare(name, form);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  };
  expect_contains(refused("chunked"), "they are of chunks of 32 (attribute chunk)");
  expect_contains(refused("recurrent"), "the form recurrent has none");
}

TEST_F(WrongStages, UnusedRoomForThemIsNoMatterOfTheForm) {
  const std::string name = file(line, variant, [](Tensors& stages) {
    for (Tensor& tensor : stages)
      for_each_element(tensor, [&](Index, Index offset) { tensor.store(offset, nan); });
  });
  for (const std::string form : {"recurrent", "chunked[chunk=64]"}) {
    const Result result = compare(name, form);
    EXPECT_NE(result.status, Status::failed) << form;
    EXPECT_FALSE(result.stages) << form;
  }
}

TEST_F(WrongStages, AreNotOfASample) {
  const std::vector<FixtureCase> cases =
      read_fixture(file("simple_gla T=100 K=16 V=24", "chunked[chunk=64]", [](Tensors&) {}));
  CompareOptions options;
  options.sample_only = true;
  try {
    check_fixture(cases.front(), options);
    FAIL() << "the stages were accepted";
  } catch (const UsageError& error) {
    expect_contains(error.what(), "the file has stages");
  }
}

TEST_F(WrongStages, AStageOfAnotherShapeOrNameIsRefusedWithTheRightOne) {
  const std::string name = file(line, variant, [](Tensors& stages) {
    Tensor& scores = *find(stages, "scores");
    scores = scores.slice(ChunkToken::name, 0, 16);
  });
  try {
    compare(name, "chunked[chunk=32]");
    FAIL();
  } catch (const UsageError& error) {
    expect_contains(error.what(),
                    "/stages/scores: the shape is 2 x 150 x 2 x 16; expected [batch, "
                    "time, value_head, column] = 2 x 150 x 2 x 32");
  }
  const std::string other = file(line, variant, [](Tensors& stages) {
    const Tensor& own = stages.front();
    stages.front() = Tensor::allocate("cumulative_decays", own.type(), own.axes());
  });
  try {
    compare(other, "chunked[chunk=32]");
    FAIL();
  } catch (const UsageError& error) {
    expect_contains(error.what(), "/stages/cumulative_decays: no such tensor");
    expect_contains(error.what(), "accepted: cumulative_decay chunk_states scores");
  }
}

// ---- elsewhere

TEST_F(WrongStages, ComeBackInEveryFieldFromAnotherProcessAndInTheRecord) {
  const Result result =
      compare(file(line, variant,
                   [](Tensors& stages) {
                     edit(stages, "scores", {0, 40, 1, 9}, [](double) { return 1; });
                   }),
              "chunked[chunk=32]");
  CaseReport report;
  report.results = {result};
  const CaseReport again = read_report(report_message(report));
  EXPECT_EQ(again.results.at(0).stages->sentence(), result.stages->sentence());
  const nlohmann::json record = to_records(report).at(0);
  EXPECT_EQ(record["status"], "FAILED");
  EXPECT_EQ(record["stages"]["first_diverging"], "scores");
  EXPECT_EQ(record["stages"]["chunk"], 32);
  EXPECT_EQ(record["stages"]["stages"]["scores"]["first_bad"], "b=0 t=40 h=1 j=9");
}

TEST_F(WrongStages, OfARunAreSavedAndAgreeWhenTheyAreComparedAgain) {
  const Ended saved =
      groundstate(fmt::format("run '{}' --path 'chunked[chunk=32]:single' --path recurrent:single "
                              "--no-contracts --stages --save '{}'",
                              line, path("saved.h5")));
  EXPECT_EQ(saved.code, 0) << saved.text;
  const Ended compared = groundstate(fmt::format("compare '{}'", path("saved.h5")));
  EXPECT_EQ(compared.code, 0) << compared.text;
  expect_contains(
      compared.text,
      "no stage diverges (chunks of 32); compared: cumulative_decay, chunk_states, scores");
}

TEST_F(WrongStages, NoLengthOfAChunkIsAnErrorThatNamesTheRange) {
  for (const std::string length : {"0", "-1", "65537", "many", "1.5"}) {
    const Ended ended = groundstate(
        fmt::format("generate 'simple_gla T=20' --stages={} -o '{}'", length, path("x.h5")));
    EXPECT_EQ(ended.code, 2) << length;
    EXPECT_EQ(ended.text,
              fmt::format("groundstate: --stages: chunk={}: expected an integer in [1, 65536]\n",
                          length));
    EXPECT_FALSE(std::filesystem::exists(path("x.h5")));
  }
}

TEST_F(WrongStages, TheFirstIsNamedOnThePageOfAReport) {
  const std::string name = file(line, variant, [](Tensors& stages) {
    edit(stages, "scores", {0, 40, 1, 9}, [](double) { return 1; });
  });
  EXPECT_EQ(groundstate(fmt::format("compare '{}' --form 'chunked[chunk=32]' -o '{}'", name,
                                    path("stages.jsonl")))
                .code,
            1);
  const Ended report =
      groundstate(fmt::format("report '{}' -o '{}'", path("stages.jsonl"), path("report")));
  EXPECT_EQ(report.code, 0) << report.text;
  std::ostringstream page;
  page << std::ifstream(path("report") + "/index.html").rdbuf();
  expect_contains(
      page.str(),
      "<p>first diverging stage (chunks of 32): scores: first at b=0 t=40 h=1 j=9: got ");
}

TEST(Stages, APathWithoutThemSaysSo) {
  const Case c = parse_case("simple_gla T=20 K=8 V=8 dtype=fp32", grammars());
  RunOptions options;
  options.paths = {"recurrent", "fused[key_tile=4]"};
  options.stages = true;
  for (const Result& result : run_case(operator_of(c), {c, {}, {}, {}}, options).results) {
    EXPECT_EQ(result.status, Status::passed);
    expect_contains(result.stages->sentence(), "no stages: path " + result.path + " has none");
  }
}

TEST(Stages, AnOperatorWithoutThemSaysSo) {
  EXPECT_THROW(staged_variant(operator_of(parse_case("decayed_sum", grammars())), "64"),
               UsageError);
}

}  // namespace
}  // namespace groundstate::harness
