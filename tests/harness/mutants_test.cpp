// Mutants and what is made of them: each is wrong (its bits are not those of the path that it
// declares), a right path among them is killed by nothing, and what a verdict says of a planted
// fault names its place.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "harness/case/case_line.hpp"
#include "harness/mutants/score.hpp"
#include "harness/operators/registry.hpp"
#include "harness/operators/tensor_edit.hpp"
#include "harness/run/run_case.hpp"
#include "tests/harness/expect_contains.hpp"
#include "tests/harness/program.hpp"
#include "tests/harness/temporary_folder.hpp"

namespace groundstate::harness {
namespace {

Case case_of(const std::string& line) { return parse_case(line, grammars()); }

const Mutant& mutant_of(const std::string& operator_name, const std::string& name) {
  const std::vector<Mutant>& all = mutants_of(operator_name);
  return *std::ranges::find(all, name, &Mutant::name);
}

CaseReport report_of(const MutantScores& scores, const std::string& line, bool contracts = false) {
  RunOptions how;
  how.equalities = contracts;
  how.emulated = true;
  return run_case(scores.mutated(), {case_of(line), {}, {}, {}}, how);
}

// What `mutate` says of one mutant on one case.
MutantScore score(const std::string& name, const std::string& line, bool contracts = false) {
  const Operator& op = operator_of(case_of(line));
  MutantScores scores(op, {mutant_of(op.grammar().operator_name, name)});
  scores.add(report_of(scores, line, contracts));
  EXPECT_TRUE(scores.broken().empty());
  return scores.scores().front();
}

std::string message(const MutantScore& score) { return score.first ? score.first->message : ""; }

// ---- the table

TEST(Mutants, EveryOperatorHasSomeAndThereAreThirtyAtLeast) {
  std::size_t all = 0;
  for (const auto& op : operators()) {
    const std::size_t own = mutants_of(op->grammar().operator_name).size();
    EXPECT_GE(own, 5u) << op->grammar().operator_name;
    all += own;
  }
  EXPECT_GE(all, 30u);
}

TEST(Mutants, AreNamedOncePerOperatorAndSayWhatIsRight) {
  for (const auto& op : operators()) {
    std::set<std::string> names;
    for (const Mutant& mutant : mutants_of(op->grammar().operator_name)) {
      EXPECT_TRUE(names.insert(mutant.name).second) << mutant.name;
      EXPECT_TRUE(std::filesystem::exists(mutant.contradicts)) << mutant.contradicts;
      EXPECT_FALSE(mutant.defect.empty()) << mutant.name;
      EXPECT_NE(static_cast<bool>(mutant.run), !mutant.needs.empty()) << mutant.name;
    }
  }
}

// A small case a mutant of each kind takes effect in.
const std::vector<std::string> small_cases{
    "simple_gla B=2 T=100 H=2 HV=4 K=8 V=8 gate_inputs=both gate=normal gamma=-0.3 state=random "
    "dtype=fp32",
    "simple_gla.backward B=2 T=100 H=2 HV=4 K=8 V=8 gate_inputs=both gate=medium gamma=-0.05 "
    "state=random dht=random dtype=fp32",
    "selective_state_update B=5 T=1 H=4 G=2 P=8 N=16 padding=interleaved z=random",
    "mamba3_step B=5 T=1 H=4 G=2 P=8 N=16 prologue=norm padding=interleaved z=random",
    "decayed_sum B=2 T=50 H=2 V=16 gate=normal state=random dtype=fp32",
    "decayed_sum.backward B=2 T=50 H=2 V=16 gate=normal state=random dht=random dtype=fp32"};

TEST(Mutants, ComputeOtherBitsThanTheirRightPathWhereTheyTakeEffect) {
  for (const std::string& line : small_cases) {
    const Case c = case_of(line);
    const Operator& op = operator_of(c);
    const MutatedOperator mutated(op, mutants_of(op.grammar().operator_name));
    const Tensors inputs = generate(op.inputs(c));
    std::size_t different = 0, run = 0;
    for (const Mutant& mutant : mutated.mutants()) {
      if (mutant.name == "written_behind_the_end") continue;  // needs guards
      const auto outputs = [&](const PathVariant& variant) {
        Tensors result;
        for (const TensorSpec& spec : op.outputs(c)) result.push_back(spec.allocate());
        mutated.start(c, inputs, result);
        mutated.run(c, variant, inputs, result);
        return result;
      };
      PathVariant right = parse_path_variant(mutant.declares, op.path_keys());
      const Tensors expected = outputs(right), got = outputs(mutated.variant_of(mutant));
      ++run;
      for (std::size_t i = 0; i < got.size(); ++i)
        if (!same_bytes(got[i], expected[i])) {
          ++different;
          break;
        }
    }
    // The others need a reset, a packed row, a type or a run of their own.
    EXPECT_GE(2 * different, run) << line;
  }
}

TEST(Mutants, ARightPathIsKilledByNothing) {
  for (const std::string& line : small_cases) {
    const Operator& op = operator_of(case_of(line));
    const char* const declared = op.grammar().operator_name.starts_with("simple_gla")
                                     ? "chunked:single"
                                     : "recurrent:single";
    const Defect none = [](const RightPath& right, const Case& c, const Tensors& inputs,
                           Tensors& outputs) { right(c, inputs, outputs); };
    MutantScores scores(op, {{"none", declared, "none", "README.md", none, ""}});
    scores.add(report_of(scores, line, true));
    EXPECT_TRUE(scores.broken().empty()) << line;
    EXPECT_EQ(scores.scores()[0].cases, 1) << line;
    EXPECT_STREQ(scores.scores()[0].status(), "UNSHOWN") << message(scores.scores()[0]);
  }
}

TEST(Mutants, SurviveWithOtherBitsThatNothingSeesAndAreUnshownWithTheSame) {
  const auto last_bit = [](Index least_size) -> Defect {
    return [=](const RightPath& right, const Case& c, const Tensors& inputs, Tensors& outputs) {
      right(c, inputs, outputs);
      if (c.integer("V") < least_size) return;
      auto* const first = static_cast<float*>(outputs[0].data());
      *first = std::nextafter(*first, 0.0f);
    };
  };
  const std::string line = "decayed_sum T=1 H=1 gate=slow dtype=fp32 V=";
  MutantScores scores(operator_of(case_of(line + "16")),
                      {{"seen_by_none", "recurrent:single", "-", "README.md", last_bit(0), ""},
                       {"not_there", "recurrent:single", "-", "README.md", last_bit(32), ""}});
  scores.add(report_of(scores, line + "16", true));
  EXPECT_STREQ(scores.scores()[0].status(), "SURVIVED") << message(scores.scores()[0]);
  EXPECT_STREQ(scores.scores()[1].status(), "UNSHOWN");
  EXPECT_EQ(scores.scores()[1].needs(),
            "another case: on this one its outputs are those of recurrent:single");
  scores.add(report_of(scores, line + "32", true));
  EXPECT_STREQ(scores.scores()[1].status(), "SURVIVED") << "one case shows it";
}

TEST(Mutants, OnOneCaseThoseThatItCannotShowAreNoSurvivors) {
  const std::string one = "mutate 'decayed_sum T=20 H=1 V=16 gate=slow dtype=fp32' --mutant ";
  const Ended unshown = groundstate(one + "state_of_the_head_before");
  EXPECT_EQ(unshown.code, 3) << unshown.text;
  expect_contains(unshown.text, "UNSHOWN   state_of_the_head_before");
  expect_contains(unshown.text, "1 mutants on 1 cases: 0 killed, 0 survived, 1 not shown by these");
  const Ended killed = groundstate(one + "state_of_the_head_before --mutant bf16_state");
  EXPECT_EQ(killed.code, 0) << killed.text;
  expect_contains(killed.text, "1 killed, 0 survived, 1 not shown by these cases");
  EXPECT_EQ(killed.text.find("simple_gla"), std::string::npos) << "no case is of it";
}

// ---- what kills them

TEST(Mutants, ABatchThatChangesTheSplitIsSeenByAContractAndByNoClause) {
  const MutantScore own =
      score("split_chosen_by_batch", "simple_gla B=2 T=200 H=1 K=8 V=8 gate=slow dtype=fp32", true);
  EXPECT_STREQ(own.status(), "KILLED");
  for (const auto& [check, cases] : own.seen_by) EXPECT_TRUE(check.starts_with("contract: "));
  EXPECT_TRUE(own.seen_by.contains("contract: batch alone"));
}

TEST(Mutants, AWriteBehindTheEndIsSeenInMemory) {
  const MutantScore own =
      score("written_behind_the_end", "simple_gla T=64 H=1 K=8 V=8 gate=slow dtype=fp32");
  EXPECT_EQ(own.first->check, "memory");
}

TEST(Mutants, AStateOfBf16InAPoolOfFp32IsSeenOnItsGrid) {
  const MutantScore own =
      score("state_rounded_to_bf16", "selective_state_update B=4 T=3 P=16 N=32");
  EXPECT_TRUE(own.seen_by.contains("C.grid"));
}

// ---- where the message says it is

// A fault whose place is known, and what a verdict says of it: by which clause, on which tensor,
// and where.
struct Planted {
  std::string mutant, line, clause, tensor;
  std::vector<std::string> where;
};
const std::vector<Planted> planted{
    // from the first row of the second chunk on
    {"gate_restarts_late",
     "simple_gla T=128 H=2 K=16 V=16 gate=normal dtype=fp32",
     "A.99.9%",
     "o",
     {"first at b=0 t=64 h=0 v=0: ", "all heads", "23 of 128 t"}},
    // in the one empty sequence
    {"empty_sequence_unwritten",
     "simple_gla lengths=5+0+7 H=2 K=8 V=8 state=random dtype=fp32",
     "pattern",
     "ht",
     {"first at n=1 h=0 k=0 v=0: got NaN", "128 of 384 elements", "never written?", "only n=1",
      "all heads"}},
    // before the last, partial chunk
    {"partial_chunk_without_gradient",
     "simple_gla.backward T=100 H=1 K=16 V=16 gate=slow dtype=fp32",
     "A.median",
     "dk",
     {"first at b=0 t=0 h=0 k=0: ", "1024 of 1600 elements", "only t=0..63"}},
    // in the heads that another group has under h % G
    {"group_map_by_modulo",
     "selective_state_update B=2 H=4 G=2 P=16 N=16 dtype=fp32",
     "A.99.9%",
     "out",
     {"first at b=0 t=0 h=1 v=0: ", "64 of 128 elements", "only heads 1, 2 of 4"}},
    {"group_map_by_modulo",
     "mamba3_step B=2 H=4 G=2 P=16 N=16 prologue=norm",
     "A.99.9%",
     "out",
     {"first at b=0 t=0 h=1 v=0: ", "only heads 1, 2 of 4"}},
    // in the keys that the pool keeps, and in nothing else
    {"k_state_not_stored",
     "mamba3_step B=2 H=2 P=16 N=16",
     "A.median",
     "k_state",
     {"first at b=0 h=0 v=0 s=0: ", "all heads"}},
    // from the start of every head but the first
    {"state_of_the_head_before",
     "decayed_sum B=1 T=20 H=3 V=16 gate=slow state=random dtype=fp32",
     "A.median",
     "y",
     {"first at b=0 t=0 h=1 v=0: ", "640 of 960 elements", "only heads 1, 2 of 3"}},
    // at the end, as far back as the gates let it be felt
    {"dht_left_out",
     "decayed_sum.backward T=100 H=2 V=16 gate=normal dht=random dtype=fp32",
     "A.99.9%",
     "dx",
     {"first at b=0 t=80 h=0 ", "all heads", "only t=80..99"}}};

TEST(PlantedFault, IsFoundByWhatTheMessageSays) {
  for (const Planted& fault : planted) {
    SCOPED_TRACE(fault.mutant + " of " + fault.line);
    const MutantScore own = score(fault.mutant, fault.line);
    ASSERT_TRUE(own.first);
    EXPECT_EQ(own.first->check, fault.clause);
    EXPECT_EQ(own.first->tensor, fault.tensor);
    for (const std::string& words : fault.where) expect_contains(message(own), words);
  }
}

TEST(PlantedFault, IsThereForEveryOperator) {
  for (const auto& op : operators()) {
    const std::string& name = op->grammar().operator_name;
    EXPECT_TRUE(std::ranges::any_of(planted, [&](const Planted& fault) {
      return case_of(fault.line).operator_name() == name && !fault.where.empty();
    })) << name;
  }
}

}  // namespace
}  // namespace groundstate::harness
