// harness/run/certificate: the oracle's own error is bounded, and an oracle that is off is found.
#include "harness/run/certificate.hpp"

#include <gtest/gtest.h>

#include "harness/case/sweep.hpp"
#include "harness/operators/registry.hpp"
#include "harness/run/run_case.hpp"
#include "tests/harness/faulty_operator.hpp"

namespace groundstate::harness {
namespace {

CaseReport certified(const Operator& op, const Case& c, std::vector<std::string> paths = {}) {
  RunOptions options;
  options.certificate = true;
  options.equalities = false;
  options.paths = std::move(paths);
  return run_case(op, {c, {}, {}, {}}, options);
}

TEST(Certificate, EveryOracleHasOne) {
  for (const char* const lines :
       {"simple_gla T=70 H=1 K=8 V=16 gate=open,slow,mixed,reset,growth "
        "state=random",
        "simple_gla.backward T=70 H=1 HV=2 K=8 V=16 gate=open,slow,mixed,reset "
        "gate_inputs=both state=random dht=random",
        "simple_gla.backward lengths=0+37+5 H=2 K=16 V=24 reverse=yes",
        "decayed_sum T=70 gate=open,slow,reset state=random",
        "decayed_sum.backward T=70 gate=open,slow,reset state=random dht=random",
        "selective_state_update B=5 T=3 H=2 P=8 N=16 padding=interleaved z=random",
        "mamba3_step B=3 T=4 H=2 P=16 N=32 prologue=norm z=random"})
    for (const Case& c : expand(lines, grammars())) {
      const Operator& op = operator_of(c);
      const CaseReport report = certified(op, c, {"recurrent", "recurrent:single"});
      EXPECT_FALSE(report.failed()) << c.canonical();
      for (const Result& result : report.results) {
        ASSERT_EQ(result.certificate.size(), op.judged_outputs(c).size()) << c.canonical();
        double largest = 0;
        for (const OracleCertificate& own : result.certificate) {
          EXPECT_TRUE(own.good) << c.canonical() << " " << own.tensor << " " << own.exact.maximum;
          largest = std::max(largest, own.largest);
        }
        // The double oracle is no long double, and far better than fp32.
        EXPECT_GT(largest, 0) << c.canonical();
        if (result.recipe == "single") {
          EXPECT_LT(largest, 1e-6) << c.canonical();
        }
        const bool gradients = c.operator_name().ends_with(".backward");
        EXPECT_EQ(result.gradients.has_value(), gradients);
        if (gradients) {
          EXPECT_LE(result.gradients->worst, 1);
          EXPECT_GT(result.gradients->pairs, 0);
        }
      }
    }
}

// A double oracle whose values are off where fp32 paths do not see it, and one whose gradients are
// those of something else.
class WrongOracle : public FaultyOperator {
 public:
  using FaultyOperator::FaultyOperator;
  double relative = 0, gradient = 0;
  PairOutputs oracle(const Case& c, const Tensors& inputs, const Pair& pair,
                     const Perturbation& how) const override {
    PairOutputs own = FaultyOperator::oracle(c, inputs, pair, how);
    own.front() *= 1 + relative;
    return own;
  }
  std::optional<AdjointIdentity> adjoint_identity(const Case& c, const Tensors& inputs,
                                                  const Pair& pair) const override {
    auto own = FaultyOperator::adjoint_identity(c, inputs, pair);
    if (own) own->backward += gradient * own->size;
    return own;
  }
};

TEST(Certificate, AnOracleThatIsOffIsMistrusted) {
  const Case c = parse_case("simple_gla.backward T=50 H=1 K=8 V=8 dtype=fp32", grammars());
  const auto status = [&](double relative, double gradient) {
    WrongOracle op(operator_of(c));
    op.relative = relative;
    op.gradient = gradient;
    return certified(op, c, {"recurrent:single"}).results.at(0).status;
  };
  EXPECT_EQ(status(0, 0), Status::passed);
  EXPECT_EQ(status(1e-12, 0), Status::mistrusted);
  EXPECT_EQ(status(0, 1e-11), Status::mistrusted);
}

}  // namespace
}  // namespace groundstate::harness
