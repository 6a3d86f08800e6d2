// harness/run: cases through paths, judge and contracts.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "harness/case/error.hpp"
#include "harness/case/sweep.hpp"
#include "harness/generate/regime.hpp"
#include "harness/operators/registry.hpp"
#include "harness/run/device.hpp"
#include "harness/run/equality.hpp"
#include "harness/run/guarded.hpp"
#include "harness/run/judge_case.hpp"
#include "harness/run/oracle_tensors.hpp"
#include "harness/run/outputs.hpp"
#include "harness/run/places.hpp"
#include "harness/run/run_case.hpp"
#include "harness/run/sample.hpp"
#include "reference/core/parallel.hpp"

namespace groundstate::harness {
namespace {

CaseReport run(std::string_view line, RunOptions options = {}) {
  const Case c = parse_case(line, grammars());
  return run_case(operator_of(c), {c, {}, {}, {}}, options);
}

RunOptions only(std::vector<std::string> paths) {
  RunOptions options;
  options.paths = std::move(paths);
  return options;
}

// ---- limits

// Every case of the line passes with every path of its row; the number of tensors judged.
Index honest_tensors(std::string_view line,
                     const std::vector<std::pair<std::string, std::vector<std::string>>>& rows) {
  Index tensors = 0;
  for (const auto& [type, paths] : rows) {
    RunOptions options = only(paths);
    options.equalities = false;
    for (const Case& c : expand(fmt::format("{} {}", line, type), grammars())) {
      const CaseReport report = run_case(operator_of(c), {c, {}, {}, {}}, options);
      for (const Result& result : report.results) {
        EXPECT_EQ(result.status, Status::passed) << result.reproducer;
        tensors += static_cast<Index>(result.verdict.tensors.size());
      }
    }
  }
  return tensors;
}

// Seeds and shapes that the calibration does not use.
TEST(Limits, HonestPathsOfOtherSeedsAndShapesStayInside) {
  const Index tensors = honest_tensors(
      "simple_gla H=1 T/K/V/values=192/64/96/normal,777/40/24/scaled "
      "gate=open,slow,medium,normal,fast,mixed,reset,chunk_end seed=911",
      {{"dtype=fp64", {"chunked", "scan", "parallel"}},
       {"dtype=fp32", {"recurrent:single", "chunked:single", "chunked:tf32"}},
       {"dtype=bf16",
        {"chunked:tensorcore-bf16", "fused[key_tile=32]:tensorcore-bf16",
         "chunked:tensorcore-bf16-state", "recurrent:single-bf16-state"}},
       {"dtype=fp16", {"chunked:tensorcore-fp16"}}});
  EXPECT_EQ(tensors, 16 * 2 * (3 + 3 + 4 + 1));
}

// Without a bf16 state at every token: where values are scaled, updates of dS below half an ulp are
// lost, all in one direction, and the bias test says so by rights.
TEST(Limits, HonestGradientsOfOtherSeedsAndShapesStayInside) {
  const Index tensors = honest_tensors(
      "simple_gla.backward H=1 T/K/V/values=192/64/96/normal,333/40/24/scaled "
      "gate=open,medium,normal,fast,mixed,reset,chunk_end gate_inputs=both gamma=-0.001 "
      "state=random dht=random seed=911",
      {{"dtype=fp64", {"chunked", "segmented"}},
       {"dtype=fp32", {"recurrent:single", "chunked:single", "chunked[dg_form=global]:single"}},
       {"dtype=bf16",
        {"chunked:tensorcore-bf16", "chunked[dh_dtype=operand]:tensorcore-bf16",
         "chunked:tensorcore-bf16-state", "segmented:tensorcore-bf16"}},
       {"dtype=fp16", {"fused:tensorcore-fp16"}}});
  EXPECT_EQ(tensors, 14 * 6 * (2 + 3 + 4 + 1));
}

// ---- paths that need a device

// Where there is none they are UNAVAILABLE and the others are run.
TEST(DevicePaths, AreRunWhereThereIsADevice) {
  const bool present = !device().name.empty();
  EXPECT_NE(present, !device().missing.empty());
  const CaseReport report = run("simple_gla T=5 H=1 K=4 V=4 dtype=fp32");
  Index on_device = 0;
  for (const Result& result : report.results) {
    if (!result.path.starts_with("gpu.")) {
      EXPECT_EQ(result.device, "cpu");
      continue;
    }
    ++on_device;
    EXPECT_EQ(result.status, present ? Status::passed : Status::unavailable) << result.path;
    EXPECT_EQ(result.device, present ? device().name : "none");
    if (!present) {
      EXPECT_EQ(result.note, device().missing);
    }
  }
  EXPECT_GE(on_device, 4);
  EXPECT_GT(report.judged(), 10);
  EXPECT_FALSE(report.failed());
}

TEST(DevicePaths, SayWhyTheyCannotRun) {
  if (!device().name.empty()) GTEST_SKIP() << "there is a device";
  const Case c = parse_case("simple_gla T=5 H=1 K=4 V=4", grammars());
  const Operator& op = operator_of(c);
  const PathVariant variant = checked_variant(op, "gpu.recurrent:single");
  GuardedTensors outputs(stored_outputs(op, c, variant));
  try {
    run_variant(op, c, variant, generate(op.inputs(c)), outputs.tensors());
    FAIL() << "it ran";
  } catch (const ResourceError& error) {
    EXPECT_EQ(error.what(),
              fmt::format("{}: path gpu.recurrent:single: {}", c.canonical(), device().missing));
  }
}

// The state of a step lies in memory between two calls, so its type is part of the recipe.
TEST(DevicePaths, TakeTheRecipesOfTheirTypes) {
  const auto unsupported = [](std::string_view line, std::string_view path) {
    const Case c = parse_case(line, grammars());
    return operator_of(c).unsupported(c, checked_variant(operator_of(c), path)).has_value();
  };
  for (const std::string_view path : {"gpu.recurrent", "gpu.step"}) {
    const std::string single = fmt::format("{}:single", path);
    EXPECT_FALSE(unsupported("simple_gla dtype=bf16", single));
    EXPECT_FALSE(unsupported("simple_gla dtype=bf16", path));
    EXPECT_TRUE(unsupported("simple_gla dtype=fp64", single));
  }
  EXPECT_FALSE(unsupported("simple_gla state_dtype=bf16", "gpu.recurrent:single"));
  EXPECT_TRUE(unsupported("simple_gla state_dtype=bf16", "gpu.step:single"));
  EXPECT_FALSE(unsupported("simple_gla state_dtype=bf16", "gpu.step:single-bf16-state"));
  EXPECT_TRUE(unsupported("simple_gla", "gpu.step:single-bf16-state"));
}

// The reference's path of the same form is their emulation.
TEST(DevicePaths, AreEmulatedByTheReference) {
  const Case c = parse_case("simple_gla T=9 H=1 K=4 V=4", grammars());
  const Operator& op = operator_of(c);
  const Tensors inputs = generate(op.inputs(c));
  const Pair pair = op.pairs(c, inputs).front();
  const PairOutputs device = op.emulate(c, checked_variant(op, "gpu.step:single"), inputs, pair),
                    host = op.emulate(c, checked_variant(op, "recurrent:single"), inputs, pair);
  for (std::size_t i = 0; i < host.size(); ++i) EXPECT_EQ(device[i], host[i]);
}

// ---- outputs that several pairs share

constexpr std::string_view shared_gradients =
    "simple_gla.backward H=2 HV=6 K=8 V=5 lengths=9+0+17+4 reverse=yes gate_inputs=both dtype=fp64 "
    "state=random dht=random";

// dq and dk over the value heads of a head, dg_gamma over the sequences.
TEST(SharedOutputs, AreTheSumsOfTheirPairs) {
  const Case c = parse_case(shared_gradients, grammars());
  const Operator& op = operator_of(c);
  const Tensors inputs = generate(op.inputs(c));
  GuardedTensors outputs(stored_outputs(op, c, checked_variant(op, "recurrent")));
  op.run(c, checked_variant(op, "recurrent"), inputs, outputs.tensors());
  std::vector<std::string> compared;
  write_oracle(op, c, inputs, [&](std::string_view group, const Tensor& tensor) {
    if (group != "oracle") return;
    compared.push_back(tensor.name());
    EXPECT_EQ(first_difference(tensor, *find(outputs.tensors(), tensor.name())), std::nullopt);
  });
  EXPECT_EQ(compared, (std::vector<std::string>{"dq", "dk", "dv", "dg", "dg_gamma", "dh0"}));
}

TEST(SharedOutputs, AreJudgedOnceAPlace) {
  const CaseReport report = run(shared_gradients, only({"chunked"}));
  const PathVerdict& verdict = report.results.at(0).verdict;
  EXPECT_EQ(verdict.status, Status::passed);
  std::map<std::string, Index> places, elements;
  for (const TensorVerdict& tensor : verdict.tensors) {
    places[tensor.tensor] = tensor.pairs;
    elements[tensor.tensor] = tensor.elements;
  }
  EXPECT_EQ(places, (std::map<std::string, Index>{{"dq", 4 * 2},
                                                  {"dk", 4 * 2},
                                                  {"dv", 4 * 6},
                                                  {"dg", 4 * 6},
                                                  {"dg_gamma", 6},
                                                  {"dh0", 4 * 6}}));
  EXPECT_EQ(elements["dq"], 30 * 2 * 8);
  EXPECT_EQ(elements["dg_gamma"], 6);
}

// One wrong contribution of three, with the place of the head that they share.
TEST(SharedOutputs, OneWrongContributionIsFound) {
  const Case c = parse_case(shared_gradients, grammars());
  const Operator& op = operator_of(c);
  const Tensors inputs = generate(op.inputs(c));
  const PathVariant variant = checked_variant(op, "recurrent");
  GuardedTensors outputs(stored_outputs(op, c, variant));
  op.run(c, variant, inputs, outputs.tensors());
  const std::vector<Pair> pairs = op.pairs(c, inputs);
  const Pair& wrong = pairs.at(2 * 6 + 4);  // sequence 2, value head 4 of head 1
  update_output(op.oracle(c, inputs, wrong).at(0), wrong, *find(outputs.tensors(), "dq"),
                [](double sum, double own) { return sum - 0.02 * own; });
  Candidate candidate;
  candidate.outputs = &outputs.tensors();
  candidate.types.assign(6, ElementType::float64);
  candidate.declaration = {recipe_units("exact"), true};
  candidate.form = variant;
  const CaseJudgement judgement =
      judge_case(op, c, inputs, pairs, std::vector<bool>(pairs.size(), true), {candidate});
  const TensorVerdict* const worst = judgement.paths.at(0).worst();
  ASSERT_NE(worst, nullptr);
  EXPECT_EQ(worst->tensor, "dq");
  EXPECT_EQ(worst->status, Status::failed);
  EXPECT_NE(worst->finding.find("n=2"), std::string::npos) << worst->finding;
  EXPECT_NE(worst->finding.find("only head 1"), std::string::npos) << worst->finding;
}

// ---- gradients of gates

// The global form of dg, which collects the rounding errors of all later tokens, under a promise of
// the chunk form.
TEST(GateGradients, TheGlobalFormDoesNotPassForTheChunkForm) {
  const Case c =
      parse_case("simple_gla.backward T=8192 H=1 K=16 V=16 dtype=fp32 gate=normal", grammars());
  const Operator& op = operator_of(c);
  const Tensors inputs = generate(op.inputs(c));
  const PathVariant global = checked_variant(op, "chunked[dg_form=global]:single"),
                    local = checked_variant(op, "chunked:single");
  const std::vector<Pair> pairs = op.pairs(c, inputs);
  GuardedTensors outputs(stored_outputs(op, c, global));
  op.run(c, global, inputs, outputs.tensors());
  const auto judged_as = [&](const PathVariant& form) {
    Candidate candidate;
    candidate.outputs = &outputs.tensors();
    candidate.types.assign(4, ElementType::float32);
    candidate.declaration = {recipe_units("single"), true};
    candidate.form = form;
    candidate.chunk = 64;
    candidate.emulations = {form};
    return judge_case(op, c, inputs, pairs, {true}, {candidate}).paths.at(0);
  };
  EXPECT_EQ(judged_as(global).status, Status::passed);
  const PathVerdict verdict = judged_as(local);
  EXPECT_EQ(verdict.status, Status::failed);
  EXPECT_EQ(verdict.worst()->tensor, "dg");
}

// ---- recipes

TEST(Run, OutputsOfALooserRecipeFailUnderAStricterOne) {
  const Case c = parse_case("simple_gla T=300 dtype=fp32 gate=medium state=random", grammars());
  const Operator& op = operator_of(c);
  const Tensors inputs = generate(op.inputs(c));
  const PathVariant loose = checked_variant(op, "chunked:tf32");
  GuardedTensors outputs(stored_outputs(op, c, loose));
  op.run(c, loose, inputs, outputs.tensors());
  const auto judge = [&](std::string_view recipe) {
    Candidate candidate;
    candidate.outputs = &outputs.tensors();
    for (const Tensor& tensor : outputs.tensors()) candidate.types.push_back(tensor.type());
    candidate.declaration = {recipe_units(recipe), true};
    const std::vector<Pair> pairs = op.pairs(c, inputs);
    return judge_case(op, c, inputs, pairs, std::vector<bool>(pairs.size(), true), {candidate})
        .paths[0]
        .status;
  };
  EXPECT_EQ(judge("tf32"), Status::passed);
  EXPECT_EQ(judge("single"), Status::failed);
}

// ---- determinism

// Threads share the pairs of a case, or the perturbed runs of two long ones.
TEST(Run, RecordsAreTheSameForAnyNumberOfThreads) {
  const int before = threads();
  for (const auto& [line, paths] :
       {std::pair("simple_gla B=2 T=130 K=32 gate=mixed state=random", std::vector<std::string>()),
        {"simple_gla T=4100 K=4 V=4 gate=mixed state=random", {"chunked:single"}}}) {
    std::vector<std::string> records;
    for (const int count : {1, 2, 3, 8}) {
      set_threads(count);
      std::string text;
      for (nlohmann::json record : to_records(run(line, only(paths)))) {
        record.erase("seconds");
        record.erase("environment");
        text += record.dump() + "\n";
      }
      records.push_back(text);
    }
    for (const std::string& other : records) EXPECT_EQ(other, records.front());
  }
  set_threads(before);
}

TEST(Run, PackedAndReversedCasesHoldEveryContract) {
  const CaseReport report =
      run("simple_gla lengths=5+0+70+64 HV=4 reverse=yes gate_inputs=both state=random dtype=fp32");
  EXPECT_FALSE(report.failed());
  const auto names = [&](std::string_view part) {
    return std::count_if(
        report.equalities.begin(), report.equalities.end(),
        [&](const EqualityResult& e) { return e.name.find(part) != std::string::npos; });
  };
  EXPECT_GT(names("sequence 0 alone"), 0);
  EXPECT_GT(names("sequence 1 alone"), 0);  // the empty one
  EXPECT_GT(names("head alone"), 0);
  EXPECT_GT(names("other state layout"), 0);
  EXPECT_GT(names("fused[num_steps=1] = fused[num_steps=3]"), 0);
}

TEST(Run, AViolationNamesCoordinateAndBothValues) {
  Tensor a = Tensor::allocate("o", ElementType::float32, {{Time::name, 3}, {Value::name, 2}});
  Tensor b =
      Tensor::allocate("o", ElementType::float32, {{Time::name, 3}, {Value::name, 2}}, {1, 0});
  EXPECT_FALSE(first_difference(a, b));
  b.store(1 * 1 + 1 * 3, 0.5);  // time 1, value 1
  const std::string text = first_difference(a, b).value();
  EXPECT_NE(text.find("time=1 value=1"), std::string::npos) << text;
  EXPECT_NE(text.find("0.5"), std::string::npos) << text;
}

TEST(Run, ZerosOfOtherSignAreADifference) {
  Tensor a = Tensor::allocate("o", ElementType::float64, {{Time::name, 1}}),
         b = Tensor::allocate("o", ElementType::float64, {{Time::name, 1}});
  b.store(0, -0.0);
  EXPECT_TRUE(first_difference(a, b));
}

// ---- what cannot run

TEST(Run, APathAboveTheCostLimitIsUnsupportedWithItsReason) {
  RunOptions options;
  options.max_flops = 1e6;
  const CaseReport report = run("simple_gla T=300", options);
  EXPECT_EQ(report.judged(), 0);
  for (const Result& result : report.results) {
    EXPECT_EQ(result.status, Status::unsupported);
    EXPECT_NE(result.note.find("--max-cost"), std::string::npos);
  }
}

TEST(Run, UnknownPathsKeysAndRecipesAreUsageErrors) {
  for (const char* const path :
       {"chunkd", "chunked[chnk=3]", "recurrent[chunk=3]", "recurrent:tf32", "chunked:singel"})
    EXPECT_THROW(run("simple_gla T=3", only({path})), UsageError) << path;
}

TEST(Run, MoreMemoryThanTheMachineHasIsRefusedBeforeItIsTaken) {
  const Case c = parse_case("simple_gla B=1000000 T=1000000", grammars());
  EXPECT_THROW(check_case(operator_of(c), c), UsageError);
  const Case overflowing = parse_case("simple_gla B=1000000000000 T=1000000000000", grammars());
  EXPECT_THROW(check_case(operator_of(overflowing), overflowing), UsageError);
}

TEST(Run, ACaseOfZerosIsMistrusted) {
  const CaseReport report =
      run("simple_gla T=100 scale=0 keys=zero_rows gate=fast", only({"recurrent"}));
  EXPECT_FALSE(report.mistrusted);  // ht is not zero
  const CaseReport zeros =
      run("decayed_sum.backward T=64 dy=zero dht=random gate=hard_reset", only({"recurrent"}));
  EXPECT_TRUE(zeros.mistrusted || !zeros.failed());
}

// ---- guards

TEST(Guards, AByteWrittenOutsideIsSeen) {
  TensorSpec spec;
  spec.name = "o";
  spec.type = ElementType::float32;
  spec.axes = {{Time::name, 3}};
  GuardedTensors outputs({spec});
  EXPECT_FALSE(outputs.violation());
  auto* const data = static_cast<unsigned char*>(outputs.tensors()[0].data());
  data[12] ^= 1;
  EXPECT_NE(outputs.violation().value().find("behind o"), std::string::npos);
  data[12] ^= 1;
  data[-1] ^= 1;
  EXPECT_NE(outputs.violation().value().find("before o"), std::string::npos);
}

TEST(Guards, ThePoisonIsNaNInEveryType) {
  for (const ElementType type :
       {ElementType::float64, ElementType::float32, ElementType::bfloat16, ElementType::float16}) {
    TensorSpec spec;
    spec.name = "o";
    spec.type = type;
    spec.axes = {{Time::name, 5}};
    const GuardedTensors outputs({spec});
    for (Index i = 0; i < 5; ++i) EXPECT_TRUE(std::isnan(outputs.tensors()[0].load(i)));
  }
}

TEST(Guards, AChangedInputChangesTheDigest) {
  Tensors tensors{Tensor::allocate("q", ElementType::bfloat16, {{Time::name, 13}})};
  const std::uint64_t before = digest(tensors);
  for (Index i = 0; i < 13; ++i) {
    tensors[0].store(i, 1);
    EXPECT_NE(digest(tensors), before) << i;
    tensors[0].store(i, 0);
  }
}

// ---- the sample of a large case

TEST(Sample, AlwaysHoldsFirstLastSlowestAndFastest) {
  std::vector<Pair> pairs(100);
  for (std::size_t i = 0; i < pairs.size(); ++i)
    pairs[i].mean_gate = i == 41 ? -9.0 : i == 17 ? -0.1 : -1.0;
  for (const std::uint64_t seed : {1, 2, 3}) {
    const std::vector<bool> chosen = sample_pairs(pairs, 8, seed);
    EXPECT_EQ(std::count(chosen.begin(), chosen.end(), true), 8);
    for (const std::size_t i : {0, 17, 41, 99}) EXPECT_TRUE(chosen[i]);
  }
  EXPECT_NE(sample_pairs(pairs, 8, 1), sample_pairs(pairs, 8, 2));
}

TEST(Sample, UnsampledPairsAreStillHeldAgainstTheOracle) {
  const Case c = parse_case("simple_gla H=16 T=200 K=32 V=32 dtype=fp32 gate=slow", grammars());
  const Operator& op = operator_of(c);
  const Tensors inputs = generate(op.inputs(c));
  const PathVariant path = checked_variant(op, "chunked:single");
  GuardedTensors outputs(stored_outputs(op, c, path));
  op.run(c, path, inputs, outputs.tensors());
  const std::vector<Pair> pairs = op.pairs(c, inputs);
  const std::vector<bool> sample = sample_pairs(pairs, 4, 1);
  const auto outside =
      static_cast<Index>(std::find(sample.begin(), sample.end(), false) - sample.begin());
  const auto status = [&] {
    Candidate candidate;
    candidate.outputs = &outputs.tensors();
    for (const Tensor& tensor : outputs.tensors()) candidate.types.push_back(tensor.type());
    candidate.declaration = {recipe_units("single"), true};
    candidate.emulations = {path};
    return judge_case(op, c, inputs, pairs, sample, {candidate}).paths[0].status;
  };
  EXPECT_EQ(status(), Status::passed);
  // A head that is not in the sample forgets everything half-way.
  Tensor& o = outputs.tensors()[0];
  for (Index t = 100; t < 200; ++t)
    for (Index v = 0; v < 32; ++v) o.store((t * 16 + outside) * 32 + v, 0);
  EXPECT_EQ(status(), Status::failed);
}

TEST(Sample, HoldsWhateverSharesAPlaceWithAPairOfIt) {
  const auto kin = [](const std::string& keys) {
    const Case c =
        parse_case("simple_gla.backward B=2 T=3 H=2 HV=4 K=2 V=2 gate_inputs=" + keys, grammars());
    const Operator& op = operator_of(c);
    const std::vector<Pair> pairs = op.pairs(c, generate(op.inputs(c)));
    std::vector<bool> first(pairs.size(), false);
    first[0] = true;
    return with_sharers(first, pairs, op.judged_outputs(c));
  };
  // Two value heads share dq and dk of their head, and all sequences share dg_gamma.
  EXPECT_EQ(kin("g"), (std::vector<bool>{true, true, false, false, false, false, false, false}));
  EXPECT_EQ(kin("both"), (std::vector<bool>{true, true, false, false, true, true, false, false}));
}

// ---- raised limits

class RaisedLimits : public testing::Test {
 protected:
  // A result that fails its clause by a factor of 1.5.
  CaseReport failing(double value) const {
    CaseReport report;
    Result result;
    result.path = "chunked[chunk=16]";
    TensorVerdict tensor;
    tensor.tensor = "o";
    tensor.clauses = {make_clause("A.max", value, 10)};
    tensor.status = tensor.clauses[0].passed ? Status::passed : Status::failed;
    result.verdict = combine({tensor});
    result.status = result.verdict.status;
    report.results = {result};
    return report;
  }
  RaisedLimit limit(int year) const {
    return {"chunked", "A.max", 2, std::chrono::year(year) / 1 / 1, "known", "file:1"};
  }
};

TEST_F(RaisedLimits, CoverWhatTheySay) {
  CaseReport report = failing(15);
  apply_raised_limits(report, {limit(2999)});
  EXPECT_FALSE(report.failed());
  EXPECT_EQ(report.results[0].status, Status::passed);
  EXPECT_EQ(report.results[0].verdict.tensors[0].clauses[0].detail,
            "limit raised x2 until 2999-01-01: known");
}

TEST_F(RaisedLimits, DoNotCoverAWriteOutsideTheOutputs) {
  CaseReport report = failing(15);
  report.results[0].memory_violated = true;
  apply_raised_limits(report, {limit(2999)});
  EXPECT_EQ(report.results[0].status, Status::failed);
}

TEST_F(RaisedLimits, CoverNoMore) {
  CaseReport report = failing(25);
  apply_raised_limits(report, {limit(2999)});
  EXPECT_TRUE(report.failed());
}

TEST_F(RaisedLimits, ThatNothingNeedsAreReported) {
  CaseReport report = failing(5);
  apply_raised_limits(report, {limit(2999)});
  EXPECT_TRUE(report.failed());
  EXPECT_EQ(report.raised_limit_problems.size(), 1u);
}

TEST_F(RaisedLimits, ThatHaveExpiredCoverNothing) {
  CaseReport report = failing(15);
  apply_raised_limits(report, {limit(2020)});
  EXPECT_TRUE(report.failed());
  EXPECT_EQ(report.results[0].status, Status::failed);
}

// ---- the generator

TEST(Generator, ValuesDoNotDependOnLayoutThreadsOrOtherTensors) {
  const Case kv = parse_case("simple_gla T=37 state=random", grammars());
  const Case vk = kv.with("state_layout", "vk");
  const Operator& op = operator_of(kv);
  set_threads(1);
  const Tensors one = generate(op.inputs(kv));
  set_threads(3);
  const Tensors three = generate(op.inputs(vk));
  for (const Tensor& tensor : one)
    EXPECT_FALSE(first_difference(tensor, *find(three, tensor.name()))) << tensor.name();
}

TEST(Generator, GatesStayInTheirDomain) {
  for (const Regime& r : gate_regimes()) {
    const RandomStream stream(1, "g");
    for (Index t = 0; t < 1000; ++t) {
      const double g = r.value(stream, {t, t, t % 3, 0, 1, 1, 1000});
      EXPECT_FALSE(std::isnan(g)) << r.name;
      EXPECT_LE(
          g, r.name == "growth" || r.name == "strong_growth" || r.name == "mixed_sign" ? 0.25 : 0.0)
          << r.name;
    }
  }
}

TEST(Generator, ConstantDecaysAreThoseOfTheirModels) {
  // RetNet: log(1 - 2^(-5-h)); the series is good to the last bit but one.
  for (Index h = 0; h < 40; ++h) {
    const double expected = std::log1p(-std::ldexp(1.0, static_cast<int>(-5 - h)));
    EXPECT_NEAR(constant_log_decay("retnet", h, 40), expected, 2 * 0x1p-52 * std::abs(expected));
  }
  EXPECT_EQ(constant_log_decay("lightning", 0, 8), 0.0);
  EXPECT_EQ(constant_log_decay("lightning", 3, 8), -3.0);
  // ALiBi for 16 heads: slopes 2^-0.5, 2^-1, ...; for 12 heads the 8 slopes of 8 and every second
  // of 16.
  EXPECT_NEAR(constant_log_decay("alibi", 0, 16), -std::exp2(-0.5), 1e-15);
  EXPECT_NEAR(constant_log_decay("alibi", 7, 12), -std::exp2(-8.0), 1e-17);
  EXPECT_NEAR(constant_log_decay("alibi", 8, 12), -std::exp2(-0.5), 1e-15);
  EXPECT_NEAR(constant_log_decay("alibi", 9, 12), -std::exp2(-1.5), 1e-15);
  EXPECT_EQ(constant_log_decay("-0.3", 5, 12), -0.3);
}

}  // namespace
}  // namespace groundstate::harness
