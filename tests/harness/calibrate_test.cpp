// The calibration: the rules of others, what the study runs, and its sum.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "harness/calibrate/measure.hpp"
#include "harness/calibrate/record.hpp"
#include "harness/calibrate/rules.hpp"
#include "harness/calibrate/study.hpp"
#include "harness/calibrate/tables.hpp"
#include "harness/case/error.hpp"
#include "harness/operators/registry.hpp"
#include "harness/process/workers.hpp"
#include "harness/run/outputs.hpp"

namespace groundstate::harness {
namespace {

// ---- rules

Matrix<double> normal(Index rows, Index columns) {
  std::mt19937_64 generator(7);
  std::normal_distribution<double> draw;
  return Matrix<double>::NullaryExpr(rows, columns, [&](Index, Index) { return draw(generator); });
}

const Rule& rule(std::string_view name) {
  return *std::find_if(rules.begin(), rules.end(), [&](const Rule& r) { return r.name == name; });
}

bool accepts(std::string_view name, const Matrix<double>& got, const Matrix<double>& reference,
             ElementType type = ElementType::float32) {
  Comparison comparison(type);
  comparison.add(got, reference, nullptr);
  return rule(name).verdict(comparison).value();
}

TEST(OtherRules, AcceptWhatIsEqualAndRejectNaN) {
  const Matrix<double> r = normal(16, 8);
  Matrix<double> with_nan = r;
  with_nan(3, 4) = std::numeric_limits<double>::quiet_NaN();
  for (const Rule& own : rules) {
    Comparison equal(ElementType::float32), broken(ElementType::float32);
    equal.add(r, r, &r);
    broken.add(with_nan, r, &r);
    EXPECT_TRUE(own.verdict(equal).value()) << own.name;
    EXPECT_FALSE(own.verdict(broken).value()) << own.name;
  }
}

// A relative error e of every element is an RMS ratio of e, an NMSE of e^2, and a cosine distance
// of e^2 / 2 to second order.
TEST(OtherRules, RejectFromTheirConstantsOn) {
  const Matrix<double> r = normal(64, 64);
  const auto scaled = [&](double e) { return Matrix<double>(r * (1 + e)); };
  EXPECT_TRUE(accepts("RMS ratio", scaled(0.0049), r));
  EXPECT_FALSE(accepts("RMS ratio", scaled(0.0051), r));
  EXPECT_TRUE(accepts("NMSE", scaled(std::sqrt(4.9e-4)), r));
  EXPECT_FALSE(accepts("NMSE", scaled(std::sqrt(5.1e-4)), r));
  EXPECT_TRUE(accepts("cosine", scaled(0.04), r));   // 0.0008
  EXPECT_FALSE(accepts("cosine", scaled(0.05), r));  // 0.0012
  const Matrix<double> one = Matrix<double>::Ones(8, 8);
  EXPECT_TRUE(accepts("allclose 1e-2", one * 1.0199, one));
  EXPECT_FALSE(accepts("allclose 1e-2", one * 1.0201, one));
  EXPECT_TRUE(accepts("assert_close", one * (1 + 1.12e-5), one));
  EXPECT_FALSE(accepts("assert_close", one * (1 + 1.14e-5), one));
  EXPECT_TRUE(accepts("assert_close", one * 1.016, one, ElementType::bfloat16));
  EXPECT_FALSE(accepts("assert_close", one * 1.0161, one, ElementType::bfloat16));
}

TEST(OtherRules, OneWrongElementOfManyPassesTheMeans) {
  const Matrix<double> r = normal(1024, 512);
  Matrix<double> y = r;
  y(500, 100) = -y(500, 100) - 1;
  for (const char* const name : {"RMS ratio", "NMSE", "cosine"})
    EXPECT_TRUE(accepts(name, y, r)) << name;
  EXPECT_FALSE(accepts("allclose 1e-2", y, r));
}

TEST(OtherRules, TwiceTheBaselineCountsTheRoundingOfTheOutputAndNeedsABaseline) {
  const Matrix<double> r = Matrix<double>::Constant(4, 4, 1.0);
  const auto accepts_error = [&](double error, ElementType type) {
    const Matrix<double> got = r.array() + error, baseline = r.array() + 1e-3;
    Comparison comparison(type);
    comparison.add(got, r, &baseline);
    return rule("2x").verdict(comparison).value();
  };
  EXPECT_TRUE(accepts_error(1.99e-3, ElementType::float64));
  EXPECT_FALSE(accepts_error(2.01e-3, ElementType::float64));
  // 1.3 is 1.296875 in bf16, and 0.996875 of it rounds to 0.99609375.
  EXPECT_TRUE(accepts_error(2e-3 + 2 * (1 - 0.99609375) - 1e-6, ElementType::bfloat16));
  EXPECT_FALSE(accepts_error(2e-3 + 2 * (1 - 0.99609375) + 1e-6, ElementType::bfloat16));
  Comparison without(ElementType::float32);
  without.add(r, r, nullptr);
  EXPECT_FALSE(rule("2x").verdict(without).has_value());
}

TEST(OtherRules, DoNotApplyWhereTheReferenceLeavesTheType) {
  const Matrix<double> r = Matrix<double>::Constant(2, 2, 1e5);
  Comparison comparison(ElementType::float16);
  comparison.add(r, r, &r);
  EXPECT_FALSE(comparison.applicable());
}

// ---- the study

StudyOptions small(double share = 1) {
  StudyOptions options;
  options.seeds = 1;
  options.share = share;
  return options;
}

TEST(Study, NamesPathsThatExistAndIsTheSameEveryTime) {
  for (const bool kernels : {false, true}) {
    StudyOptions options = small();
    options.kernels = kernels;
    const std::vector<StudyCase> cases = study(options), again = study(options);
    ASSERT_EQ(cases.size(), again.size());
    ASSERT_GT(cases.size(), 100u);
    for (std::size_t i = 0; i < cases.size(); ++i) {
      EXPECT_EQ(cases[i].value, again[i].value);
      const Operator& op = with_mutants(operator_of(cases[i].value));
      EXPECT_NO_THROW(op.inputs(cases[i].value)) << cases[i].value.canonical();
      for (const StudyImplementation& own : cases[i].implementations)
        for (const std::string& text : {own.runs, own.declares, own.sibling}) {
          if (!text.empty()) {
            EXPECT_NO_THROW(checked_variant(op, text)) << text;
          }
        }
    }
  }
}

TEST(Study, HasEveryOperatorRecipeAndRegimeOfItsTables) {
  std::set<std::string> operators_seen, recipes, regimes, wrong, mutants, all_mutants;
  for (const StudyCase& own : study(small())) {
    operators_seen.insert(own.value.operator_name());
    regimes.insert(own.regime);
    for (const StudyImplementation& each : own.implementations) {
      recipes.insert(recipe_of(checked_variant(operator_of(own.value), each.declares)));
      const MutatedOperator& mutated = with_mutants(operator_of(own.value));
      if (mutated.mutant(checked_variant(mutated, each.runs)) != nullptr)
        mutants.insert(own.value.operator_name() + " " + each.fault);
      else if (!each.honest())
        wrong.insert(each.fault);
    }
  }
  EXPECT_EQ(operators_seen.size(), operators().size());
  for (const char* const recipe : {"exact", "single", "tf32", "tensorcore-bf16", "tensorcore-fp16",
                                   "tensorcore-bf16-state", "single-bf16-state"})
    EXPECT_TRUE(recipes.contains(recipe)) << recipe;
  const std::vector<std::string> all = study_regimes(), known = faults();
  EXPECT_EQ(regimes, std::set<std::string>(all.begin(), all.end()));
  EXPECT_EQ(wrong, std::set<std::string>(known.begin(), known.end()));
  for (const auto& op : operators())
    for (const Mutant& mutant : with_mutants(*op).mutants())
      all_mutants.insert(op->grammar().operator_name + " " + mutant.name);
  EXPECT_EQ(mutants, all_mutants);
}

// A run that goes on knows by its case what it has measured.
TEST(Study, HasNoCaseTwice) {
  std::set<std::string> known;
  for (const StudyCase& own : study(small()))
    EXPECT_TRUE(known.insert(own.value.canonical()).second) << own.value.canonical();
}

TEST(Study, AShareIsAPartOfTheWhole) {
  std::set<std::string> whole;
  for (const StudyCase& own : study(small())) whole.insert(own.value.canonical());
  const std::vector<StudyCase> part = study(small(0.1));
  EXPECT_LT(part.size(), whole.size() / 5);
  EXPECT_GT(part.size(), whole.size() / 20);
  for (const StudyCase& own : part) EXPECT_TRUE(whole.contains(own.value.canonical()));
}

// ---- measuring

StudyCase one_case(const std::string& line, std::vector<StudyImplementation> implementations) {
  return {parse_case(line, grammars()), "slow", "a shape", std::move(implementations)};
}

const std::string medium = "simple_gla T=300 H=1 K=32 V=32 gate=medium dtype=fp32 state=random";

TEST(Measure, HonestPassesAndEachFaultIsSeenByItsClause) {
  const StudyCase fp32 =
      one_case(medium, {{"", "chunked:single", "chunked:single", "segmented:single"},
                        {"tf32", "chunked:tf32", "chunked:single", "segmented:single"},
                        {"bf16", "chunked:single", "chunked:single", "", Spoil::through_bf16},
                        {"nothing", "fused:single", "chunked:single", ""}});
  const MeasuredCase measured = measure(fp32);
  ASSERT_EQ(measured.implementations.size(), 4u);
  for (const MeasuredTensor& tensor : measured.implementations[0].tensors) {
    EXPECT_EQ(tensor.status, Status::passed) << tensor.tensor;
    EXPECT_LT(tensor.ratios[3].value(), 0.6) << tensor.tensor;
    EXPECT_FALSE(tensor.ratios[4].has_value()) << "a path of ours is its own emulation";
    EXPECT_TRUE(tensor.accepted[2].value()) << tensor.tensor;
  }
  const auto failed = [&](std::size_t i, std::size_t clause) {
    bool any = false;
    for (const MeasuredTensor& tensor : measured.implementations[i].tensors)
      any = any || tensor.ratios[clause].value_or(0) > 1;
    return any;
  };
  EXPECT_TRUE(failed(1, 1)) << "the median of clause A";
  EXPECT_TRUE(failed(1, 4)) << "clause B, against what is declared";
  EXPECT_TRUE(failed(2, 5)) << "the grid test";
  EXPECT_TRUE(measured.implementations[2].active);
  EXPECT_FALSE(measured.implementations[3].active) << "the same bits: nobody can see it";
}

TEST(Measure, TruncationIsSeenByItsBiasAlone) {
  const StudyCase bf16 = one_case(
      "simple_gla T=300 H=2 K=32 V=32 gate=medium state=random",
      {{"cut", "chunked:tensorcore-bf16", "chunked:tensorcore-bf16", "", Spoil::truncated}});
  const MeasuredCase measured = measure(bf16);
  const MeasuredTensor& o = measured.implementations[0].tensors[0];
  EXPECT_EQ(o.tensor, "o");
  EXPECT_EQ(o.status, Status::failed);
  for (const std::size_t clause : {0, 1, 2, 3}) EXPECT_LE(o.ratios[clause].value(), 1);
  EXPECT_GT(o.ratios[6].value(), 1);
}

TEST(Measure, AMutantIsJudgedAsThePathThatItDeclares) {
  const auto mutant = [](const std::string& name) {
    return StudyImplementation{name, name + ":single", "chunked:single", "chunked:single"};
  };
  const MeasuredCase measured = measure(one_case(
      "simple_gla T=100 H=1 K=8 V=8 gate=medium dtype=fp32 state=random",
      {mutant("scale_twice"), mutant("group_map_by_modulo"), mutant("written_behind_the_end")}));
  ASSERT_EQ(measured.implementations.size(), 3u);
  EXPECT_TRUE(measured.implementations[0].active);
  EXPECT_EQ(measured.implementations[0].recipe, "single");
  EXPECT_EQ(measured.implementations[0].tensors[0].status, Status::failed);
  EXPECT_GT(measured.implementations[0].tensors[0].ratios[3].value(), 1);
  EXPECT_FALSE(measured.implementations[1].active) << "there is one group only";
  EXPECT_FALSE(measured.implementations[2].active) << "the outputs themselves are right";
}

TEST(Measure, RecordsAndReadsTheSame) {
  const MeasuredCase measured =
      measure(one_case(medium, {{"", "chunked:single", "chunked:single", "segmented:single"},
                                {"tf32", "chunked:tf32", "chunked:single", ""}}));
  const nlohmann::json record = to_record(measured);
  EXPECT_EQ(to_record(measured_case(record)), record);
}

// ---- the sum

std::vector<MeasuredCase> few_cases() {
  std::vector<MeasuredCase> cases;
  for (const char* const seed : {" seed=1", " seed=2"})
    cases.push_back(measure(one_case(
        medium + seed, {{"", "chunked:single", "chunked:single", "segmented:single"},
                        {"operands rounded to tf32", "chunked:tf32", "chunked:single", ""}})));
  return cases;
}

TEST(CalibrationRecordTest, CountsWhatWasMeasured) {
  const std::vector<MeasuredCase> cases = few_cases();
  const CalibrationRecord record = sum_up(cases, {"cpu", "2026-01-01", "", 2});
  EXPECT_EQ(record.study.cases, 2);
  EXPECT_EQ(record.study.tensors, 4);
  EXPECT_EQ(record.study.failed, 0);
  ASSERT_EQ(record.honest.size(), 4u);  // o and ht, of the regime and of all
  double largest = 0;
  for (const MeasuredCase& own : cases)
    largest = std::max(largest, own.implementations[0].tensors[0].errors.maximum);
  for (const HonestGroup& own : record.honest)
    if (own.tensor == "o") {
      EXPECT_EQ(own.tensors, 2);
      EXPECT_DOUBLE_EQ(own.maximum.largest, largest);
    }
  ASSERT_EQ(record.faults.size(), 1u);
  EXPECT_EQ(record.faults[0].active, 2);
  EXPECT_EQ(record.faults[0].failed, 2);
  EXPECT_GT(record.faults[0].margin.low, 1);
}

TEST(CalibrationRecordTest, IsReadAsItWasWritten) {
  const CalibrationRecord record = sum_up(few_cases(), {"cpu", "2026-01-01", "", 2});
  std::vector<CalibrationRecord> read;
  for (const nlohmann::json& line : to_records(record)) add_line(line, read);
  ASSERT_EQ(read.size(), 1u);
  EXPECT_EQ(to_records(read[0]), to_records(record));
  EXPECT_EQ(headline(read[0]), headline(record));
}

TEST(CalibrationRecordTest, ShowsMutantsInTablesOfTheirOwn) {
  const MeasuredCase measured =
      measure(one_case("simple_gla T=100 H=1 K=8 V=8 gate=slow dtype=fp32 state=random",
                       {{"scale_twice", "scale_twice:single", "chunked:single", "chunked:single"},
                        {"tf32_operands", "tf32_operands:single", "chunked:single", ""}}));
  const auto tables = calibration_tables({sum_up({measured}, {"cpu", "2026-01-01", "", 1})});
  const auto table = [&](std::string_view name) -> const CalibrationTable& {
    return *std::ranges::find(tables, name, &CalibrationTable::name);
  };
  ASSERT_EQ(table("mutants").rows.size(), 2u);
  const std::vector<std::string>& row = table("mutants").rows[0];
  ASSERT_EQ(row.size(), table("mutants").columns.size());
  EXPECT_EQ(std::vector<std::string>(row.begin(), row.begin() + 5),
            (std::vector<std::string>{"simple_gla", "scale_twice", "1", "100 %", "100 %"}));
  ASSERT_EQ(table("mutants by regime").rows.size(), 1u);
  EXPECT_EQ(table("mutants by regime").rows[0][1], "slow");
  EXPECT_TRUE(table("seen by").rows.empty());
  EXPECT_TRUE(table("detection").rows.empty());
}

TEST(CalibrationRecordTest, RefusesWhatIsNone) {
  std::vector<CalibrationRecord> read;
  EXPECT_THROW(add_line({{"calibration", "honest"}}, read), nlohmann::json::exception);
  EXPECT_THROW(add_line({{"case", "x"}}, read), nlohmann::json::exception);
  EXPECT_THROW(read_calibrations({"data/quick.cases"}), UsageError);
}

// ---- the page

std::string content(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<CalibrationRecord> committed() {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator("data/calibration"))
    files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  return read_calibrations(files);
}

TEST(CalibrationPage, HasTheTablesOfTheCommittedRecords) {
  const std::string page = content("harness/judge/README.md");
  EXPECT_TRUE(with_tables(page, committed()) == page)
      << "out of date: groundstate calibrate page data/calibration/*.jsonl";
  for (const CalibrationTable& table : calibration_tables(committed()))
    EXPECT_NE(page.find("<!-- table " + table.name + " -->"), page.npos) << table.name;
}

// The numbers that the page, and the limits, rest on.
TEST(CalibrationPage, RestsOnAsMuchAsItSays) {
  Index tensors = 0, quick = 0, with_long = 0;
  for (const CalibrationRecord& record : committed()) {
    EXPECT_EQ(record.study.failed, 0) << record.study.device;
    EXPECT_GE(record.study.seeds, 20) << record.study.device;
    tensors += record.study.tensors;
    quick += record.study.quick_tensors;
    with_long += record.study.long_tensors;
    for (const HonestGroup& own : record.honest) {
      for (std::size_t i = 0; i < own.ratios.size(); ++i) {
        EXPECT_LE(own.ratios[i], 1) << own.operator_name << " " << own.recipe << " " << own.tensor
                                    << " " << own.regime << " " << study_clauses[i];
      }
    }
  }
  EXPECT_GE(tensors, 100'000);
  EXPECT_GE(with_long, 1'000);
  EXPECT_GT(quick, 1'000);
}

TEST(CalibrationPage, RefusesAMarkerWithoutATable) {
  const std::vector<CalibrationRecord> records{sum_up(few_cases(), {"cpu", "2026-01-01", "", 2})};
  EXPECT_THROW(with_tables("<!-- table nonsense -->\n<!-- /table -->\n", records), UsageError);
  EXPECT_THROW(with_tables("<!-- table studies -->\n", records), UsageError);
  const std::string page =
      with_tables("a\n<!-- table studies -->\nold\n<!-- /table -->\nb\n", records);
  EXPECT_EQ(page.find("old"), page.npos);
  EXPECT_NE(page.find("| cpu | 2026-01-01 | 2 | 2 | 4 |"), page.npos) << page;
  EXPECT_EQ(with_tables(page, records), page) << "once more changes nothing";
}

// ---- workers

TEST(Workers, AllWorkAndOneThatFailsSaysWhy) {
  const std::shared_ptr<void> memory = shared_memory(4 * sizeof(int));
  int* const seen = static_cast<int*>(memory.get());
  const std::vector<std::string> problems = run_workers(
      4,
      [&](int i) {
        seen[i] = i + 1;
        if (i == 2) throw std::runtime_error("no luck");
      },
      [] {});
  for (int i = 0; i < 4; ++i) EXPECT_EQ(seen[i], i + 1);
  EXPECT_EQ(problems, std::vector<std::string>{"worker 2: no luck"});
}

TEST(Workers, EndWithTheirParentsWait) {
  const std::shared_ptr<void> memory = shared_memory(sizeof(int));
  EXPECT_THROW(run_workers(
                   2, [](int) { pause(); }, [] { throw Interrupted(); }),
               Interrupted);
}

}  // namespace
}  // namespace groundstate::harness
