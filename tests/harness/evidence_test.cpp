// Evidence: what is recorded comes back and is judged as it was; what was changed since, in the
// file or in the tree, is said in words. All of it with paths of the CPU, which no machine lacks.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "harness/case/error.hpp"
#include "harness/case/sha256.hpp"
#include "harness/evidence/coverage.hpp"
#include "harness/evidence/judge_evidence.hpp"
#include "harness/generate/tensor_digest.hpp"
#include "harness/operators/registry.hpp"
#include "harness/report/documents.hpp"
#include "harness/run/guarded.hpp"
#include "harness/run/outputs.hpp"
#include "harness/run/run_case.hpp"
#include "tests/harness/expect_contains.hpp"
#include "tests/harness/program.hpp"
#include "tests/harness/temporary_folder.hpp"

namespace groundstate::harness {
namespace {

constexpr const char* line =
    "simple_gla B=2 T=70 H=3 K=16 V=24 dtype=fp32 gate=medium state=random";
const std::vector<std::string> paths{"recurrent:single", "step:single", "chunked:single"};

Case case_from(std::string_view text) { return parse_case(text, grammars()); }

CaseReport recorded(std::string_view text, const std::vector<std::string>& variants,
                    Index elements = kept_elements) {
  const Case c = case_from(text);
  RunOptions how;
  how.paths = variants;
  how.recorded_elements = elements;
  return run_case(operator_of(c), {c, {}, {}, {}}, how);
}

// Of `line` and `paths`, run once.
const CaseReport& report_of_line() {
  static const CaseReport report = recorded(line, paths);
  return report;
}

// The sources of the paths of a report, as the program has them.
Origin origin_of(const CaseReport& report) {
  Origin origin{"2026-11-22", "580.159.04", "CUDA 13.0.88", {}};
  const Operator& op = operator_of(case_from(report.case_text));
  for (const Result& result : report.results) {
    const Path& path = *op.path(checked_variant(op, result.path).path);
    origin.sources[source_key(report.operator_name, path.name)] =
        source_of(report.operator_name, path);
  }
  return origin;
}

class Evidences : public TemporaryFolder {
 protected:
  std::string written(const CaseReport& report, const Origin& origin,
                      const std::string& name = "evidence.h5", Index elements = kept_elements,
                      bool pictures = true) const {
    EvidenceWriter writer(path(name), elements, pictures);
    writer.add(report);
    writer.commit(origin);
    return path(name);
  }
  std::string written(const CaseReport& report) const { return written(report, origin_of(report)); }

  static JudgedCase judged(const std::string& file) {
    const Evidence evidence = read_evidence(file);
    return judge_evidence(evidence, evidence.cases.at(0), case_of(evidence, evidence.cases.at(0)));
  }
  JudgedCase judged(const CaseReport& report) const { return judged(written(report)); }

  // The result of this path is FAILED, the others are not, and the first reason has the words.
  static void expect_failed(const JudgedCase& own, std::string_view failed,
                            const std::vector<std::string>& words) {
    EXPECT_TRUE(own.failed());
    for (const JudgedResult& result : own.results) {
      ASSERT_EQ(result.status == Status::failed, result.path == failed) << result.path;
      ASSERT_EQ(result.problems.empty(), result.path != failed) << result.problems.front();
      if (result.path != failed) continue;
      for (const std::string& word : words) expect_contains(result.problems.front(), word);
    }
  }

  static Result& result(CaseReport& report, std::string_view name) {
    return *std::ranges::find(report.results, name, &Result::path);
  }
  static RecordedOutput& output(CaseReport& report, std::string_view name,
                                std::string_view tensor) {
    return *std::ranges::find(result(report, name).recorded, tensor, &RecordedOutput::name);
  }
};

// What is kept of it has no element, and not its shape.
TEST_F(Evidences, AnOutputWithoutRowsIsJudgedByAnyNumberOfElements) {
  for (const Index elements : {Index{1}, kept_elements}) {
    const CaseReport report = recorded("simple_gla T=0 state=random", {"chunked:single"}, elements);
    EXPECT_FALSE(judged(written(report, origin_of(report), "evidence.h5", elements)).failed());
  }
}

// ---- the part that is kept

const std::vector<std::string> shapes{line,
                                      "simple_gla T=1 B=4 state=random",
                                      "simple_gla T=0 state=random",
                                      "simple_gla lengths=0+5+0 state=random",
                                      "simple_gla.backward H=2 HV=6 K=8 V=5 lengths=9+0+17+4 "
                                      "gate_inputs=both state=random dht=random",
                                      "decayed_sum.backward T=9 H=1 V=3"};

struct Sampled {
  explicit Sampled(const std::string& text, Index elements)
      : c(case_from(text)),
        op(operator_of(c)),
        specs(op.outputs(c)),
        pairs(op.pairs(c, generate(op.inputs(c)))),
        sample(specs, pairs, static_cast<std::uint64_t>(c.integer("seed")), elements) {}
  Case c;
  const Operator& op;
  std::vector<TensorSpec> specs;
  std::vector<Pair> pairs;
  OutputSample sample;
};

void expect_part_of(Index all, const std::vector<Index>& part) {
  EXPECT_TRUE(std::ranges::is_sorted(part, std::less_equal{}));
  EXPECT_TRUE(part.empty() || (part.front() >= 0 && part.back() < all));
}

TEST(OutputSamples, HaveEveryPlaceOnceKeptOrNotWithAtMostTheElementsThatWereAskedFor) {
  for (const std::string& text : shapes)
    for (const Index elements : {Index{1}, Index{40}, Index{1} << 40}) {
      const Sampled own(text, elements);
      for (std::size_t i = 0; i < own.specs.size(); ++i) {
        const Places places(own.specs[i], own.pairs);
        std::set<std::pair<Index, Index>> all, seen;
        for (const Pair& pair : own.pairs) all.insert(places.key(pair));
        for (const OutputSample::Part& part : own.sample.kept(i)) {
          const PairSlice at(own.specs[i].axes, part.pair);
          EXPECT_TRUE(seen.insert(places.key(part.pair)).second);
          expect_part_of(at.rows, part.subset.rows);
          expect_part_of(at.columns, part.subset.columns);
          const auto rows = static_cast<Index>(part.subset.rows.size()),
                     columns = static_cast<Index>(part.subset.columns.size());
          EXPECT_EQ(part.subset.length, at.rows);
          EXPECT_GE(columns, 1);
          EXPECT_LE(rows * columns, elements) << text;
          EXPECT_TRUE(columns == at.columns || (columns + 1) * std::max<Index>(rows, 1) > elements);
          EXPECT_TRUE(rows == at.rows || rows == elements);
          if (rows < 2) continue;
          EXPECT_EQ(part.subset.rows.front(), 0);
          EXPECT_EQ(part.subset.rows.back(), at.rows - 1);
        }
        EXPECT_LE(own.sample.kept(i).size(), kept_pairs);
        for (const Pair& pair : own.sample.others(i))
          EXPECT_TRUE(seen.insert(places.key(pair)).second);
        EXPECT_EQ(seen, all) << text;
      }
    }
}

// Two pairs; of a gradient that all sequences or the heads of a group share, all of those.
TEST(OutputSamples, NeedThePairsThatContributeToWhatIsKept) {
  const Sampled plain(line, 1);
  EXPECT_EQ(std::ranges::count(plain.sample.contributors(), true), 2);
  const Sampled shared(shapes[4], 1);
  for (std::size_t i = 0; i < shared.specs.size(); ++i) {
    const Places places(shared.specs[i], shared.pairs);
    for (const OutputSample::Part& part : shared.sample.kept(i))
      for (std::size_t p = 0; p < shared.pairs.size(); ++p)
        EXPECT_TRUE(places.key(shared.pairs[p]) != places.key(part.pair) ||
                    shared.sample.contributors()[p]);
  }
}

TEST(OutputSamples, PreferPairsWithTokens) {
  const Sampled own("simple_gla H=1 lengths=0+0+0+0+0+0+5+0+0+0+6", 1);
  ASSERT_EQ(own.sample.kept(0).size(), 2u);
  for (const OutputSample::Part& part : own.sample.kept(0)) EXPECT_GT(part.pair.length, 0);
}

TEST(OutputSamples, FollowTheSeed) {
  std::set<std::vector<Index>> columns;
  for (const char* const seed : {"1", "1", "2", "3", "4"})
    columns.insert(Sampled(fmt::format("simple_gla V=1000 seed={}", seed), 256)
                       .sample.kept(0)[0]
                       .subset.columns);
  EXPECT_EQ(columns.size(), 4u);
}

// ---- the file

TEST_F(Evidences, ComesBackAsItWasWritten) {
  const CaseReport report = report_of_line();
  const Origin origin = origin_of(report);
  const Evidence evidence = read_evidence(written(report));
  EXPECT_EQ(evidence.origin.date, "2026-11-22");
  EXPECT_EQ(evidence.origin.driver, "580.159.04");
  EXPECT_EQ(evidence.origin.toolkit, "CUDA 13.0.88");
  EXPECT_EQ(evidence.device(), "cpu");
  for (const auto& [key, source] : origin.sources)
    EXPECT_EQ(evidence.origin.sources.at(key).sha256(), source.sha256());
  ASSERT_EQ(evidence.cases.size(), 1u);
  const EvidenceCase& own = evidence.cases[0];
  EXPECT_EQ(own.text, report.case_text);
  EXPECT_EQ(own.id, report.id);
  EXPECT_EQ(own.contracts.size(), report.equalities.size());
  EXPECT_TRUE(evidence.damage.empty() && own.damage.empty());
  ASSERT_EQ(own.results.size(), report.results.size());
  for (std::size_t r = 0; r < own.results.size(); ++r) {
    const EvidenceResult& result = own.results[r];
    const Result& before = report.results[r];
    EXPECT_EQ(result.path, before.path);
    EXPECT_EQ(result.status, before.status);
    EXPECT_TRUE(result.damage.empty());
    for (const TensorVerdict& tensor : before.verdict.tensors)
      for (const Clause& clause : tensor.clauses)
        if (clause.applicable) {
          EXPECT_EQ(result.tensors.at(tensor.tensor).clauses.at(clause.name).value, clause.value);
        }
    ASSERT_EQ(result.outputs.size(), before.recorded.size());
    for (const RecordedOutput& output : result.outputs) {
      const auto same = std::ranges::find(before.recorded, output.name, &RecordedOutput::name);
      EXPECT_EQ(output.type, same->type);
      EXPECT_EQ(output.shape, same->shape);
      EXPECT_EQ(output.sha256, same->sha256);
      EXPECT_EQ(output.elements, same->elements);
      ASSERT_EQ(output.moments.size(), same->moments.size());
      for (std::size_t i = 0; i < output.moments.size(); ++i)
        for (std::size_t w = 0; w < output.moments[i].size(); ++w)
          EXPECT_EQ(output.moments[i][w].rms, same->moments[i][w].rms);
    }
  }
}

TEST_F(Evidences, WithoutPicturesAreSmallerAndFareTheSame) {
  const CaseReport report = report_of_line();
  const std::string with = written(report, origin_of(report), "with.h5"),
                    without =
                        written(report, origin_of(report), "without.h5", kept_elements, false);
  EXPECT_LT(std::filesystem::file_size(without), std::filesystem::file_size(with));
  EXPECT_EQ(read_evidence(without).cases.at(0).text, report.case_text);
  EXPECT_FALSE(judged(without).failed());
}

TEST_F(Evidences, OfTheSameContentAreTheSameBytes) {
  const CaseReport report = report_of_line();
  const Origin origin = origin_of(report);
  EXPECT_EQ(bytes_of(written(report, origin, "a.h5")), bytes_of(written(report, origin, "b.h5")));
}

// A digest is of all of an output, the elements are the tensor's at their coordinates.
TEST_F(Evidences, HoldsWhatThePathsGave) {
  const Case c = case_from(line);
  const Operator& op = operator_of(c);
  const Tensors inputs = generate(op.inputs(c));
  const PathVariant variant = checked_variant(op, "chunked:single");
  GuardedTensors outputs(stored_outputs(op, c, variant));
  op.run(c, variant, inputs, outputs.tensors());
  const Evidence evidence = read_evidence(written(report_of_line()));
  const EvidenceResult& result = evidence.cases[0].results[2];
  const Sampled own(line, kept_elements);
  for (std::size_t i = 0; i < own.specs.size(); ++i) {
    const Tensor& tensor = *find(outputs.tensors(), own.specs[i].name);
    const RecordedOutput& output =
        *std::ranges::find(result.outputs, tensor.name(), &RecordedOutput::name);
    EXPECT_EQ(output.sha256, sha256_of(tensor));
    auto element = output.elements.begin();
    for (const OutputSample::Part& part : own.sample.kept(i)) {
      const PairSlice at(tensor, part.pair);
      for (const Index row : part.subset.rows)
        for (const Index column : part.subset.columns)
          EXPECT_EQ(*element++, tensor.load(at.offset(row, column)));
    }
    EXPECT_EQ(element, output.elements.end());
  }
}

TEST_F(Evidences, WithEqualBitsTakeTheRoomOfOne) {
  const auto size = [&](const std::vector<std::string>& variants) {
    RunOptions how;
    how.paths = variants;
    how.equalities = false;
    how.recorded_elements = Index{1} << 20;
    const Case c = case_from("simple_gla T=500 H=1");
    const CaseReport report = run_case(operator_of(c), {c, {}, {}, {}}, how);
    return bytes_of(written(report, {}, "size.h5", Index{1} << 20)).size();
  };
  const std::size_t one = size({"recurrent:single"});
  EXPECT_LT(size({"recurrent:single", "step:single"}), one + one / 4);
  EXPECT_GT(size({"recurrent:single", "scan:single"}), one + one / 2);
}

TEST_F(Evidences, OfWhatWasNotJudgedIsNone) {
  CaseReport report = report_of_line();
  report.results[0].status = Status::unavailable;
  report.results[1].status = Status::unsupported;
  EXPECT_EQ(read_evidence(written(report)).cases[0].results.size(), 1u);
}

// ---- judged again

TEST_F(Evidences, OfEveryShapeAndRecipePassesAsItDidInFull) {
  for (const std::string& text : shapes) {
    const CaseReport report = recorded(text, {"recurrent", "recurrent:single"});
    ASSERT_FALSE(report.failed()) << text;
    const JudgedCase own = judged(report);
    EXPECT_FALSE(own.failed()) << text;
    for (const JudgedResult& result : own.results) {
      EXPECT_TRUE(result.problems.empty()) << text << ": " << result.problems.front();
      EXPECT_EQ(result.stale, "");
      EXPECT_TRUE(result.judged);
    }
  }
  const CaseReport report = recorded("simple_gla T=200 gate=slow state=random",
                                     {"chunked:tensorcore-bf16", "fused:tensorcore-fp16",
                                      "chunked:tf32", "scan", "segmented:single"});
  EXPECT_FALSE(judged(report).failed());
}

TEST_F(Evidences, AWrongElementUnderAVerdictThatPassedIsAContradiction) {
  CaseReport report = report_of_line();
  output(report, "chunked:single", "o").elements[7] += 0.01;
  expect_failed(judged(report), "chunked:single",
                {"o: the sample contradicts the recorded PASSED: A.max", "first at b=", "got "});
}

// The columns of the finding are those of the tensor, not of the sample.
TEST_F(Evidences, AFindingHasTheCoordinatesOfTheTensor) {
  CaseReport report = report_of_line();
  const Sampled own(line, kept_elements);
  const OutputSample::Part& last = own.sample.kept(0).back();
  RecordedOutput& o = output(report, "chunked:single", "o");
  o.elements.back() += 0.01;
  expect_failed(judged(report), "chunked:single",
                {fmt::format("first at b={} t=69 h={} v={}: ", last.pair.batch,
                             last.pair.value_head, last.subset.columns.back())});
}

TEST_F(Evidences, NaNUnderAVerdictThatPassedIsAContradiction) {
  CaseReport report = report_of_line();
  output(report, "chunked:single", "ht").elements[0] = std::numeric_limits<double>::quiet_NaN();
  expect_failed(judged(report), "chunked:single", {"ht: the sample contradicts", "pattern 1 / 0"});
}

// Down a single column errors are not independent: no emulation is held against them.
TEST_F(Evidences, OfWholePairsAreHeldToTheEmulationToo) {
  const Index all = Index{1} << 20;
  RunOptions how;
  how.paths = {"chunked:single"};
  how.equalities = false;
  const Case c = case_from(line);
  const auto least_error_found = [&](Index elements) {
    how.recorded_elements = elements;
    CaseReport report = run_case(operator_of(c), {c, {}, {}, {}}, how);
    double& element = output(report, "chunked:single", "o").elements[0];
    const double honest = element;
    for (double error = 1e-7;; error *= 2) {
      element = honest + error;
      if (judged(written(report, origin_of(report), "a.h5", elements)).failed()) return error;
    }
  };
  EXPECT_LT(least_error_found(all), least_error_found(kept_elements));
}

TEST_F(Evidences, WrongMomentsOfThePairsThatAreNotKeptAreAContradiction) {
  for (double WindowMoments::*const moment : {&WindowMoments::mean, &WindowMoments::rms})
    for (const double change : {0.01, std::numeric_limits<double>::quiet_NaN()}) {
      CaseReport report = report_of_line();
      RecordedOutput& o = output(report, "chunked:single", "o");
      ASSERT_EQ(o.moments.size(), 4u);  // of six pairs two are kept
      o.moments.back().back().*moment += change;
      expect_failed(judged(report), "chunked:single", {"o: the sample contradicts"});
    }
}

// A path that is wrong in one pair fails `run`; its evidence says so, whether that pair is kept.
TEST_F(Evidences, OfAFailureFails) {
  CaseReport report = report_of_line();
  Result& own = result(report, "step:single");
  TensorVerdict& tensor = own.verdict.tensors[0];
  tensor.clauses[1].value = 2 * tensor.clauses[1].limit;
  tensor.clauses[1].passed = false;
  tensor.status = own.verdict.status = own.status = Status::failed;
  tensor.finding = "first at b=1";
  expect_failed(judged(report), "step:single", {"was recorded as FAILED: o: first at b=1"});
  own.verdict = {};
  own.recorded.clear();
  own.note = "crashed: SIGSEGV in path step:single";
  expect_failed(judged(report), "step:single", {"was recorded as FAILED: crashed: SIGSEGV"});
}

TEST_F(Evidences, AVerdictThatItsOwnClausesContradictFails) {
  CaseReport report = report_of_line();
  Clause& clause = result(report, "step:single").verdict.tensors[0].clauses[1];
  clause.value = 2 * clause.limit;
  expect_failed(judged(report), "step:single", {"o: A.median is recorded as passed, with"});
  clause.passed = false;
  expect_failed(judged(report), "step:single",
                {"o: is recorded as PASSED, although a clause failed"});
  result(report, "step:single").verdict.tensors[0].status = Status::failed;
  expect_failed(judged(report), "step:single", {"is recorded as PASSED, although o is FAILED"});
}

TEST_F(Evidences, ALimitThatWasRaisedIsRaisedForTheSample) {
  CaseReport report = report_of_line();
  const Sampled own(line, kept_elements);
  RecordedOutput& o = output(report, "chunked:single", "o");
  o.elements[7] += 0.01;
  for (const char* const name : {"A.max", "A.99.9%", "B.max", "B.99.9%", "E.locality"})
    for (Clause& clause : result(report, "chunked:single").verdict.tensors[0].clauses)
      if (clause.name == name) {
        clause.raised = 1e9;
        clause.limit *= 1e9;
      }
  for (const JudgedResult& result : judged(report).results)
    for (const std::string& problem : result.problems)
      EXPECT_EQ(problem.find("A."), std::string::npos) << problem;
}

TEST_F(Evidences, ABrokenContractFails) {
  CaseReport report = report_of_line();
  report.equalities[1].violation = "o batch=1: 0x1p+0 against 0x0p+0";
  const JudgedCase own = judged(report);
  EXPECT_TRUE(own.failed());
  ASSERT_EQ(own.problems.size(), 1u);
  expect_contains(own.problems[0], report.equalities[1].name + " was broken: o batch=1");
  EXPECT_EQ(own.contracts, static_cast<Index>(report.equalities.size()));
}

TEST_F(Evidences, AContractThatItsDigestsContradictFails) {
  CaseReport report = report_of_line();
  const auto held =
      std::ranges::find(report.equalities, "recurrent:single = step:single", &EqualityResult::name);
  ASSERT_NE(held, report.equalities.end());
  output(report, "step:single", "ht").sha256.replace(0, 4, "0000");
  const JudgedCase own = judged(report);
  EXPECT_TRUE(own.failed());
  ASSERT_EQ(own.problems.size(), 1u);
  expect_contains(own.problems[0],
                  "recurrent:single = step:single is recorded as held, but the "
                  "digests of ht differ");
}

TEST_F(Evidences, OfAnotherShapeTypeOrSetOfOutputsFails) {
  const auto expect_problem = [&](const std::function<void(CaseReport&)>& change,
                                  const std::string& words) {
    CaseReport report = report_of_line();
    change(report);
    expect_failed(judged(report), "chunked:single", {words});
  };
  expect_problem([](CaseReport& r) { output(r, "chunked:single", "o").shape = "batch=2 time=71"; },
                 "o was batch=2 time=71 of fp32, is batch=2 time=70 value_head=3 value=24 of fp32");
  expect_problem(
      [](CaseReport& r) { output(r, "chunked:single", "o").type = ElementType::float64; },
      "of fp64, is");
  expect_problem([](CaseReport& r) { output(r, "chunked:single", "o").elements.pop_back(); },
                 "elements of o are recorded; ");
  expect_problem([](CaseReport& r) { output(r, "chunked:single", "o").moments.pop_back(); },
                 "moments of 3 pairs of o are recorded; 4 are expected");
  expect_problem([](CaseReport& r) { output(r, "chunked:single", "o").moments[1].clear(); },
                 "moments of 0 windows of o are recorded; 1 are expected");
  expect_problem([](CaseReport& r) { result(r, "chunked:single").recorded.pop_back(); },
                 "ht is not recorded");
}

// ---- STALE

TEST_F(Evidences, AreStaleWhereASourceHasChangedAndAreJudgedAllTheSame) {
  const CaseReport report = report_of_line();
  Origin origin = origin_of(report);
  origin.sources.at("simple_gla chunked").files.at("reference/simple_gla/chunked.hpp").code = "0";
  const JudgedCase own = judged(written(report, origin));
  EXPECT_FALSE(own.failed());
  for (const JudgedResult& result : own.results) {
    EXPECT_TRUE(result.judged);
    EXPECT_EQ(result.stale, result.path == "chunked:single"
                                ? "reference/simple_gla/chunked.hpp has changed"
                                : "");
  }
}

TEST_F(Evidences, AreStaleWhereThePathIsGoneOrTakesTheCaseNoMore) {
  CaseReport report = report_of_line();
  const Origin origin = origin_of(report);
  result(report, "chunked:single").path = "gpu.chunked:single";
  result(report, "step:single").path = "step[rows=3]:single";
  const JudgedCase own = judged(written(report, origin));
  EXPECT_FALSE(own.failed());
  ASSERT_EQ(own.results.size(), 3u);
  EXPECT_TRUE(own.results[0].judged);
  EXPECT_FALSE(own.results[1].judged);
  expect_contains(own.results[1].stale, "rows");
  EXPECT_FALSE(own.results[2].judged);
  expect_contains(own.results[2].stale, "simple_gla has no path gpu.chunked");
}

Source source_with(std::vector<std::pair<std::string, Source::Digest>> files) {
  Source source;
  for (auto& [name, digest] : files) source.files[name] = digest;
  return source;
}

TEST(Sources, SayWhatIsNotAsItWas) {
  const Source before =
      source_with({{"a.cu", {"1", "-O3"}}, {"b.hpp", {"2", ""}}, {"c.hpp", {"3", ""}}});
  EXPECT_EQ(staleness(before, before), "");
  EXPECT_EQ(staleness(before, source_with({{"a.cu", {"1", "-O3 --fmad=false"}},
                                           {"b.hpp", {"5", ""}},
                                           {"d.hpp", {"3", ""}}})),
            "a.cu is compiled with '-O3 --fmad=false', was with '-O3', b.hpp has changed, d.hpp is "
            "new, c.hpp is gone");
  EXPECT_NE(before.sha256(), source_with({{"a.cu", {"1", "-O3"}}}).sha256());
}

TEST(Sources, OfAPathWithoutADeviceAreItsReferenceAndWhatThatIncludes) {
  const Source source = source_of("decayed_sum.backward", {"recurrent", {}, {}, ""});
  for (const char* const name :
       {"reference/decayed_sum/contract.hpp", "reference/decayed_sum/backward.hpp",
        "reference/core/matrix.hpp", "reference/core/axis.hpp"})
    EXPECT_TRUE(source.files.contains(name)) << name;
  for (const auto& [name, digest] : source.files) {
    EXPECT_EQ(name.find("simple_gla"), std::string::npos);
    expect_contains(digest.flags, "-ffp-contract=off");
  }
}

// Every file that is included, whatever it is included by, and x.cu beside x.hpp.
TEST(Sources, AreClosed) {
  for (const char* const name : {"simple_gla", "simple_gla.backward", "decayed_sum"})
    for (const bool device : {false, true}) {
      const Source source = source_of(name, {"gpu.recurrent", {}, {}, "", device});
      for (const SourceFile& file : source_files()) {
        if (!source.files.contains(std::string(file.name))) continue;
        for (const std::string_view included : file.includes)
          EXPECT_TRUE(source.files.contains(std::string(included))) << file.name << included;
      }
    }
}

// Of what the program was built from, which is this tree.
TEST(Sources, HaveADigestAndTheFlagsOfEveryFile) {
  ASSERT_GT(source_files().size(), 30u);
  const std::set<std::string_view> without_fmad{"gpu/core/generate.cu",
                                                "gpu/mamba3_step/recurrent.cu",
                                                "gpu/selective_state_update/recurrent.cu"};
  std::set<std::string_view> digests;
  for (const SourceFile& file : source_files()) {
    EXPECT_EQ(file.bytes_sha256, sha256_of(bytes_of(file.name))) << file.name << ": build again";
    EXPECT_TRUE(digests.insert(file.code_sha256).second) << file.name;
    EXPECT_EQ(file.flags.empty(), file.name.starts_with("gpu/") && !file.name.ends_with(".cu"));
    if (without_fmad.contains(file.name))
      expect_contains(std::string(file.flags), "--fmad=false");
    else
      EXPECT_EQ(file.flags.find("--fmad"), std::string_view::npos);
  }
}

// ---- coverage

TEST_F(Evidences, CoverTheCasesOfAPath) {
  const CaseReport report = report_of_line();
  const Evidence good = read_evidence(written(report));
  Origin changed = origin_of(report);
  changed.sources.at("simple_gla step").files.begin()->second.code = "0";
  const Evidence stale = read_evidence(written(report, changed, "stale.h5"));
  const Operator& op = operator_of(case_from(line));
  const auto of = [&](const std::vector<Evidence>& evidence, std::string_view path) {
    return coverage(evidence, "simple_gla", *op.path(path));
  };
  EXPECT_EQ(of({good}, "step").mark(), "evidence cpu");
  EXPECT_EQ(of({good}, "step").cases, (std::set<std::string>{report.id}));
  EXPECT_EQ(of({good}, "scan").mark(), "no evidence");
  EXPECT_EQ(of({stale}, "step").mark(), "STALE");
  EXPECT_TRUE(of({stale}, "step").cases.empty());
  expect_contains(of({stale}, "step").stale.at(report.id), " has changed");
  EXPECT_EQ(of({stale, good}, "step").mark(), "evidence cpu") << "newer evidence beside it";
  EXPECT_EQ(of({stale}, "recurrent").mark(), "evidence cpu") << "the same file, another path";
  EXPECT_EQ(coverage({good}, "simple_gla.backward", *op.path("step")).mark(), "no evidence");
}

TEST(DeviceNames, AreShort) {
  EXPECT_EQ(short_device_name("NVIDIA H100 80GB HBM3"), "H100");
  EXPECT_EQ(short_device_name("NVIDIA"), "NVIDIA");
  EXPECT_EQ(short_device_name("cpu"), "cpu");
  EXPECT_EQ(short_device_name(""), "");
}

// ---- in a report

TEST_F(Evidences, StandInAReportBesideOtherResultsWithDeviceDateAndWhetherTheyAreStale) {
  const CaseReport report = report_of_line();
  Origin origin = origin_of(report);
  const Records fresh = read_records({written(report)});
  ASSERT_EQ(fresh.results.size(), 3u);
  EXPECT_EQ(fresh.contracts.size(), report.equalities.size());
  EXPECT_EQ(fresh.results[0].result.note, "evidence from cpu, 2026-11-22");
  origin.sources.at("simple_gla chunked").files.at("reference/simple_gla/chunked.hpp").code = "0";
  const Records records = read_records({written(report, origin, "stale.h5")});
  const Overview overview(records);
  EXPECT_EQ(overview.stale, 1);
  expect_contains(overview.headline, "1 result STALE");
  const std::string why = "STALE: reference/simple_gla/chunked.hpp has changed";
  const std::string page_text = page(records, overview, {}).html;
  for (const std::string& text : {page_text, csv(records), junit(overview)})
    expect_contains(text, "evidence from cpu, 2026-11-22; " + why);
  for (const std::string& text : {page_text, summary(records, overview)}) {
    expect_contains(text, "2026-11-22");
    expect_contains(text, "chunked: reference/simple_gla/chunked.hpp has changed");
  }
}

}  // namespace
}  // namespace groundstate::harness
