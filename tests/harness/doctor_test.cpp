// groundstate doctor: a fault planted in a copy of the tree is found, by the check and the operator
// that it belongs to and by no other; the tree itself is clean (ctest `doctor`).
#include "harness/doctor/doctor.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "harness/case/error.hpp"
#include "harness/doctor/checks.hpp"
#include "harness/doctor/takes_effect.hpp"
#include "harness/evidence/coverage.hpp"
#include "harness/golden/golden.hpp"
#include "harness/operators/registry.hpp"
#include "harness/run/run_case.hpp"
#include "tests/harness/expect_contains.hpp"
#include "tests/harness/faulty_operator.hpp"
#include "tests/harness/program.hpp"
#include "tests/harness/temporary_folder.hpp"

namespace groundstate::harness {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr std::chrono::year_month_day today = 2026y / 7 / 1;
const std::vector<std::string> some_verbs{"list", "run", "golden"};

// The folder has a copy of what doctor looks at.
class Doctor : public TemporaryFolder {
 protected:
  Doctor() {
    for (const char* const name : {"CMakeLists.txt", "README.md"}) fs::copy(name, folder_ / name);
    fs::create_directories(folder_ / "tests");
    for (const char* const name : {"data", "gpu", "reference", "tests/reference"})
      fs::copy(name, folder_ / name, fs::copy_options::recursive);
  }

  void append(const std::string& name, const std::string& text) const {
    write(name, bytes_of(path(name)) + text);
  }
  // The text is there, every time it is replaced.
  void replace(const std::string& name, const std::string& old, const std::string& by) const {
    std::string text = bytes_of(path(name));
    ASSERT_NE(text.find(old), text.npos) << name << " has no " << old;
    for (std::size_t at = 0; (at = text.find(old, at)) != text.npos; at += by.size())
      text.replace(at, old.size(), by);
    write(name, text);
  }

  // Everything that is wrong, as "check/operator: sentence"; but for evidence of kernels, which is
  // the committed files' to have (ctest `doctor`) and nobody's who has no GPU to mend.
  std::vector<std::string> faults() const {
    std::vector<std::string> result;
    for (const Finding& finding : examine(SourceTree(folder_), some_verbs, today)) {
      if (finding.check == "evidence" && !finding.operator_name.empty()) continue;
      for (const std::string& sentence : finding.missing)
        result.push_back(fmt::format("{}/{}: {}", finding.check, finding.operator_name, sentence));
    }
    return result;
  }
  // One thing is wrong, and it is this.
  void expect_fault(const std::string& where, const std::vector<std::string>& words) const {
    const std::vector<std::string> found = faults();
    ASSERT_EQ(found.size(), 1u) << fmt::format("{}", fmt::join(found, "\n"));
    EXPECT_TRUE(found[0].starts_with(where + ": ")) << found[0];
    for (const std::string& word : words) expect_contains(found[0], word);
  }

  Ended doctor(const std::string& options = "") const {
    return groundstate("doctor " + options, fmt::format("cd '{}' &&", folder_.string()));
  }
};

TEST_F(Doctor, ACleanTreeHasNoFaultAndEveryCheckOfEveryOperator) {
  EXPECT_EQ(faults(), std::vector<std::string>{});
  std::vector<std::string> seen;
  for (const Finding& finding : examine(SourceTree(folder_), some_verbs, today)) {
    EXPECT_FALSE(finding.note.empty()) << finding.check;
    seen.push_back(finding.check + "/" + finding.operator_name);
  }
  for (const char* const check :
       {"paths", "hard inputs", "bitwise pairs", "goldens", "evidence", "README", "tests"})
    for (const auto& op : operators())
      EXPECT_EQ(std::ranges::count(seen, check + ("/" + op->grammar().operator_name)), 1) << check;
}

// ---- hard inputs

TEST_F(Doctor, ARegimeThatNoLineUsesIsMissing) {
  replace("data/decayed_sum.cases",
          "decayed_sum T=100 V=16 gate=near_one,medium,fast,floor,dense,closed",
          "decayed_sum T=100 V=16 gate=medium,floor,dense,closed");
  expect_fault("hard inputs/decayed_sum", {"no case has gate=near_one,fast"});
}

TEST_F(Doctor, ARegimeWithoutEffectIsMissing) {
  replace("data/decayed_sum.cases", "gate=reset,underflow state=random dht", "gate=underflow dht");
  append("data/decayed_sum.cases",
         "decayed_sum.backward T=30 gate=reset | too short for a reset\n");
  expect_fault("hard inputs/decayed_sum.backward", {"gate=reset", "another gate"});
}

TEST_F(Doctor, ALineWithoutAReasonIsNamed) {
  write("data/decayed_sum_backward.cases", "decayed_sum.backward T=3\n");
  const std::vector<std::string> found = faults();
  EXPECT_EQ(
      std::ranges::count_if(found,
                            [](const std::string& fault) {
                              return fault.starts_with("hard inputs/decayed_sum.backward: ") &&
                                     fault.find("_backward.cases:1") != fault.npos;
                            }),
      1)
      << fmt::format("{}", fmt::join(found, "\n"));
}

TEST_F(Doctor, ALineWhoseKeysContradictEachOtherIsNamed) {
  append("data/simple_gla.cases", "simple_gla H=2 HV=3 | no group\n");
  expect_fault("hard inputs/simple_gla", {"simple_gla.cases:", "HV=3"});
}

TEST_F(Doctor, AnExpiredRaisedLimitIsNamedOnceForItsSweep) {
  append("data/simple_gla.cases", R"(simple_gla T=11,12 | two lengths
    | raise chunked/A.max x2 until 2026-06-30: to be mended
    | raise fused/A.max x2 until 2026-07-01: holds today
)");
  expect_fault("hard inputs/simple_gla", {"chunked/A.max", "expired"});
}

TEST_F(Doctor, ARaisedLimitOfAPathThatIsGoneIsNamed) {
  append("data/simple_gla.cases",
         "simple_gla T=11 | short | raise fussed/A.max x2 until 2030-01-01: to be mended\n");
  expect_fault("hard inputs/simple_gla", {"fussed", "did you mean 'fused'"});
}

TEST_F(Doctor, AListThatIsMissingLeavesNothingReached) {
  fs::remove(folder_ / "data/simple_gla_backward.cases");
  std::vector<std::string> found = faults();
  const std::string wanted =
      "hard inputs/simple_gla.backward: data/simple_gla.cases has no case of simple_gla.backward";
  EXPECT_EQ(std::ranges::count(found, wanted), 1);
  for (const std::string& fault : found)
    EXPECT_NE(fault.find("/simple_gla.backward: "), std::string::npos) << fault;
  fs::remove(folder_ / "data/simple_gla.cases");
  found = faults();
  EXPECT_EQ(std::ranges::count(found, "hard inputs/simple_gla: data/simple_gla.cases is missing"),
            1);
}

// ---- paths and pairs

TEST_F(Doctor, APathThatNoHardInputCanRunIsNamed) {
  std::istringstream lines(bytes_of(path("data/simple_gla.cases")));
  write("data/simple_gla.cases",
        "simple_gla T=20000 H=1 K=8 V=8 | too long for the quadratic form\n");
  const std::vector<std::string> found = faults();
  EXPECT_EQ(std::ranges::count(found, "paths/simple_gla: no hard input runs parallel by default"),
            1);
  for (const std::string& fault : found)
    EXPECT_TRUE(fault.find("parallel") != fault.npos || fault.starts_with("hard inputs/")) << fault;
}

// simple_gla, which declares something else: what no tree can be made to hold.
// An operator whose oracle nobody bounds.
class Uncertified : public FaultyOperator {
 public:
  Uncertified() : FaultyOperator(operator_of(parse_case("simple_gla.backward", grammars()))) {}
  PairOutputs extended_oracle(const Case&, const Tensors&, const Pair&) const override {
    return {};
  }
  std::optional<AdjointIdentity> adjoint_identity(const Case&, const Tensors&,
                                                  const Pair&) const override {
    return std::nullopt;
  }
};

class Misdeclared : public FaultyOperator {
 public:
  Misdeclared() : FaultyOperator(operator_of(parse_case("simple_gla", grammars()))) {}

  std::vector<EqualVariants> declared_pairs;
  std::vector<std::string> variants{"recurrent",     "step",       "scan",
                                    "hillis_steele", "chunk_scan", "chunked",
                                    "fused",         "segmented",  "parallel"};
  std::vector<KeyValueHelp> declared_regimes;

  std::vector<KeyValueHelp> regimes() const override { return declared_regimes; }
  std::vector<EqualVariants> equal_variants() const override { return declared_pairs; }
  std::vector<std::string> default_variants(const Case&) const override { return variants; }
};

HardInputs lines(const std::vector<std::string>& texts) {
  HardInputs result{"data/lines.cases", {}, {}};
  for (const std::string& text : texts)
    result.entries.push_back({parse_case(text, grammars()), "a reason", {}, "data/lines.cases:1"});
  return result;
}

void expect_missing(const Finding& finding, const std::string& words) {
  ASSERT_EQ(finding.missing.size(), 1u) << fmt::format("{}", fmt::join(finding.missing, "\n"));
  EXPECT_NE(finding.missing[0].find(words), std::string::npos) << finding.missing[0];
}

TEST(DoctorOfAnOperator, DefaultVariantsExist) {
  Misdeclared op;
  EXPECT_TRUE(check_paths(op, lines({"simple_gla T=9"})).ok());
  op.variants.push_back("chunked:quarter");
  expect_missing(check_paths(op, lines({"simple_gla T=9", "simple_gla T=10"})), "quarter");
  op.variants.back() = "chunkt";
  expect_missing(check_paths(op, lines({"simple_gla T=9"})), "did you mean 'chunked'");
}

TEST(DoctorOfAnOperator, EveryPathIsRunByDefault) {
  Misdeclared op;
  std::erase(op.variants, "scan");
  expect_missing(check_paths(op, lines({"simple_gla T=9"})), "no hard input runs scan");
}

TEST(DoctorOfAnOperator, VariantsWithoutAPairAreReported) {
  Misdeclared op;
  expect_missing(check_bitwise_pairs(op, lines({"simple_gla T=9"})), "no two are declared equal");
}

TEST(DoctorOfAnOperator, APairExistsAndIsRun) {
  Misdeclared op;
  op.declared_pairs = {{"one", "chunked", "fused", "the same"}};
  EXPECT_TRUE(check_bitwise_pairs(op, lines({"simple_gla T=9"})).ok());
  expect_missing(check_bitwise_pairs(op, lines({})), "chunked = fused: no hard input runs both");
  op.declared_pairs = {{"one", "chunked", "parallel", "the same"}};
  expect_missing(check_bitwise_pairs(op, lines({"simple_gla T=20000 H=1"})), "runs both");
  op.declared_pairs = {{"one", "chunked", "fused[steps=2]", "the same"}};
  expect_missing(check_bitwise_pairs(op, lines({"simple_gla T=9"})), "steps");
}

TEST(DoctorOfAnOperator, AnOracleHasACertificate) {
  const HardInputs inputs = lines({"simple_gla.backward T=9", "simple_gla.backward T=3"});
  const Uncertified op;
  const Finding finding = check_certificate(op, inputs);
  ASSERT_EQ(finding.missing.size(), 2u);
  expect_contains(finding.missing[0], "nothing bounds the error of its oracle");
  expect_contains(finding.missing[1], "forward-mode derivatives");
  const Operator& own = operator_of(parse_case("simple_gla.backward", grammars()));
  EXPECT_TRUE(check_certificate(own, inputs).ok());
}

TEST(DoctorOfAnOperator, ARegimeIsOfAKey) {
  Misdeclared op;
  op.declared_regimes = {{"gait", "slow", "no such key"}};
  expect_missing(check_hard_inputs(op, lines({"simple_gla T=9"}), today), "gait");
}

TEST(TakesEffect, OnlyWhereNoOtherWordGivesTheseInputs) {
  const auto effect = [](const char* line, const char* key) {
    const Case c = parse_case(line, grammars());
    return takes_effect(operator_of(c), c, key);
  };
  EXPECT_TRUE(effect("simple_gla T=38 gate=reset", "gate"));
  EXPECT_FALSE(effect("simple_gla T=37 gate=reset", "gate"));  // the first reset is of token 37
  EXPECT_FALSE(effect("simple_gla T=38 gate=reset gate_inputs=gamma", "gate"));
  EXPECT_TRUE(effect("simple_gla T=0 gamma=alibi gate_inputs=gamma", "gamma"));
  EXPECT_FALSE(effect("simple_gla T=9 gamma=alibi", "gamma"));
  EXPECT_FALSE(effect("simple_gla T=0 values=tiny", "values"));
  EXPECT_TRUE(effect("simple_gla T=0 state=huge", "state"));
}

// ---- goldens

TEST_F(Doctor, GoldenAndQuickCasesAreTheSame) {
  append("data/quick.cases", "decayed_sum T=3 H=1 V=2 | one more\n");
  expect_fault("goldens/decayed_sum", {"lacks 'decayed_sum T=3 H=1 V=2'"});
}

TEST_F(Doctor, AGoldenOfACaseThatIsGoneIsStale) {
  replace("data/quick.cases", "simple_gla T=130 gate=dense | shows exp of masked entries\n", "");
  expect_fault("goldens/simple_gla", {"'simple_gla T=130 gate=dense'", "not in data/quick.cases"});
}

TEST_F(Doctor, AGoldenOfNoOperatorIsStale) {
  const std::string file = path("data/golden.h5");
  Golden golden = read_golden(file);
  golden.cases.push_back(golden.cases.front());
  golden.cases.back().id = "0123456789abcdef";
  golden.cases.back().operator_name = "decayed_product";
  write_golden(file, golden);
  expect_fault("goldens/", {"1 cases of 'decayed_product'"});
}

TEST_F(Doctor, AGoldenFileThatIsMissingOrDamagedIsNamed) {
  fs::remove(folder_ / "data/golden.h5");
  expect_fault("goldens/", {"golden.h5"});
  write("data/golden.h5", "no HDF5");
  expect_fault("goldens/", {"golden.h5"});
}

// ---- evidence

// The checks take any path for one on a device; here it is the recurrence of decayed_sum.
class DoctorOfEvidence : public Doctor {
 protected:
  // Records these cases of the path into data/evidence/<name>.
  void record(const std::string& name, const std::vector<std::string>& lines,
              const std::function<void(Origin&)>& change = {}) const {
    fs::create_directories(folder_ / "data/evidence");
    EvidenceWriter writer(folder_ / "data/evidence" / name, 16, false);
    Origin origin = origin_here();
    for (const std::string& text : lines) {
      RunOptions how;
      how.paths = {"recurrent"};
      how.recorded_elements = 16;
      const Case c = parse_case(text, grammars());
      writer.add(run_case(op, {c, {}, {}, {}}, how));
    }
    origin.sources[source_key("decayed_sum", "recurrent")] = source_of("decayed_sum", recurrent());
    if (change) change(origin);
    writer.commit(origin);
  }
  Path recurrent() const { return *op.path("recurrent"); }
  Finding finding(const std::vector<std::string>& lines) const {
    const EvidenceFolder evidence = read_evidence_folder(folder_ / "data/evidence");
    EXPECT_TRUE(evidence.unreadable.empty());
    std::vector<Case> cases;
    for (const std::string& text : lines) cases.push_back(parse_case(text, grammars()));
    const std::vector<Path> paths{recurrent()};
    return check_evidence(SourceTree(folder_), op, paths, cases, evidence.files);
  }

  const Operator& op = operator_of(parse_case("decayed_sum", grammars()));
};

TEST_F(DoctorOfEvidence, EveryCaseNeedsSomeThatHolds) {
  const std::vector<std::string> lines{"decayed_sum T=5", "decayed_sum T=6", "simple_gla T=7",
                                       "decayed_sum T=6", "decayed_sum T=8"};
  EXPECT_EQ(finding(lines).missing,
            (std::vector<std::string>{
                "recurrent: no evidence of 3 cases, the first is 'decayed_sum T=5'"}));
  record("a.h5", {"decayed_sum T=5", "decayed_sum T=8"});
  EXPECT_EQ(finding(lines).missing,
            (std::vector<std::string>{"recurrent: no evidence of 'decayed_sum T=6'"}));
  record("b.h5", {"decayed_sum T=6"});
  EXPECT_TRUE(finding(lines).ok());
  EXPECT_EQ(finding(lines).note, "3 results of 1 GPU paths");
}

TEST_F(DoctorOfEvidence, StaleEvidenceIsNamedWithTheFileUnlessThereIsNewer) {
  const auto older = [](Origin& origin) {
    origin.sources.begin()->second.files.at("reference/decayed_sum/recurrent.hpp").code = "0";
  };
  record("a.h5", {"decayed_sum T=5", "decayed_sum T=6"}, older);
  EXPECT_EQ(
      finding({"decayed_sum T=5", "decayed_sum T=6"}).missing,
      (std::vector<std::string>{"recurrent: STALE of 2 cases, the first is 'decayed_sum T=5': "
                                "reference/decayed_sum/recurrent.hpp has changed"}));
  record("b.h5", {"decayed_sum T=5"});
  EXPECT_EQ(finding({"decayed_sum T=5", "decayed_sum T=6"}).missing,
            (std::vector<std::string>{"recurrent: STALE of 'decayed_sum T=6': "
                                      "reference/decayed_sum/recurrent.hpp has changed"}));
}

// Digests are compared by the program, which must be of this tree.
TEST_F(DoctorOfEvidence, ASourceThatTheProgramWasNotBuiltFromIsNamed) {
  record("a.h5", {"decayed_sum T=5"});
  append("reference/decayed_sum/recurrent.hpp", "// one more comment\n");
  EXPECT_EQ(finding({"decayed_sum T=5"}).missing,
            (std::vector<std::string>{"reference/decayed_sum/recurrent.hpp is not the file that "
                                      "this program was built from; build it again"}));
}

TEST_F(DoctorOfEvidence, WithoutPathsNoneIsNeeded) {
  EXPECT_EQ(check_evidence(SourceTree(folder_), op, {}, {}, {}).note, "no GPU paths");
}

TEST_F(DoctorOfEvidence, AFileThatIsNoEvidenceIsNamed) {
  write("data/evidence/readme.txt", "not evidence");
  write("data/evidence/a.h5", "not HDF5");
  expect_fault("evidence/", {"data/evidence/a.h5: damaged or not a readable HDF5 file"});
}

// ---- README

TEST_F(Doctor, ARowThatIsMissingIsNamed) {
  replace("README.md", "| decayed_sum | scan | cpu | yes | yes | - | - | - | - | - | - |\n", "");
  expect_fault("README/decayed_sum", {"lacks the row | decayed_sum | scan |"});
}

TEST_F(Doctor, ARowThatIsStaleIsNamed) {
  replace("README.md", "<!-- /support -->", "| decayed_sum | step | cpu |\n<!-- /support -->");
  expect_fault("README/decayed_sum", {"still has the row | decayed_sum | step | cpu |"});
}

TEST_F(Doctor, ARowOfNoOperatorIsStale) {
  replace("README.md", "<!-- /support -->", "| decayed_product | step |\n<!-- /support -->");
  expect_fault("README/", {"still has the row | decayed_product | step |"});
}

TEST_F(Doctor, ARowThatIsThereTwiceIsReported) {
  const std::string row = "| decayed_sum | scan | cpu | yes | yes | - | - | - | - | - | - |\n";
  replace("README.md", row, row + row);
  expect_fault("README/decayed_sum", {"twice"});
}

TEST_F(Doctor, ATableWithoutItsMarkersIsMissing) {
  replace("README.md", "<!-- support -->", "");
  expect_fault("README/", {"markers"});
}

TEST_F(Doctor, AVerbThatTheReadmeDoesNotNameIsMissing) {
  replace("README.md", "groundstate list", "groundstate list-all");
  expect_fault("README/", {"'groundstate list'"});
}

TEST_F(Doctor, NoReadme) {
  fs::remove(folder_ / "README.md");
  expect_fault("README/", {"README.md is missing"});
}

// ---- tests

TEST_F(Doctor, AnOperatorWithoutTestsIsReportedForBothDirections) {
  fs::remove(folder_ / "tests/reference/decayed_sum_test.cpp");
  EXPECT_EQ(faults(), (std::vector<std::string>{
                          "tests/decayed_sum: there is no tests/reference/decayed_sum_*test.cpp",
                          "tests/decayed_sum.backward: there is no "
                          "tests/reference/decayed_sum_*test.cpp"}));
}

TEST_F(Doctor, TestsOfTheForwardAreNoTestsOfTheBackward) {
  write("tests/reference/decayed_sum_test.cpp", "// forward only\n");
  expect_fault("tests/decayed_sum.backward", {"speaks of its backward"});
}

// ---- the verb

TEST_F(Doctor, EndsWithTheCodeOfWhatItFound) {
  const Ended clean = doctor();
  EXPECT_EQ(clean.code, clean.text.find("MISSING") == clean.text.npos ? 0 : 1) << clean.text;
  expect_contains(clean.text, "ok       tests          decayed_sum");
  fs::remove(folder_ / "tests/reference/decayed_sum_test.cpp");
  const Ended faulty = doctor();
  EXPECT_EQ(faulty.code, 1);
  expect_contains(faulty.text, "MISSING  tests          decayed_sum ");
  expect_contains(faulty.text, "MISSING  tests          decayed_sum.backward ");
  EXPECT_EQ(groundstate("doctor", fmt::format("cd '{}' &&", path("data"))).code, 2);
}

TEST_F(Doctor, JsonHasOneObjectACheckAndOperator) {
  fs::remove(folder_ / "tests/reference/decayed_sum_test.cpp");
  const Ended ended = doctor("--json");
  EXPECT_EQ(ended.code, 1);
  std::istringstream stream(ended.text);
  std::size_t objects = 0, faulty = 0;
  for (std::string line; std::getline(stream, line); ++objects) {
    const auto object = nlohmann::json::parse(line);
    EXPECT_EQ(object.at("schema"), 1);
    EXPECT_TRUE(object.at("operator").is_string() || object.at("operator").is_null());
    EXPECT_EQ(object.at("status") == "ok", object.at("missing").empty()) << line;
    if (object.at("check") == "tests" && object.at("status") == "missing") ++faulty;
  }
  EXPECT_EQ(faulty, 2u);
  EXPECT_GT(objects, 7 * operators().size() - 1);
}

TEST(DoctorOfATree, NeedsARoot) {
  EXPECT_THROW(SourceTree("tests"), UsageError);
  EXPECT_NO_THROW(SourceTree());
}

}  // namespace
}  // namespace groundstate::harness
