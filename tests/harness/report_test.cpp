// Reports: nothing of the input is lost in any format, hostile text stays text, a difference is
// found, and bad input is one message and no file.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "harness/case/error.hpp"
#include "harness/judge/error_picture.hpp"
#include "harness/operators/registry.hpp"
#include "harness/report/diff.hpp"
#include "harness/report/documents.hpp"
#include "harness/report/json_lines.hpp"
#include "harness/report/pictures.hpp"
#include "harness/report/versus.hpp"
#include "harness/run/outputs.hpp"
#include "harness/run/run_case.hpp"
#include "harness/run/versus_case.hpp"
#include "reference/core/parallel.hpp"
#include "tests/harness/expect_contains.hpp"
#include "tests/harness/program.hpp"
#include "tests/harness/temporary_folder.hpp"

namespace groundstate::harness {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// ---- the picture of errors

TEST(ErrorLevels, AreTwoAnOctaveAndFailClosed) {
  EXPECT_EQ(error_level(0), 0);
  EXPECT_EQ(error_level(std::nextafter(0x1p-10, 0)), 0);
  EXPECT_EQ(error_level(0x1p-10), 1);
  EXPECT_EQ(error_level(1), 21);
  EXPECT_EQ(error_level(1.4142135f), 21);
  EXPECT_EQ(error_level(1.4142137f), 22);
  EXPECT_EQ(error_level(std::nextafter(0x1p20f, 0.0f)), 60);
  EXPECT_EQ(error_level(0x1p20), highest_error_level);
  EXPECT_EQ(error_level(std::numeric_limits<double>::infinity()), highest_error_level);
  for (int level = 1; level < highest_error_level; ++level)
    EXPECT_EQ(error_level(static_cast<float>(least_error(level) * 1.0001)), level);
  for (int level = no_error_level; level < error_levels; ++level)
    EXPECT_EQ(level_of(character_of(level)), level);
  EXPECT_EQ(level_of('"'), std::nullopt);
}

// Two pairs of 600 rows and 2 columns; the second has one large error.
ErrorPicture drawn(bool with_map) {
  ErrorList errors;
  std::vector<PicturedPair> pairs;
  for (Index pair = 0; pair < 2; ++pair) {
    pairs.push_back({{0, pair}, 600, 2, errors.places(), {}});
    for (Index i = 0; i < 1200; ++i)
      if (i % 2 == 1 && pair == 0)
        errors.push_unjudged();
      else
        errors.push(pair == 1 && i == 2 * 300 ? 100 : 0.5);
  }
  pairs.push_back({{0, 2}, 600, 2, -1, {599}});
  return draw(TensorAxes{}, pairs, errors, {}, with_map);
}

TEST(ErrorPictures, ShowALargeErrorInItsCellWindowAndLevel) {
  const ErrorPicture picture = drawn(true);
  EXPECT_EQ(picture.path[static_cast<std::size_t>(error_level(0.5))], 1799);
  EXPECT_EQ(picture.path[static_cast<std::size_t>(error_level(100))], 1);
  ASSERT_TRUE(picture.along);
  EXPECT_EQ(picture.along->rows, 10);
  ASSERT_EQ(picture.along->maximum.size(), 60u);
  EXPECT_EQ(picture.along->maximum[30], 100);
  EXPECT_EQ(picture.along->maximum[29], 0.5);
  EXPECT_EQ(picture.along->rms[29], 0.5);
  EXPECT_GT(picture.along->rms[30], 10);
  ASSERT_TRUE(picture.map);
  EXPECT_EQ(picture.map->rows, 3);
  ASSERT_EQ(picture.map->cells.size(), 3u);
  EXPECT_EQ(picture.map->cells[0], std::string(200, character_of(error_level(0.5))));
  EXPECT_EQ(picture.map->cells[1][100], character_of(error_level(100)));
  // A pair without sensitivities has no errors to show, but rows of the wrong kind.
  EXPECT_EQ(picture.map->cells[2], std::string(199, '.') + "z");
}

TEST(ErrorPictures, HaveAMapOnlyWhereOneIsAskedFor) { EXPECT_FALSE(drawn(false).map); }

TEST(ErrorPictures, AreAFewKilobytesWhateverTheSize) {
  ErrorList errors;
  std::vector<PicturedPair> pairs;
  for (Index pair = 0; pair < 300; ++pair) {
    pairs.push_back({{pair, 0}, 1000, 1, errors.places(), {}});
    for (Index i = 0; i < 1000; ++i) errors.push(std::exp2(static_cast<double>(i % 60 - 30)));
  }
  EXPECT_LT(to_record(draw(TensorAxes{}, pairs, errors, errors, false)).dump().size(), 3000u);
  const ErrorPicture picture = draw(TensorAxes{}, pairs, errors, errors, true);
  EXPECT_LE(picture.map->cells.size(), 96u);
  EXPECT_LE(picture.map->cells[0].size(), 256u);
  EXPECT_LT(to_record(picture).dump().size(), 30000u);
}

// ---- records

// Without the entities that Markdown needs.
std::string unescaped(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    int code = 0, length = 0;
    if (text[i] == '&' && std::sscanf(text.substr(i, 8).c_str(), "&#%d;%n", &code, &length) == 1 &&
        length > 0) {
      result += static_cast<char>(code);
      i += static_cast<std::size_t>(length) - 1;
    } else {
      result += text[i];
    }
  }
  return result;
}

constexpr const char* line = "simple_gla T=70 H=1 K=8 V=8 gate=slow state=random";

// The records of that case, without what changes from run to run.
std::vector<json> run_records(const std::string& text = line) {
  CaseEntry entry{parse_case(text, grammars()), {}, {}, {}};
  std::vector<json> records = to_records(run_case(operator_of(entry.value), entry, {}));
  for (json& record : records)
    if (record.contains("seconds")) record["seconds"] = 0.25;
  return records;
}

const std::vector<json>& good_records() {
  static const std::vector<json> records = run_records();
  return records;
}

json& result_of(std::vector<json>& records, std::string_view path) {
  for (json& record : records)
    if (record.contains("path") && record["path"] == path) return record;
  throw std::logic_error("no such path");
}

// As a wrong kernel would have it, pictures and all.
void fail(json& record) {
  record["status"] = "FAILED";
  json& tensor = record["tensors"]["o"];
  tensor["status"] = "FAILED";
  tensor["finding"] = "first at b=0 t=3 h=0 v=1: got NaN";
  tensor["clauses"]["A.max"]["value"] = "inf";
  tensor["clauses"]["A.max"]["passed"] = false;
  tensor["where"] = {{"elements", 560},
                     {"bad", 1},
                     {"worst",
                      {{{"at", "b=0 t=3 h=0 v=1"},
                        {"sequence", 0},
                        {"head", 0},
                        {"row", 3},
                        {"column", 1},
                        {"got", "nan"},
                        {"expected", -1.5},
                        {"error", "inf"}}}}};
  tensor["picture"]["map"] = {{"rows", 1},
                              {"pairs", 1},
                              {"lines", {{0, 0}}},
                              {"cells", {std::string(3, 'K') + "z" + std::string(66, '.')}}};
}

class Reports : public TemporaryFolder {
 protected:
  using TemporaryFolder::write;
  std::string write(const std::string& name, const std::vector<json>& records) const {
    JsonLines lines(path(name));
    for (const json& record : records) lines.write(record);
    return path(name);
  }
  Records read(const std::vector<json>& records) const {
    return read_records({write("read.jsonl", records)});
  }

  Ended report(const std::string& input, const std::string& variables = "") const {
    return groundstate(fmt::format("report '{}' -o '{}'", input, path("out")), variables);
  }

  // All formats of the records.
  std::vector<std::string> formats(const Records& records) const {
    const Overview overview(records);
    return {page(records, overview, {}).html, summary(records, overview), csv(records),
            junit(overview)};
  }
};

TEST_F(Reports, RecordsAreTheSameForAnyNumberOfThreads) {
  const int before = threads();
  set_threads(1);
  std::vector<json> one = run_records();
  set_threads(3);
  std::vector<json> three = run_records();
  set_threads(before);
  for (std::vector<json>* const records : {&one, &three})
    for (json& record : *records) record.erase("environment");
  EXPECT_EQ(one, three);
}

TEST_F(Reports, ARecordComesBackAsItWasWritten) {
  const Records records = read(good_records());
  const json& written = good_records().front();
  const Result& back = records.results.front().result;
  EXPECT_EQ(back.path, written["path"]);
  for (const TensorVerdict& tensor : back.verdict.tensors) {
    const json& expected = written["tensors"][tensor.tensor];
    EXPECT_EQ(to_record(tensor)["picture"], expected["picture"]);
    EXPECT_EQ(to_record(tensor)["clauses"], expected["clauses"]);
    EXPECT_EQ(to_record(tensor)["errors"], expected["errors"]);
    EXPECT_EQ(to_record(tensor)["power"], expected["power"]);
  }
}

TEST_F(Reports, EveryResultContractAndProblemIsInEveryFormat) {
  std::vector<json> records = good_records();
  fail(result_of(records, "chunked"));
  result_of(records, "fused")["status"] = "UNSUPPORTED";
  result_of(records, "fused")["note"] = "too_expensive_for_today";
  result_of(records, "fused")["tensors"] = json::object();
  records.push_back({{"schema", 1},
                     {"case", "decayed_sum T=9"},
                     {"id", "0"},
                     {"operator", "decayed_sum"},
                     {"raised_limit_problem", "nobody needs it"},
                     {"status", "FAILED"}});
  records.push_back({{"schema", 1},
                     {"case", "decayed_sum T=9"},
                     {"id", "0"},
                     {"operator", "decayed_sum"},
                     {"equality", "scan: rerun"},
                     {"why", "the same call"},
                     {"violation", "first byte 17"},
                     {"status", "FAILED"}});
  const std::vector<std::string> all = formats(read(records));
  for (const std::string& text : all) {
    for (const json& record : good_records())
      if (record.contains("path")) expect_contains(unescaped(text), record["path"]);
    for (const char* const part : {"T=70", "FAILED", "got NaN", "nobody needs it", "first byte 17"})
      expect_contains(text, part);
  }
  for (const std::size_t format : {0u, 2u, 3u}) {
    expect_contains(all[format], "UNSUPPORTED");
    expect_contains(all[format], "too_expensive_for_today");
  }
  const auto count = [](const std::string& text, const std::string& part) {
    std::size_t found = 0;
    for (std::size_t at = 0; (at = text.find(part, at)) != text.npos; ++at) ++found;
    return found;
  };
  EXPECT_EQ(count(all[3], "<testcase "), records.size());
  EXPECT_EQ(count(all[3], "<failure "), 3u);
  // The paths on a device are unavailable here.
  const auto unavailable = count(all[2], "UNAVAILABLE");
  EXPECT_EQ(count(all[3], "<skipped "), 1u + unavailable);
}

// ---- two implementations

// chunked:single against recurrent:single, whose o has one wrong element if it is to be so.
json comparison_record(bool wrong) {
  const Case c = parse_case(line, grammars());
  const Operator& op = operator_of(c);
  const Tensors inputs = generate(op.inputs(c));
  std::array<Implementation, 2> sides{
      run_implementation(op, c, checked_variant(op, "chunked:single"), inputs),
      run_implementation(op, c, checked_variant(op, "recurrent:single"), inputs)};
  if (wrong) {
    Tensor& o = *find(sides[1].judged, "o");
    o.store(100, -o.load(100));
  }
  VersusReport report = versus_case(op, c, inputs, sides, std::nullopt, {});
  report.reproducer = "groundstate versus";
  return to_record(report);
}

TEST_F(Reports, AComparisonComesBackAsItWasWritten) {
  const json written = comparison_record(true);
  const Records records = read({written});
  ASSERT_EQ(records.comparisons.size(), 1u);
  const json back = to_record(records.comparisons[0].report);
  for (const char* const name : {"paths", "recipes", "forms", "status", "pairs", "reproducer"})
    EXPECT_EQ(back[name], written[name]) << name;
  for (const auto& [name, expected] : written["tensors"].items())
    for (const char* const part :
         {"status", "elements", "measured", "same_bits", "difference", "largest", "clauses",
          "nearer", "relative_norm", "recommended", "reason", "slack", "usual"})
      EXPECT_EQ(back["tensors"][name][part], expected[part]) << name << " " << part;
}

TEST_F(Reports, AComparisonIsInEveryFormatWithItsToleranceAndFails) {
  json not_run = comparison_record(false);
  not_run["status"] = "UNSUPPORTED";
  not_run["note"] = "quadratic in T";
  not_run["tensors"] = json::object();
  const Records records = read({comparison_record(false), comparison_record(true), not_run});
  const std::vector<std::string> all = formats(records);
  for (const std::string& text : all) {
    expect_contains(text, "chunked:single against recurrent:single");
    expect_contains(text, "quadratic in T");
    expect_contains(text, "FAILED");
    EXPECT_EQ(text.find("nothing was judged"), text.npos);
  }
  for (const std::size_t format : {0u, 1u, 2u})
    expect_contains(unescaped(all[format]),
                    recommended(records.comparisons[0].report.tensors.at(0)));
  for (const std::size_t format : {0u, 1u}) {
    expect_contains(unescaped(all[format]), "1 of 3 comparisons failed");
    expect_contains(unescaped(all[format]), "atol is that of batch=0 ");
  }
  expect_contains(all[0], "torch.allclose(rtol=1e-05, atol=1e-08)");
  expect_contains(all[0], "recurrent:single is wrong: ");
  expect_contains(all[3], "tests=\"3\" failures=\"1\" skipped=\"1\"");
}

// ---- mutants

TEST_F(Reports, MutantsAreInEveryFormatAndASurvivorIsAFailure) {
  const json killed = {{"schema", 1},
                       {"mutant", "late_gate"},
                       {"operator", "simple_gla"},
                       {"declares", "chunked:single"},
                       {"defect", "the gate comes late"},
                       {"status", "KILLED"},
                       {"cases", 7},
                       {"seen_on", 5},
                       {"seen_by", {{"A.max", 5}}},
                       {"killed_by",
                        {{"case", "simple_gla T=9"},
                         {"check", "A.max"},
                         {"tensor", "o"},
                         {"message", "first at t=3"}}}};
  json survivor = killed, unshown = killed;
  survivor.update({{"mutant", "early_gate"}, {"status", "SURVIVED"}, {"seen_on", 0}});
  unshown.update({{"mutant", "offset_in_32_bits"}, {"status", "UNSHOWN"}, {"needs", "4 GiB"}});
  for (json* const record : {&survivor, &unshown}) {
    record->erase("killed_by");
    (*record)["seen_by"] = json::object();
  }
  const std::vector<std::string> all = formats(read({killed, unshown, survivor}));
  for (const std::string& text : all)
    for (const char* const part : {"late_gate", "early_gate", "offset_in_32_bits", "KILLED",
                                   "SURVIVED", "UNSHOWN", "A.max of o", "simple_gla T=9", "4 GiB"})
      expect_contains(unescaped(text), part);
  for (const std::size_t format : {0u, 1u}) {
    expect_contains(all[format], "1 of 2 mutants killed");
    EXPECT_LT(all[format].find("early_gate"), all[format].find("late_gate"));
  }
  expect_contains(all[3], "<testsuite name=\"mutants\" tests=\"3\" failures=\"1\" skipped=\"1\"");
  expect_contains(all[3], "name=\"early_gate\" time=\"0.000000\"><failure type=\"SURVIVED\"");
}

TEST_F(Reports, TheCaseTheRaisedLimitAndItsReasonAreListed) {
  std::vector<json> records = good_records();
  json& clause = result_of(records, "chunked")["tensors"]["o"]["clauses"]["A.max"];
  clause["raised"] = 2.0;
  clause["detail"] = "limit raised x2 until 2027-06-01: the mask comes late";
  const std::vector<std::string> all = formats(read(records));
  expect_contains(all[0], "<h2>Raised limits</h2>");
  expect_contains(all[0], "until 2027-06-01: the mask comes late");
  expect_contains(all[1], "the mask comes late");
}

TEST_F(Reports, AFailureHasItsMapItsHistogramAndItsElementsInBothNotations) {
  if (std::system("gnuplot --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "needs gnuplot";
  std::vector<json> records = good_records();
  fail(result_of(records, "chunked"));
  const std::string html = formats(read(records))[0];
  for (const char* const part :
       {"Error map", "class=\"m8\"", "Histogram of scaled errors", "Scaled error along time",
        "b=0 t=3 h=0 v=1", "NaN", "-1.5", "-0x1.8p+0", "Power of the cases", "Bitwise contracts"})
    expect_contains(html, part);
  EXPECT_EQ(html.find("rgb("), html.npos) << "a colour that does not follow the scheme";
}

TEST(Pictures, ALimitLineEndsBelowTheLabelsOfLowerLimits) {
  TensorVerdict tensor;
  tensor.clauses = {make_clause("A.99.9%", 1, 3.2), make_clause("A.max", 1, 5)};
  const std::string script = histogram_script(tensor);
  expect_contains(script, "from 3.2,graph 0 to 3.2,graph 1 nohead");
  expect_contains(script, "'99.9 %' at 3.2,graph 0.96");
  expect_contains(script, "from 5,graph 0 to 5,graph 0.9 nohead");
}

TEST(Pictures, TicsAreWholeTokens) {
  TensorVerdict tensor;
  tensor.picture.along = ErrorPicture::Along{1, {1, 1, 1, 1}, {1, 1, 1, 1}, {}};
  tensor.picture.length = 4;
  expect_contains(along_script(tensor), "set xtics 1\n");
  tensor.picture.length = 400;
  EXPECT_EQ(along_script(tensor).find("set xtics"), std::string::npos);
}

TEST_F(Reports, APageNeedsNothingElse) {
  std::vector<json> records = good_records();
  fail(result_of(records, "chunked"));
  const std::string html = formats(read(records))[0];
  for (const char* const part :
       {"<script", "<link", "src=", "href=", "@import", "url(", "<!DOCTYPE svg"})
    EXPECT_EQ(html.find(part), html.npos) << part;
  expect_contains(html, "prefers-color-scheme: dark");
  expect_contains(html, "@media print");
  expect_contains(html, "width=device-width");
}

TEST_F(Reports, HostileTextStaysText) {
  const std::string hostile = "<script>alert(1)</script>&\"'|`](x)\x01{{case}}{{{svg}}}=1+1";
  std::vector<json> records = good_records();
  json& record = result_of(records, "chunked");
  fail(record);
  for (const char* const name : {"path", "recipe", "form", "device", "note", "reason", "reproducer",
                                 "case", "id", "operator"})
    record[name] = hostile;
  record["environment"] = {{hostile, hostile}};
  json& tensor = record["tensors"]["o"];
  tensor["finding"] = hostile;
  tensor["where"]["worst"][0]["at"] = hostile;
  tensor["clauses"][hostile] = tensor["clauses"]["A.max"];
  tensor["clauses"][hostile]["detail"] = hostile;
  for (const char* const name : {"sequence", "head", "row", "column"})
    tensor["picture"]["axes"][name] = hostile;
  record["tensors"][hostile] = tensor;
  records.push_back({{"schema", 1},
                     {"case", hostile},
                     {"id", hostile},
                     {"operator", hostile},
                     {"equality", hostile},
                     {"why", hostile},
                     {"violation", hostile},
                     {"status", "FAILED"}});
  records.push_back({{"schema", 1},
                     {"case", hostile},
                     {"id", hostile},
                     {"operator", hostile},
                     {"raised_limit_problem", hostile},
                     {"status", "FAILED"}});
  json comparison = comparison_record(true);
  for (const char* const name : {"note", "reproducer", "case", "id", "operator"})
    comparison[name] = hostile;
  for (const char* const name : {"paths", "recipes", "forms"})
    comparison[name] = {hostile, hostile};
  json& compared = comparison["tensors"]["o"];
  compared["worst"] = compared["verdicts"][1]["finding"] = hostile;
  compared["reason"] = {{"rtol", hostile}, {"atol", hostile}};
  compared["usual"][0]["name"] = hostile;
  comparison["tensors"][hostile] = compared;
  records.push_back(comparison);
  records.push_back({{"schema", 1},
                     {"mutant", hostile},
                     {"operator", hostile},
                     {"declares", hostile},
                     {"defect", hostile},
                     {"needs", hostile},
                     {"status", "SURVIVED"},
                     {"cases", 1},
                     {"seen_on", 1},
                     {"seen_by", {{hostile, 1}}},
                     {"killed_by", {{"case", hostile}, {"check", hostile}, {"message", hostile}}}});
  const std::vector<std::string> all = formats(read(records));
  for (const std::size_t format : {0u, 1u, 3u}) {
    EXPECT_EQ(all[format].find("<script"), all[format].npos);
    EXPECT_EQ(all[format].find('\x01'), all[format].npos);
  }
  expect_contains(all[0], "&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;");
  expect_contains(all[0], "{{case}}{{{svg}}}");
  EXPECT_EQ(all[1].find("](x)"), all[1].npos);
}

TEST_F(Reports, ASpreadsheetComputesNothing) {
  std::vector<json> records = good_records();
  result_of(records, "chunked")["path"] = "=HYPERLINK(\"x\")";
  expect_contains(csv(read(records)), ",\"'=HYPERLINK(\"\"x\"\")\",");
}

TEST_F(Reports, OfTheSameInputAreTheSameBytes) {
  std::vector<json> records = good_records();
  fail(result_of(records, "chunked"));
  const std::string input = write("a.jsonl", records);
  ASSERT_EQ(report(input).code, 0);
  std::vector<std::string> first;
  for (const char* const name : {"index.html", "summary.md", "results.csv", "junit.xml"})
    first.push_back(bytes_of(folder_ / "out" / name));
  ASSERT_EQ(report(input).code, 0);
  std::size_t i = 0;
  for (const char* const name : {"index.html", "summary.md", "results.csv", "junit.xml"})
    EXPECT_EQ(bytes_of(folder_ / "out" / name), first[i++]) << name;
  // Four files, and none that is left over.
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "out"), fs::directory_iterator()), 4);
}

TEST_F(Reports, WithoutGnuplotSayThatPicturesAreMissing) {
  fs::create_directory(folder_ / "empty");
  const Ended end =
      report(write("a.jsonl", good_records()), fmt::format("PATH='{}'", path("empty")));
  EXPECT_EQ(end.code, 0);
  expect_contains(end.text, "missing: gnuplot is not installed");
  expect_contains(bytes_of(folder_ / "out" / "index.html"), "missing: gnuplot is not installed");
}

TEST_F(Reports, BadInputIsOneMessageWithFileAndLineAndNothingIsWritten) {
  const auto expect_refused = [&](const Ended& end, const std::string& reason) {
    EXPECT_EQ(end.code, 2) << end.text;
    EXPECT_EQ(std::ranges::count(end.text, '\n'), 1) << end.text;
    expect_contains(end.text, reason);
    EXPECT_FALSE(fs::exists(folder_ / "out"));
  };
  const auto refused = [&](const std::function<void(json&)>& change, const std::string& reason) {
    std::vector<json> records = good_records();
    change(records[1]);
    expect_refused(report(write("bad.jsonl", records)), "bad.jsonl:2: " + reason);
  };
  expect_refused(report(path("none.jsonl")), "none.jsonl: cannot be read: No such file");
  expect_refused(report(folder_.string()), "cannot be read: Is a directory");
  write("empty.jsonl", "\n");
  expect_refused(report(path("empty.jsonl")), "empty.jsonl: holds no result");
  const std::string bytes = bytes_of(write("good.jsonl", good_records()));
  write("short.jsonl", bytes.substr(0, bytes.size() - 9));
  expect_refused(report(path("short.jsonl")),
                 fmt::format("short.jsonl:{}: is no JSON", good_records().size()));
  refused([](json& record) { record = json::array(); }, "is no JSON object");
  refused([](json& record) { record.erase("schema"); }, "'schema' is missing");
  refused([](json& record) { record["schema"] = 7; }, "has schema 7; this program reads schema 1");
  refused([](json& record) { record.erase("case"); }, "'case' is missing");
  refused([](json& record) { record["seconds"] = "long"; }, "'seconds' is not a number");
  refused([](json& record) { record["status"] = "FINE"; }, "there is no status 'FINE'");
  refused([](json& record) { record.erase("path"); },
          "is no result, bitwise contract, raised limit, comparison, timing or mutant");
  const auto picture = [](json& record) -> json& { return record["tensors"]["o"]["picture"]; };
  refused(
      [&](json& record) {
        picture(record)["histogram"] = {{"first", 60}, {"path", {1, 2, 3}}};
      },
      "'path' is not a list");
  refused([&](json& record) { picture(record)["along"]["rms"] = {1}; },
          "'along' is not one number a window");
  refused(
      [&](json& record) {
        fail(record);
        picture(record)["map"]["cells"][0] = "\"><b>";
      },
      "'cells' is not a map of error levels");
  expect_refused(groundstate("report"), "report needs JSON Lines files");
  expect_refused(groundstate(fmt::format("report '{}'", path("good.jsonl"))), "report needs -o");
  write("file", "");
  expect_refused(
      groundstate(fmt::format("report '{0}/good.jsonl' -o '{0}/file'", folder_.string())),
      "file: is no folder");
}

TEST_F(Reports, ARecordWithoutAPictureIsReportedWithoutOne) {
  std::vector<json> records = good_records();
  json& record = result_of(records, "chunked");
  fail(record);
  for (json& tensor : record["tensors"]) tensor.erase("picture");
  expect_contains(formats(read(records))[0], "The record holds no picture of this tensor.");
}

// ---- report diff

TEST_F(Reports, ADifferenceFindsWhatIsFixedBrokenMovedNewAndGone) {
  std::vector<json> before = good_records(), after = good_records();
  fail(result_of(before, "scan"));
  fail(result_of(after, "chunked"));
  json& moved = result_of(after, "chunked:single")["tensors"];
  for (json& tensor : moved)
    for (json& clause : tensor["clauses"])
      if (clause["applicable"] == true) clause["limit"] = clause["limit"].get<double>() / 2.5;
  std::erase_if(before,
                [](const json& record) { return record.value("path", "") == "step[tokens=4]"; });
  std::erase_if(after, [](const json& record) { return record.value("path", "") == "parallel"; });
  const ReportDifference found =
      difference(read_records({write("a.jsonl", before)}), read_records({write("b.jsonl", after)}));
  std::vector<std::string> words;
  for (const ReportChange& change : found.changes)
    words.push_back(fmt::format("{} {}", name_of(change.kind), change.what));
  EXPECT_EQ(words, (std::vector<std::string>{"BROKEN chunked", "FIXED scan", "MOVED chunked:single",
                                             "NEW step[tokens=4]", "GONE parallel"}));

  const Ended end =
      groundstate(fmt::format("report diff '{}' '{}'", path("a.jsonl"), path("b.jsonl")));
  EXPECT_EQ(end.code, 1);
  expect_contains(end.text, "BROKEN  simple_gla");
  expect_contains(end.text, "first at b=0 t=3 h=0 v=1: got NaN");
  expect_contains(end.text, "1 broken, 1 fixed, 1 moved by more than 2x, 1 new, 1 gone");
  const Ended back =
      groundstate(fmt::format("report diff '{}' '{}' --json", path("a.jsonl"), path("a.jsonl")));
  EXPECT_EQ(back.code, 0);
  EXPECT_EQ(back.text, "");
}

TEST_F(Reports, ABrokenContractIsABreak) {
  std::vector<json> after = good_records();
  json& contract =
      *std::ranges::find_if(after, [](const json& each) { return each.contains("equality"); });
  contract["status"] = "FAILED";
  contract["violation"] = "first byte 17";
  const ReportDifference found = difference(read(good_records()), read(after));
  ASSERT_EQ(found.changes.size(), 1u);
  EXPECT_TRUE(found.any_broken());
  EXPECT_EQ(found.changes[0].finding, "first byte 17");
}

TEST_F(Reports, ADifferenceOfBadInputIsOneMessage) {
  const Ended end = groundstate(
      fmt::format("report diff '{}' '{}'", write("a.jsonl", good_records()), path("none.jsonl")));
  EXPECT_EQ(end.code, 2);
  expect_contains(end.text, "none.jsonl: cannot be read");
}

}  // namespace
}  // namespace groundstate::harness
