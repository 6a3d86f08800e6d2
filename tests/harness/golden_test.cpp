// Goldens: a change of any bit is seen and named, another libm is forgiven what it may do, and
// nothing is overwritten unseen.
#include "harness/golden/golden.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <iterator>
#include <limits>
#include <set>
#include <string>

#include "harness/case/case_file.hpp"
#include "harness/operators/registry.hpp"
#include "tests/harness/expect_contains.hpp"
#include "tests/harness/program.hpp"
#include "tests/harness/temporary_folder.hpp"

namespace groundstate::harness {
namespace {

namespace fs = std::filesystem;

constexpr const char* first_line = "simple_gla T=70 H=1 K=8 V=8 state=random state_layout=vk";
constexpr const char* second_line = "decayed_sum.backward T=9 H=1 V=3";

class Goldens : public TemporaryFolder {
 protected:
  static Golden small() {
    Golden golden{libm_name(), {}};
    for (const char* const line : {first_line, second_line})
      golden.cases.push_back(compute_golden(parse_case(line, grammars())));
    return golden;
  }

  // How verification of the golden ends after `change`.
  Ended verify(const std::function<void(Golden&)>& change, const std::string& options = "") const {
    Golden golden = small();
    change(golden);
    write_golden(path("changed.h5"), golden);
    return groundstate(fmt::format("golden verify '{}' {}", path("changed.h5"), options));
  }

  static GoldenTensor& tensor(Golden& golden, std::string_view name) {
    return *std::ranges::find(golden.cases[0].tensors, name, &GoldenTensor::name);
  }
};

TEST(CommittedGoldens, AreOfTheQuickCasesAndOfNoOther) {
  std::set<std::string> golden, quick;
  for (const GoldenCase& own : read_golden("data/golden.h5").cases) golden.insert(own.text);
  for (const CaseEntry& entry : read_case_file("data/quick.cases", grammars()))
    quick.insert(entry.value.canonical());
  EXPECT_EQ(golden, quick) << "groundstate golden update";
}

TEST(CommittedGoldens, AreWhatThisTreeComputes) {
  const Ended end = groundstate("golden verify");
  EXPECT_EQ(end.code, 0) << end.text;
}

TEST_F(Goldens, OfTheSameCasesAreTheSameBytes) {
  Golden golden = small();
  write_golden(path("a.h5"), golden);
  golden = small();
  std::swap(golden.cases[0], golden.cases[1]);
  write_golden(path("b.h5"), golden);
  EXPECT_EQ(bytes_of(path("a.h5")), bytes_of(path("b.h5")));
}

TEST_F(Goldens, ComeBackAsTheyWereWritten) {
  const Golden golden = small();
  write_golden(path("a.h5"), golden);
  const Golden back = read_golden(path("a.h5"));
  EXPECT_EQ(back.libm, libm_name());
  ASSERT_EQ(back.cases.size(), 2u);
  for (const GoldenCase& own : golden.cases) {
    const auto same = std::ranges::find(back.cases, own.id, &GoldenCase::id);
    ASSERT_NE(same, back.cases.end());
    EXPECT_EQ(same->text, own.text);
    EXPECT_TRUE(differences(*same, own).empty());
  }
}

TEST_F(Goldens, UnchangedPass) {
  const Ended end = verify([](Golden&) {});
  EXPECT_EQ(end.code, 0);
  expect_contains(end.text, "PASSED  simple_gla T=70 H=1 K=8 V=8 state=random state_layout=vk  [");
  expect_contains(end.text, "2 cases: 2 the same bits, 0 within the bound, 0 failed\n");
}

TEST_F(Goldens, AChangedElementIsNamedWithBothValues) {
  std::string expected;
  const Ended end = verify([&](Golden& golden) {
    double& last = tensor(golden, "oracle/o").values.back();
    const double now = last;
    last = std::nextafter(last, std::numeric_limits<double>::infinity());
    expected = fmt::format(
        "first at batch=0 time=69 value_head=0 value=7: golden {0:a} ({0:.17g}), now {1:a} "
        "({1:.17g})",
        last, now);
  });
  EXPECT_EQ(end.code, 1);
  expect_contains(end.text, "FAILED  simple_gla T=70");
  expect_contains(end.text, "    oracle/o: 1 of 64 sampled elements differ, by at most ");
  expect_contains(end.text, expected);
  expect_contains(end.text, "1 the same bits, 0 within the bound, 1 failed\n");
}

TEST_F(Goldens, TheFirstSampledElementIsTheFirstOfTheTensor) {
  const Ended end = verify([](Golden& golden) { tensor(golden, "oracle/ht").values[0] += 1; });
  expect_contains(end.text, "oracle/ht: 1 of 64 sampled elements differ");
  expect_contains(end.text, "first at sequence=0 value_head=0 key=0 value=0: golden");
}

TEST_F(Goldens, AChangeBesideTheSampleIsSeenByTheDigest) {
  const Ended end = verify([](Golden& golden) {
    char& digit = tensor(golden, "oracle/ht").sha256[5];
    digit = digit == '0' ? '1' : '0';
  });
  EXPECT_EQ(end.code, 1);
  expect_contains(end.text, "    oracle/ht: no sampled element differs, but SHA-256 is ");
}

TEST_F(Goldens, AChangedInputFailsWhateverTheLibm) {
  for (const char* const libm : {"", "another libm"}) {
    const Ended end = verify([&](Golden& golden) {
      if (*libm != '\0') golden.libm = libm;
      double& value = tensor(golden, "inputs/k").values[3];
      value = std::nextafter(value, 9);
    });
    EXPECT_EQ(end.code, 1) << libm;
    expect_contains(end.text, "    inputs/k: 1 of 64 sampled elements differ, by at most ");
    expect_contains(end.text, "; first at batch=0 time=");
  }
}

TEST_F(Goldens, AnotherLibmIsForgivenWhatIsWithinTheBound) {
  const Ended end = verify([](Golden& golden) {
    golden.libm = "another libm";
    GoldenTensor& o = tensor(golden, "oracle/o");
    o.sha256.assign(64, '0');
    for (std::size_t i = 0; i < o.values.size(); ++i) o.values[i] += 20 * o.units[i];
  });
  EXPECT_EQ(end.code, 0);
  expect_contains(end.text, "PASSED  simple_gla T=70");
  expect_contains(end.text, "    oracle/o: within the bound: 64 of 64 sampled elements differ");
  expect_contains(end.text,
                  "1 the same bits, 1 within the bound, 0 failed; made with another libm");
}

TEST_F(Goldens, AnotherLibmIsNotForgivenMore) {
  const Ended end = verify([](Golden& golden) {
    golden.libm = "another libm";
    GoldenTensor& o = tensor(golden, "oracle/o");
    o.values[10] += 31 * o.units[10];
  });
  EXPECT_EQ(end.code, 1);
  expect_contains(end.text, "    oracle/o: 1 of 64 sampled elements differ");
}

TEST_F(Goldens, AUnitThatIsNoNumberForgivesNothing) {
  const Ended end = verify([](Golden& golden) {
    golden.libm = "another libm";
    GoldenTensor& o = tensor(golden, "oracle/o");
    o.units[10] = std::numeric_limits<double>::quiet_NaN();
    o.values[10] = std::nextafter(o.values[10], 9);
  });
  EXPECT_EQ(end.code, 1);
}

TEST_F(Goldens, AnotherShapeTypeOrSetOfTensorsIsNamed) {
  const Ended end = verify([](Golden& golden) {
    tensor(golden, "inputs/q").shape = "batch=1 time=71 head=1 key=8";
    tensor(golden, "inputs/v").type = "fp32";
    tensor(golden, "oracle/o").values.pop_back();
    tensor(golden, "oracle/o").units.pop_back();
    tensor(golden, "inputs/k").name = "inputs/kk";
  });
  EXPECT_EQ(end.code, 1);
  for (const char* const part :
       {"inputs/q: the shape was batch=1 time=71 head=1 key=8, is batch=1",
        "inputs/v: the elements were fp32, are bf16", "oracle/o: 63 elements were sampled, 64 are",
        "inputs/k: the golden has no such tensor", "inputs/kk: the case has no such tensor"})
    expect_contains(end.text, part);
}

TEST_F(Goldens, JsonHasAnObjectForEachCase) {
  const Ended end =
      verify([](Golden& golden) { tensor(golden, "oracle/o").values[0] += 1; }, "--json");
  EXPECT_EQ(end.code, 1);
  EXPECT_EQ(std::ranges::count(end.text, '\n'), 2);
  for (const char* const part :
       {R"("status":"FAILED")", R"("status":"PASSED")", R"("tensors":{"oracle/o":{)",
        R"("at":"batch=0 time=0 value_head=0 value=0")", R"("bitwise":true)"})
    expect_contains(end.text, part);
}

TEST_F(Goldens, WhatIsNoGoldenIsOneMessage) {
  const auto expect_refused = [&](const Ended& end, const std::string& reason) {
    EXPECT_EQ(end.code, 2) << end.text;
    EXPECT_EQ(std::ranges::count(end.text, '\n'), 1) << end.text;
    expect_contains(end.text, reason);
  };
  expect_refused(groundstate(fmt::format("golden verify '{}'", path("none.h5"))), "No such file");
  ASSERT_EQ(groundstate(fmt::format("generate '{}' -o '{}'", second_line, path("case.h5"))).code,
            0);
  expect_refused(groundstate(fmt::format("golden verify '{}'", path("case.h5"))),
                 "case.h5: not a golden file");
  write_golden(path("a.h5"), small());
  const std::string bytes = bytes_of(path("a.h5"));
  write("short.h5", bytes.substr(0, bytes.size() / 2));
  // The whole one first: every file is read before a case of any is computed.
  expect_refused(
      groundstate(fmt::format("golden verify '{}' '{}'", path("a.h5"), path("short.h5"))),
      "short.h5: damaged or not a readable HDF5 file");
  expect_refused(verify([](Golden& golden) { golden.cases[0].text = "simple_gla colour=red"; }),
                 "simple_gla has no key 'colour'");
  expect_refused(verify([](Golden& golden) { golden.cases[0].text = "simple_gla T=71"; }),
                 "not what the group says");
  expect_refused(verify([](Golden& golden) { golden.cases[0].tensors.clear(); }),
                 "holds no golden");
  expect_refused(verify([](Golden& golden) { golden.cases.clear(); }), "holds no golden");
  expect_refused(verify([](Golden& golden) { tensor(golden, "inputs/k").values.resize(65); }),
                 "/inputs/k: a golden has at most 64 fp64 here");
  expect_refused(groundstate("golden"), "accepted: verify update");
}

// A git tree with cases.cases committed, if there is a git.
class Tree : public Goldens {
 protected:
  void SetUp() override {
    if (shell("git --version").code != 0) GTEST_SKIP() << "needs git";
    put_cases({first_line});
    git("init -q .");
    commit();
  }
  // Not the tree of whoever runs the tests, which a hook of git names by variables.
  void git(const std::string& arguments) const {
    const Ended end = shell(fmt::format(
        "cd '{}' && env -u GIT_DIR -u GIT_WORK_TREE -u GIT_INDEX_FILE git -c user.name=A "
        "-c user.email=a@example.org {}",
        folder_.string(), arguments));
    ASSERT_EQ(end.code, 0) << end.text;
  }
  void commit() const {
    git("add .");
    git("commit -q -m test");
  }
  void put_cases(const std::vector<std::string>& lines) const {
    std::string text;
    for (const std::string& line : lines) text += line + " | for the test\n";
    write("cases.cases", text);
  }
  Ended update(const std::string& options = "") const {
    return groundstate(fmt::format("golden update '{}' --cases '{}' {}", path("golden.h5"),
                                   path("cases.cases"), options));
  }
};

TEST_F(Tree, AnUpdateMakesTheFileOnceAndThenLeavesItAlone) {
  Ended end = update();
  EXPECT_EQ(end.code, 0) << end.text;
  expect_contains(end.text, "NEW      simple_gla T=70");
  expect_contains(end.text, "1 cases, 1 of them new, gone or changed; written\n");
  const std::string bytes = bytes_of(path("golden.h5"));
  const auto time = fs::last_write_time(path("golden.h5"));
  commit();
  end = update();
  EXPECT_EQ(end.code, 0) << end.text;
  expect_contains(end.text, "0 of them new, gone or changed; left as it is\n");
  EXPECT_EQ(fs::last_write_time(path("golden.h5")), time);
  fs::remove(path("golden.h5"));
  EXPECT_EQ(update().code, 0) << "the golden itself may be changed";
  EXPECT_EQ(bytes_of(path("golden.h5")), bytes);
}

TEST_F(Tree, AnUpdateShowsWhatIsNewGoneAndChanged) {
  Golden golden = small();
  tensor(golden, "oracle/o").values[0] += 1;
  tensor(golden, "oracle/ht").units[0] *= 2;
  golden.libm = "another libm";
  write_golden(path("golden.h5"), golden);
  put_cases({first_line, "decayed_sum T=5"});
  commit();
  const std::string before = bytes_of(path("golden.h5"));
  const Ended dry = update("--dry-run");
  EXPECT_EQ(dry.code, 0);
  for (const char* const part :
       {"CHANGED  simple_gla T=70", "NEW      decayed_sum T=5", "GONE     decayed_sum.backward",
        "    oracle/o: 1 of 64 sampled elements differ, by at most 1 (",
        "    oracle/ht: the same elements, in other units", "libm: was another libm, is glibc",
        "not written (--dry-run)"})
    expect_contains(dry.text, part);
  EXPECT_EQ(bytes_of(path("golden.h5")), before);
  EXPECT_EQ(update().code, 0);
  const Ended end = groundstate(fmt::format("golden verify '{}'", path("golden.h5")));
  EXPECT_EQ(end.code, 0);
  expect_contains(end.text, "2 cases: 2 the same bits");
}

TEST_F(Tree, ThatIsNotCleanIsRefusedAndNothingIsWritten) {
  write("a b'$(x).txt", "1");
  commit();
  write("untracked.txt", "1");
  write("a b'$(x).txt", "2");
  Ended end = update();
  EXPECT_EQ(end.code, 2);
  expect_contains(end.text, "golden.h5: is only updated in a clean tree; not committed: a b'$(x)");
  EXPECT_EQ(std::ranges::count(end.text, '\n'), 1) << end.text;
  EXPECT_FALSE(fs::exists(path("golden.h5")));
  EXPECT_EQ(update("--dry-run").code, 0);
  EXPECT_FALSE(fs::exists(path("golden.h5")));
  commit();
  git("mv untracked.txt renamed.txt");
  end = update();
  EXPECT_EQ(end.code, 2);
  expect_contains(end.text, "not committed: renamed.txt\n");
}

TEST_F(Tree, ThatIsNoneIsRefusedAndNothingIsWritten) {
  fs::remove_all(path(".git"));
  Ended end = update();
  EXPECT_EQ(end.code, 2);
  expect_contains(end.text, "not a git repository");
  fs::create_directory(path("empty"));
  end = groundstate(fmt::format("golden update '{}'", path("golden.h5")),
                    fmt::format("PATH='{}'", path("empty")));
  EXPECT_EQ(end.code, 2);
  expect_contains(end.text, "git cannot be run: No such file or directory");
  EXPECT_FALSE(fs::exists(path("golden.h5")));
}

TEST_F(Tree, AFileThatIsNoGoldenIsNotReplaced) {
  write("golden.h5", "mine");
  const Ended end = update();
  EXPECT_EQ(end.code, 2);
  expect_contains(end.text, "golden.h5: damaged or not a readable HDF5 file");
  EXPECT_EQ(bytes_of(path("golden.h5")), "mine");
}

}  // namespace
}  // namespace groundstate::harness
