// harness/judge/agreement and harness/run/versus_case: two implementations against each other.
#include "harness/report/versus.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "harness/case/sweep.hpp"
#include "harness/operators/registry.hpp"
#include "harness/run/outputs.hpp"
#include "harness/run/versus_case.hpp"
#include "tests/harness/expect_contains.hpp"

namespace groundstate::harness {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity(),
                 not_a_number = std::numeric_limits<double>::quiet_NaN();

Promise single_promise(ElementType type) {
  return {recipe_limits("single", Family::diagonal), type, fp32_roundoff};
}

// ---- the limits of an honest pair

struct Pair2 {
  double left, right;
};
MeasuredAgreement agreement(const Promise& promise, double unit, const std::vector<Pair2>& pairs,
                            double oracle = 1) {
  AgreementJudge judge(promise, promise, static_cast<Index>(pairs.size()));
  for (const auto& [left, right] : pairs)
    judge.add({left, right, oracle, unit, unit, left == right});
  return judge.finish();
}

// Each a bound away from the exact value, on opposite sides, is the farthest that an honest pair
// is.
TEST(Agreement, LimitIsTheSumOfBothBounds) {
  for (const ElementType type : {ElementType::float32, ElementType::bfloat16}) {
    const Promise promise = single_promise(type);
    const double v = unit_roundoff(type), inner = 1e-5,
                 unit = v + inner;  // of an exact value of 1
    const double stored = v > fp32_roundoff ? v : 0,
                 bound = stored + promise.limits.maximum * (inner + fp32_roundoff);
    const auto apart = [&](double share) {
      return agreement(promise, unit, {{1 + share * bound, 1 - share * bound}});
    };
    EXPECT_NEAR(apart(1).clauses[1].value, 1, 1e-9);
    EXPECT_TRUE(apart(0.999).passed());
    EXPECT_FALSE(apart(1.001).passed());
    // Whoever keeps to the bound is within the recommended tolerance, as allclose reads it.
    const MeasuredAgreement farthest = apart(1);
    EXPECT_LE(2 * bound, (farthest.atol + farthest.rtol * (1 - bound)) * (1 + 1e-12));
    EXPECT_GE(farthest.slack, 1 - 1e-6);
  }
}

TEST(Agreement, ToleranceServesTheHardestElement) {
  const Promise promise = single_promise(ElementType::float32);
  AgreementJudge judge(promise, promise, 2);
  judge.add({1, 1, 1, 1e-6, 1e-6, true});
  judge.add({1, 1, 1, 1e-3, 1e-3, true});
  const MeasuredAgreement own = judge.finish();
  EXPECT_EQ(own.decisive, 1);
  EXPECT_NEAR(own.atol, 2 * promise.limits.maximum * 1e-3, 0.01 * own.atol);
}

TEST(Agreement, FailsClosed) {
  const Promise promise = single_promise(ElementType::float32);
  EXPECT_FALSE(agreement(promise, 1, {{not_a_number, 1}}).passed());
  EXPECT_FALSE(agreement(promise, 1, {{1, not_a_number}}).passed());
  EXPECT_FALSE(agreement(promise, 1, {{infinity, -infinity}}).passed());
  EXPECT_FALSE(agreement(promise, 1, {{infinity, 1}}).passed());
  EXPECT_TRUE(agreement(promise, 1, {{not_a_number, not_a_number}}, not_a_number).passed());
  EXPECT_TRUE(agreement(promise, 1, {{infinity, infinity}}, infinity).passed());
  // Without a unit nothing can be said but of bits.
  const MeasuredAgreement unmeasured = agreement(promise, infinity, {{1, 2}, {3, 3}});
  EXPECT_TRUE(unmeasured.passed());
  EXPECT_FALSE(unmeasured.clauses[1].applicable);
  EXPECT_EQ(unmeasured.same_bits, 1);
}

TEST(Agreement, SaysWhatUsualTolerancesDo) {
  const Promise promise = single_promise(ElementType::bfloat16);
  // A bf16 rounding apart: an honest pair, which 1e-5 does not allow.
  const MeasuredAgreement own = agreement(promise, 0x1p-8, {{1, 1 + 0x1p-8}, {1, 1}});
  EXPECT_TRUE(own.passed());
  ASSERT_EQ(own.usual.size(), 3u);
  EXPECT_EQ(own.usual[0].exceeded, 1);
  EXPECT_LT(own.usual[0].narrowest, 1);
  EXPECT_EQ(own.usual[1].rtol, 1.6e-2);
  EXPECT_EQ(own.usual[1].exceeded, 0);
  EXPECT_GT(own.usual[1].narrowest, 1);
}

// ---- paths

VersusReport versus(std::string_view line, const std::string& left, const std::string& right,
                    const std::function<void(Tensors&)>& fault = {}) {
  const Case c = parse_case(line, grammars());
  const Operator& op = operator_of(c);
  const Tensors inputs = generate(op.inputs(c));
  std::array<Implementation, 2> sides{
      run_implementation(op, c, checked_variant(op, left), inputs),
      run_implementation(op, c, checked_variant(op, right), inputs)};
  if (fault) fault(sides[1].judged);
  return versus_case(op, c, inputs, sides, std::nullopt, {});
}

// Every pair of honest paths keeps to its limits, and to the recommended tolerance.
TEST(Versus, HonestPathsAgree) {
  const std::vector<std::string> fp32{"recurrent:single", "chunked:single", "scan:single",
                                      "fused[key_tile=8]:single", "chunked:tf32"};
  for (const std::string_view gate : {"open", "slow", "normal", "mixed", "reset"})
    for (const std::string& right : fp32) {
      const VersusReport own = versus(
          fmt::format("simple_gla T=200 H=2 K=24 V=16 dtype=fp32 state=random gate={}", gate),
          "recurrent:single", right);
      EXPECT_EQ(own.status, Status::passed) << gate << " " << right;
      for (const VersusTensor& tensor : own.tensors)
        if (right == "recurrent:single") {
          EXPECT_EQ(tensor.agreement.same_bits, tensor.agreement.elements);
          EXPECT_FALSE(tensor.first_difference);
          EXPECT_EQ(tensor.agreement.left.nearer + tensor.agreement.right.nearer, 0);
        } else {
          EXPECT_EQ(tensor.first_difference.has_value(),
                    tensor.agreement.same_bits < tensor.agreement.elements);
          EXPECT_LE(tensor.agreement.clauses[1].value, 1);
        }
    }
  for (const std::string_view line :
       {"simple_gla.backward T=130 H=2 K=16 V=24 dtype=fp32 gate_inputs=both state=random "
        "dht=random",
        "simple_gla.backward T=130 H=2 HV=4 K=16 V=24 gate=slow dht=random"})
    EXPECT_EQ(versus(line, "chunked:single", "recurrent").status, Status::passed) << line;
  EXPECT_EQ(versus("selective_state_update B=5 padding=interleaved state_dtype=int8",
                   "recurrent:single", "recurrent")
                .status,
            Status::passed);
}

TEST(Versus, NamesTheOneThatIsWrong) {
  const VersusReport own = versus("simple_gla T=100 H=2 K=16 V=16 dtype=fp32 gate=normal",
                                  "chunked:single", "recurrent:single", [](Tensors& outputs) {
                                    Tensor& o = *find(outputs, "o");
                                    o.store(1234, -o.load(1234));
                                  });
  EXPECT_EQ(own.status, Status::failed);
  const VersusTensor& o = own.tensors.at(0);
  EXPECT_FALSE(o.agreement.passed());
  EXPECT_EQ(o.verdicts[0].status, Status::passed);
  EXPECT_EQ(o.verdicts[1].status, Status::failed);
  // Element 1234 of [1, 100, 2, 16].
  expect_contains(o.worst, "batch=0 time=38 value_head=1 value=2: ");
  EXPECT_EQ(own.tensors.at(1).status, Status::passed);
  const std::string text = render(own, {});
  expect_contains(text, "FAILED      chunked:single (recipe single) against recurrent:single");
  expect_contains(text, "farthest at batch=0 time=38 value_head=1 value=2");
}

// Two that are wrong in the same way agree, and do not pass.
TEST(Versus, AgreementAloneIsNoPass) {
  const Case c = parse_case("simple_gla T=100 H=1 K=16 V=16 dtype=fp32", grammars());
  const Operator& op = operator_of(c);
  const Tensors inputs = generate(op.inputs(c));
  std::array<Implementation, 2> sides{
      run_implementation(op, c, checked_variant(op, "chunked:single"), inputs),
      run_implementation(op, c, checked_variant(op, "chunked:single"), inputs)};
  for (Implementation& side : sides) {
    Tensor& o = *find(side.judged, "o");
    for_each_element(o, [&](Index, Index at) { o.store(at, 2 * o.load(at)); });
  }
  const VersusReport own = versus_case(op, c, inputs, sides, std::nullopt, {});
  EXPECT_EQ(own.tensors.at(0).agreement.same_bits, own.tensors.at(0).agreement.elements);
  EXPECT_TRUE(own.tensors.at(0).agreement.passed());
  EXPECT_EQ(own.status, Status::failed);
}

// What only bits can say of pairs without sensitivities is said.
TEST(Versus, MeasuresTheSampledPairs) {
  const Case c = parse_case("simple_gla B=4 T=20 H=3 K=8 V=8 dtype=fp32", grammars());
  const Operator& op = operator_of(c);
  const Tensors inputs = generate(op.inputs(c));
  const std::array<Implementation, 2> sides{
      run_implementation(op, c, checked_variant(op, "chunked:single"), inputs),
      run_implementation(op, c, checked_variant(op, "recurrent:single"), inputs)};
  const VersusReport own = versus_case(op, c, inputs, sides, 3, {});
  EXPECT_EQ(own.sampled, 3);
  EXPECT_EQ(own.pairs, 12);
  EXPECT_EQ(own.tensors.at(0).agreement.elements, 12 * 20 * 8);
  EXPECT_EQ(own.tensors.at(0).agreement.measured, 3 * 20 * 8);
}

}  // namespace
}  // namespace groundstate::harness
