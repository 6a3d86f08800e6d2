// Bits that are declared against bits that are observed: harness/run/equality,
// harness/report/determinism.
#include "harness/report/determinism.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "harness/case/sweep.hpp"
#include "harness/operators/registry.hpp"
#include "harness/run/run_case.hpp"
#include "tests/harness/expect_contains.hpp"
#include "tests/harness/faulty_operator.hpp"

namespace groundstate::harness {
namespace {

CaseReport observed(const Operator& op, const char* line, std::vector<std::string> paths,
                    std::string program = {}) {
  const Case c = parse_case(line, grammars());
  RunOptions options;
  options.determinism = true;
  options.program = std::move(program);
  options.paths = std::move(paths);
  return run_case(op, {c, {}, {}, {}}, options);
}

const EqualityResult* named(const CaseReport& report, std::string_view part) {
  for (const EqualityResult& own : report.equalities)
    if (own.name.find(part) != own.name.npos) return &own;
  return nullptr;
}

constexpr const char* line = "simple_gla B=2 T=150 H=2 K=8 V=8 dtype=fp32 gate=slow state=random";

TEST(Determinism, WhatNobodyPromisesBreaksNothing) {
  const Operator& op = operator_of(parse_case(line, grammars()));
  const CaseReport report =
      observed(op, line, {"chunked:single", "recurrent:single", "segmented:single"});
  EXPECT_FALSE(report.failed());
  // Cut at the chunks: promised. Anywhere else another order of additions, other bits.
  const EqualityResult* const at_chunks = named(report, "chunked:single: resumed after 64 tokens");
  ASSERT_NE(at_chunks, nullptr);
  EXPECT_TRUE(at_chunks->declared);
  EXPECT_FALSE(at_chunks->violation);
  const EqualityResult* const anywhere =
      named(report, "chunked:single: resumed anywhere, after 75 tokens");
  ASSERT_NE(anywhere, nullptr);
  EXPECT_FALSE(anywhere->declared);
  ASSERT_TRUE(anywhere->violation);
  expect_contains(*anywhere->violation, "time=");
  // A recurrence promises every cut.
  EXPECT_EQ(named(report, "recurrent:single: resumed anywhere"), nullptr);
  EXPECT_TRUE(named(report, "recurrent:single: resumed after 75 tokens")->declared);
  // How it is launched.
  const EqualityResult* const chunk = named(report, "chunked:single: chunk=32");
  ASSERT_NE(chunk, nullptr);
  EXPECT_TRUE(!chunk->declared && chunk->violation);
  EXPECT_NE(named(report, "segmented:single: segments=2"), nullptr);

  DeterminismProfile profile;
  for (const EqualityResult& own : report.equalities) profile.add(own);
  const BitsOfProperty* const rerun = profile.find("chunked:single", "n threads");
  ASSERT_NE(rerun, nullptr);
  EXPECT_EQ(rerun->held, 4);
  const BitsOfProperty* const cut =
      profile.find("chunked:single", "resumed anywhere, after n tokens");
  ASSERT_NE(cut, nullptr);
  EXPECT_EQ(cut->differs, 1);
  EXPECT_FALSE(cut->declared());
  const std::string text = render(profile, {});
  expect_contains(text, "bits of chunked:single");
  expect_contains(text, "differs: o batch=");

  for (const nlohmann::json& record : to_records(report)) {
    if (!record.contains("observation")) continue;
    EXPECT_FALSE(record.contains("equality"));
    EXPECT_EQ(record["same"].get<bool>(), !record.contains("difference"));
  }
}

// A path whose bits change from run to run breaks what it declares.
TEST(Determinism, ABrokenDeclarationFails) {
  const Operator& own = operator_of(parse_case(line, grammars()));
  FaultyOperator op(own);
  int runs = 0;
  op.after_run = [&](const PathVariant&, Tensors& outputs) {
    Tensor& o = outputs.front();
    if (++runs % 2 == 0) o.store(17, o.load(17) * (1 + 0x1p-23));
  };
  const CaseReport report = observed(op, line, {"chunked:single"});
  EXPECT_TRUE(report.failed());
  const EqualityResult* const rerun = named(report, "chunked:single: rerun");
  ASSERT_NE(rerun, nullptr);
  ASSERT_TRUE(rerun->broken());
  // Element 17 of [2, 150, 2, 8].
  expect_contains(*rerun->violation, "o batch=0 time=1 value_head=0 value=1: ");
  DeterminismProfile profile;
  for (const EqualityResult& each : report.equalities) profile.add(each);
  expect_contains(render(profile, {}), "BROKEN, ");
}

TEST(Determinism, AFreshProcessIsObserved) {
  const char* const program = std::getenv("GROUNDSTATE");
  if (program == nullptr || !std::filesystem::exists(program))
    GTEST_SKIP() << "GROUNDSTATE names no program";
  const Operator& own = operator_of(parse_case(line, grammars()));
  const CaseReport report = observed(own, line, {"chunked:single"}, program);
  const EqualityResult* const fresh = named(report, "chunked:single: fresh process");
  ASSERT_NE(fresh, nullptr);
  EXPECT_FALSE(fresh->declared);
  EXPECT_FALSE(fresh->violation) << *fresh->violation;
  // It is another process: it knows nothing of a fault of this one.
  FaultyOperator op(own);
  op.after_run = [](const PathVariant&, Tensors& outputs) {
    outputs.back().store(5, outputs.back().load(5) + 1);
  };
  const CaseReport faulty = observed(op, line, {"chunked:single"}, program);
  const EqualityResult* const other = named(faulty, "chunked:single: fresh process");
  ASSERT_TRUE(other != nullptr && other->violation);
  expect_contains(*other->violation, "ht sequence=0 value_head=0 key=0 value=5");
}

}  // namespace
}  // namespace groundstate::harness
