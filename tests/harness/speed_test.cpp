// Timings in records and reports: what is written comes back, rows of one case and device are set
// against each other, nothing is lost in any format. The verb, from outside.
#include "harness/report/speed.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "harness/case/error.hpp"
#include "harness/report/documents.hpp"
#include "harness/report/json_lines.hpp"
#include "tests/harness/expect_contains.hpp"
#include "tests/harness/program.hpp"
#include "tests/harness/temporary_folder.hpp"

namespace groundstate::harness {
namespace {

using nlohmann::json;

BenchRow row(std::string path, double median, std::string device = "a machine") {
  BenchRow result;
  result.case_text = "simple_gla T=9";
  result.id = "0123456789abcdef";
  result.operator_name = "simple_gla";
  result.path = std::move(path);
  result.device = std::move(device);
  result.timing = {{0.75 * median, median, 1.5 * median}, 30};
  result.flops = 2e9 * median;
  result.bytes = 3e9 * median;
  result.overhead = 1e-6;
  result.ceiling = {"copy", median / 4};
  result.clocks = {{"sm_mhz", 1980}};
  result.reproducer = "groundstate bench 'simple_gla T=9'";
  return result;
}

BenchRow of_library(std::string library, std::string path, double median) {
  BenchRow result = row(std::move(path), median);
  result.library = std::move(library);
  return result;
}

BenchRow failed_row() {
  BenchRow result = row("fused", 1e-9);
  result.status = Status::failed;
  result.note = "o has other bits";
  return result;
}

class Timings : public TemporaryFolder {
 protected:
  Records read(const std::vector<BenchRow>& rows) const {
    std::vector<json> records;
    for (const BenchRow& own : rows) records.push_back(to_record(own));
    return read(records);
  }
  Records read(const std::vector<json>& records) const {
    {
      JsonLines lines(path("timings.jsonl"));
      for (const json& record : records) lines.write(record);
    }
    return read_records({path("timings.jsonl")});
  }
  static std::vector<std::string> formats(const Records& records) {
    const Overview overview(records);
    return {page(records, overview, {}).html, summary(records, overview), csv(records),
            junit(overview)};
  }
};

TEST_F(Timings, ComeBackAsTheyWereWritten) {
  BenchRow other = of_library("fla 0.4.1", "chunk", 3e-5);
  other.driver = "580.1";
  other.cold = false;
  other.ceiling.reset();
  BenchRow untimed = row("scan", 1);
  untimed.timing.reset();
  untimed.ceiling.reset();
  untimed.status = Status::unsupported;
  untimed.note = "too large";
  const std::vector<BenchRow> rows{row("chunked", 1e-4), other, untimed, failed_row()};
  const Records records = read(rows);
  ASSERT_EQ(records.timings.size(), rows.size());
  EXPECT_TRUE(records.results.empty());
  for (std::size_t i = 0; i < rows.size(); ++i)
    EXPECT_EQ(to_record(records.timings[i].row), to_record(rows[i]));
}

TEST_F(Timings, OfAnotherLibraryMayKnowLess) {
  const json least = {{"schema", 1},
                      {"kind", "bench"},
                      {"case", "simple_gla T=9"},
                      {"id", "0123456789abcdef"},
                      {"operator", "simple_gla"},
                      {"library", "fla 0.4.1"},
                      {"path", "chunk"},
                      {"device", "a machine"},
                      {"status", "PASSED"},
                      {"median", 2e-4},
                      {"quartiles", {1e-4, 3e-4}},
                      {"repetitions", 100},
                      {"cold", true},
                      {"flops", 1e6},
                      {"bytes", 2e6}};
  const Records records = read(std::vector<json>{to_record(row("chunked", 1e-4)), least});
  EXPECT_EQ(compared(records.timings)[0].libraries, std::vector<std::string>{"2.00 fla 0.4.1"});
  for (const auto& [key, value] : least.items()) {
    json lacking = least;
    lacking.erase(key);
    if (key == "library" || key == "median") continue;  // ours, and not timed
    EXPECT_THROW(read(std::vector<json>{lacking}), UsageError) << key;
  }
}

TEST_F(Timings, OfOneCaseAndDeviceAreComparedAndNoOthers) {
  BenchRow another_case = row("chunked", 7e-5);
  another_case.id = "another";
  const Records records = read(std::vector<BenchRow>{
      row("recurrent", 4e-4), row("chunked", 1e-5, "another machine"), row("chunked", 1e-4),
      failed_row(), another_case, of_library("fla", "chunk", 2e-4),
      of_library("fla", "fused", 3e-4), of_library("mamba", "scan", 8e-4)});
  std::vector<std::string> lines;
  for (const ComparedTiming& own : compared(records.timings))
    lines.push_back(fmt::format(
        "{}{} {} {}", own.first ? "# " : "", path_and_library(own.timing->row),
        own.ratio ? fmt::format("{:.2f}", *own.ratio) : "-", fmt::join(own.libraries, "; ")));
  EXPECT_EQ(lines, (std::vector<std::string>{
                       "# recurrent 4.00 0.50 fla; 2.00 mamba",
                       "chunked 1.00 2.00 fla; 8.00 mamba",
                       "fused - ",
                       "chunk (fla) 2.00 4.00 mamba",
                       "fused (fla) 3.00 2.67 mamba",
                       "scan (mamba) 8.00 0.25 fla",
                       "# chunked 1.00 ",
                       "# chunked 1.00 ",
                   }));
}

TEST_F(Timings, AreInEveryFormat) {
  const Records records = read(
      std::vector<BenchRow>{row("chunked", 1e-4), of_library("fla", "chunk", 2e-4), failed_row()});
  for (const std::string& text : formats(records))
    for (const char* const part :
         {"simple_gla T=9", "a machine", "chunk (fla)", "fused", "FAILED", "o has other bits"})
      expect_contains(text, part);
  for (const std::string& text : {formats(records)[0], formats(records)[1]}) {
    expect_contains(text, "3 timings, 1 timing failed");
    expect_contains(text, "100 us");
    expect_contains(text, "25 % of copy");
    expect_contains(text, "2.00 fla");
  }
  expect_contains(csv(records), "timing,");
  expect_contains(junit(Overview(records)), R"(tests="3" failures="1")");
}

TEST_F(Timings, OfHostileTextAreText) {
  const std::string hostile = "<script>alert(1)</script>&\"'|`](x)\x01{{case}}=1+1";
  BenchRow own = of_library(hostile, hostile, 1e-4);
  own.device = own.note = own.case_text = own.reproducer = own.driver = own.ceiling->of = hostile;
  own.clocks = {{hostile, 1}};
  const std::vector<std::string> texts = formats(read(std::vector<BenchRow>{own, own}));
  for (const std::size_t i : {0u, 1u, 3u}) {
    EXPECT_EQ(texts[i].find("<script"), std::string::npos) << i;
    EXPECT_EQ(texts[i].find('\x01'), std::string::npos) << i;
  }
  EXPECT_EQ(texts[1].find("](x)"), std::string::npos);
}

TEST_F(Timings, OfADamagedRecordAreRefused) {
  const auto refusal = [&](const std::function<void(json&)>& change) -> std::string {
    json record = to_record(row("chunked", 1e-4));
    change(record);
    try {
      read(std::vector<json>{record});
    } catch (const UsageError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(refusal([](json&) {}), "accepted");
  expect_contains(refusal([](json& r) { r["kind"] = "other"; }), ":1: 'kind' is not one");
  expect_contains(refusal([](json& r) { r["median"] = 0; }), "'median' is not above 0");
  expect_contains(refusal([](json& r) { r["median"] = "nan"; }), "'median' is not a finite number");
  expect_contains(refusal([](json& r) { r["quartiles"] = {2e-4, 3e-4}; }), "between the quartiles");
  expect_contains(refusal([](json& r) { r["quartiles"] = {1e-5}; }),
                  "'quartiles' is not two numbers");
  expect_contains(refusal([](json& r) { r.erase("quartiles"); }), "'quartiles' is missing");
  expect_contains(refusal([](json& r) { r["bytes"] = -1; }), "'bytes' is not a finite number");
  expect_contains(refusal([](json& r) {
                    r["clocks"] = {{"mhz", "fast"}};
                  }),
                  "'mhz' is not a number");
  expect_contains(refusal([](json& r) { r["ceiling"] = 1; }), "'ceiling' is not an object");
}

TEST(Seconds, HaveAUnitThatFits) {
  EXPECT_EQ(short_seconds(12.34), "12.3 s");
  EXPECT_EQ(short_seconds(0.99999), "1 s");
  EXPECT_EQ(short_seconds(0.01234), "12.3 ms");
  EXPECT_EQ(short_seconds(0.0009999), "1 ms");
  EXPECT_EQ(short_seconds(1.5e-6), "1.5 us");
}

// ---- the verb

TEST_F(Timings, OfTheProgramAreRecordedPrintedAndReported) {
  const Ended end = groundstate(
      fmt::format("bench 'simple_gla T=40 H=1 K=8 V=8' --path chunked --threads 1 -o '{}'",
                  path("timings.jsonl")));
  EXPECT_EQ(end.code, 0) << end.text;
  expect_contains(end.text, "PASSED      chunked");
  expect_contains(end.text, "launching nothing takes");
  expect_contains(end.text, "fp64 multiply-add");
  expect_contains(end.text, "1 timed, 0 failed");
  const Records records = read_records({path("timings.jsonl")});
  ASSERT_EQ(records.timings.size(), 1u);
  EXPECT_EQ(records.timings[0].row.timing->repetitions, 30);
  EXPECT_TRUE(records.timings[0].row.percent());
  EXPECT_EQ(
      groundstate(fmt::format("report '{}' -o '{}'", path("timings.jsonl"), path("out"))).code, 0);
  expect_contains(bytes_of(path("out/index.html")), "<h2>Speed</h2>");
}

TEST_F(Timings, OfNothingEndWithThree) {
  const Ended end = groundstate("bench 'simple_gla T=9' --path recurrent --max-cost 1 --json");
  EXPECT_EQ(end.code, 3);
  const json record = json::parse(end.text);
  EXPECT_EQ(record["status"], "UNSUPPORTED");
  EXPECT_FALSE(record.contains("median"));
}

}  // namespace
}  // namespace groundstate::harness
