// harness/run/properties: what holds without an oracle holds for honest paths, and each check finds
// the fault that it is for.
#include "harness/run/properties.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "harness/case/sweep.hpp"
#include "harness/operators/registry.hpp"
#include "harness/run/outputs.hpp"
#include "harness/run/places.hpp"
#include "harness/run/run_case.hpp"
#include "tests/harness/faulty_operator.hpp"

namespace groundstate::harness {
namespace {

CaseReport checked(const Operator& op, std::string_view line, std::vector<std::string> paths = {}) {
  const Case c = parse_case(line, grammars());
  RunOptions options;
  options.checks = true;
  options.equalities = false;
  options.paths = std::move(paths);
  return run_case(op, {c, {}, {}, {}}, options);
}
CaseReport checked(std::string_view line, std::vector<std::string> paths = {}) {
  return checked(operator_of(parse_case(line, grammars())), line, std::move(paths));
}

const Clause* clause_of(const CaseReport& report, std::string_view tensor, std::string_view name) {
  for (const TensorVerdict& verdict : report.results.at(0).verdict.tensors)
    for (const Clause& clause : verdict.clauses)
      if (verdict.tensor == tensor && clause.name == name) return &clause;
  return nullptr;
}

std::string failures(const CaseReport& report) {
  std::string text;
  for (const Result& result : report.results)
    for (const TensorVerdict& verdict : result.verdict.tensors)
      for (const Clause& clause : verdict.clauses)
        if (!clause.passed)
          text +=
              fmt::format("{} {} {} {}: {:.3g} / {:.3g} {}\n", report.case_text, result.path,
                          verdict.tensor, clause.name, clause.value, clause.limit, clause.detail);
  return text;
}

// ---- honest paths

TEST(Properties, HoldForEveryHonestPath) {
  for (const char* const lines :
       {"simple_gla T=70 B=2 H=1 HV=2 K=8 V=16 gate=slow,reset state=random dtype=fp32,bf16,fp16",
        "simple_gla T=70 H=1 K=8 V=8 gate=open,mixed dtype=fp32",
        "simple_gla lengths=0+37+5+64 H=2 K=8 V=16 gate_inputs=both reverse=yes dtype=fp32",
        "simple_gla T=70 H=1 K=8 V=8 gate=slow reverse=yes state=random dtype=fp64",
        "simple_gla.backward T=70 B=2 H=1 HV=2 K=8 V=16 gate=slow,reset gate_inputs=both "
        "state=random dht=random dtype=fp32,bf16",
        "simple_gla.backward lengths=0+37+5 H=2 K=8 V=16 reverse=yes dtype=fp32",
        "decayed_sum T=70 B=2 gate=open,slow,reset state=random dtype=fp32,bf16",
        "decayed_sum.backward T=70 B=2 gate=slow state=random dht=random",
        "selective_state_update B=5 T=3 H=2 P=8 N=16 padding=interleaved z=random "
        "state_dtype=fp32,bf16,int8",
        "mamba3_step B=3 T=4 H=2 P=16 N=32 prologue=norm z=random"})
    for (const Case& c : expand(lines, grammars())) {
      const CaseReport report = checked(c.canonical());
      EXPECT_EQ(failures(report), "");
      EXPECT_FALSE(report.failed());
      EXPECT_GT(report.judged(), 1);
    }
}

// ---- planted faults

// Rows of time of an output [batch, time, head, channel].
struct Rows {
  Tensor& tensor;
  Index batch() const { return tensor.axes()[0].extent; }
  Index time() const { return tensor.axes()[1].extent; }
  Index rest() const { return tensor.elements() / std::max<Index>(batch() * time(), 1); }
  double at(Index b, Index t, Index i) const { return tensor.load((b * time() + t) * rest() + i); }
  void set(Index b, Index t, Index i, double x) const {
    tensor.store((b * time() + t) * rest() + i, x);
  }
  template <class Change>
  void change(Change&& change) const {
    for (Index b = 0; b < batch(); ++b)
      for (Index t = 0; t < time(); ++t)
        for (Index i = 0; i < rest(); ++i) set(b, t, i, change(b, t, i));
  }
};

struct Fault {
  const char *line, *tensor, *clause;
  std::function<void(const Rows&)> plant;
};

const char* const forward = "simple_gla B=2 T=40 H=2 K=8 V=8 gate=slow state=random dtype=fp32";
const char* const sums = "decayed_sum B=2 T=40 H=2 V=8 gate=slow state=random dtype=fp32";
const char* const backward =
    "simple_gla.backward B=2 T=40 H=2 K=8 V=8 gate=slow state=random dht=random dtype=fp32";
const char* const step = "selective_state_update B=3 T=2 H=2 P=8 N=16 dtype=fp32";

TEST(Properties, EachFindsItsFault) {
  const auto scaled_by = [](double factor) {
    return [factor](const Rows& y) {
      y.change([&](Index b, Index t, Index i) { return factor * y.at(b, t, i); });
    };
  };
  const auto not_a_number = [](const Rows& y) {
    y.set(0, y.time() - 1, 0, std::numeric_limits<double>::quiet_NaN());
  };
  const auto first_row = [](const Rows& y) {
    for (Index i = 0; i < y.rest(); ++i) y.set(0, 0, i, 1.01 * y.at(0, 0, i));
  };
  const auto in_short_calls = [](const Rows& y) {
    if (y.time() == 1) y.change([&](Index b, Index t, Index i) { return 1.1 * y.at(b, t, i); });
  };
  const auto from_the_next = [](const Rows& y) {
    y.change([&](Index b, Index t, Index i) {
      return y.at(b, t, i) + (t + 1 < y.time() ? 0.25 * y.at(b, t + 1, i) : 0);
    });
  };
  const auto from_another_batch = [](const Rows& y) {
    y.change([&](Index b, Index t, Index i) {
      return y.at(b, t, i) + (b > 0 ? 0x1p-10 * y.at(0, t, i) : 0);
    });
  };
  const auto constant = [](const Rows& y) {
    y.change([&](Index b, Index t, Index i) { return y.at(b, t, i) + 1e-3; });
  };
  const auto of_size = [](const Rows& y) {
    y.change(
        [&](Index b, Index t, Index i) { return y.at(b, t, i) + 0.25 * std::abs(y.at(b, t, i)); });
  };
  const auto last_row = [](const Rows& y) {
    for (Index b = 0; b < y.batch(); ++b)
      for (Index i = 0; i < y.rest(); ++i)
        y.set(b, y.time() - 1, i, 1.5 * y.at(b, y.time() - 1, i));
  };
  const std::vector<Fault> faults{
      {forward, "o", "finite", not_a_number},
      {forward, "o", "prefix", first_row},
      {forward, "o", "one_token", in_short_calls},
      {forward, "o", "causal", from_the_next},
      {forward, "o", "independent", from_another_batch},
      {forward, "o", "scaled", constant},
      {forward, "o", "additive", of_size},
      {forward, "o", "split", last_row},
      {forward, "o", "closed", scaled_by(1.01)},
      {sums, "y", "prefix", first_row},
      {sums, "y", "causal", from_the_next},
      {sums, "y", "additive", of_size},
      {sums, "y", "split", last_row},
      {sums, "y", "closed", scaled_by(1.01)},
      {backward, "dv", "prefix", scaled_by(1.01)},
      {backward, "dk", "one_token", in_short_calls},
      {backward, "dv", "independent", from_another_batch},
      {backward, "dq", "scaled", constant},
      {backward, "dk", "additive", of_size},
      {backward, "dv", "adjoint", scaled_by(1.25)},
      {backward, "dq", "adjoint", scaled_by(1.25)},
      {backward, "dg", "residual.gate recurrence", scaled_by(1.25)},
      {step, "out", "causal", from_the_next},
      {step, "out", "independent", from_another_batch},
      {step, "out", "scaled", constant},
      {step, "out", "additive", of_size},
  };
  for (const Fault& fault : faults) {
    const Operator& own = operator_of(parse_case(fault.line, grammars()));
    const CaseReport honest = checked(fault.line, {"recurrent:single"});
    const Clause* const before = clause_of(honest, fault.tensor, fault.clause);
    ASSERT_NE(before, nullptr) << fault.line << " " << fault.tensor << " " << fault.clause;
    EXPECT_TRUE(before->applicable && before->passed) << fault.clause << " " << before->detail;

    FaultyOperator faulty(own);
    faulty.after_run = [&](const PathVariant&, Tensors& outputs) {
      fault.plant({*find(outputs, fault.tensor)});
    };
    const CaseReport report = checked(faulty, fault.line, {"recurrent:single"});
    const Clause* const after = clause_of(report, fault.tensor, fault.clause);
    ASSERT_NE(after, nullptr);
    EXPECT_FALSE(after->passed) << fault.line << " " << fault.tensor << " " << fault.clause << " "
                                << after->value;
    EXPECT_FALSE(after->detail.empty()) << fault.clause;
    EXPECT_EQ(report.results.at(0).status, Status::failed);
  }
}

// ---- outputs of a file

PathVerdict given(const Operator& op, const Case& c, const Tensors& outputs,
                  const Tensors& inputs) {
  Candidate candidate;
  candidate.outputs = &outputs;
  for (const TensorSpec& spec : op.judged_outputs(c)) candidate.types.push_back(spec.type);
  candidate.declaration = {recipe_units("single"), false};
  candidate.form.path = "chunked";
  candidate.chunk = 64;
  set_intervals(candidate, false);
  return check_given(op, c, inputs, candidate);
}

TEST(GivenProperties, FindWrongGradientsWithoutAnOracle) {
  const Case c = parse_case(backward, grammars());
  const Operator& op = operator_of(c);
  const Tensors inputs = generate(op.inputs(c));
  const auto verdict = [&](std::string_view tensor, double factor) {
    const PathVariant variant = checked_variant(op, "chunked:single");
    Tensors outputs;
    for (const TensorSpec& spec : stored_outputs(op, c, variant))
      outputs.push_back(spec.allocate());
    op.run(c, variant, inputs, outputs);
    for (Tensor& own : outputs)
      if (own.name() == tensor)
        for_each_element(own, [&](Index, Index at) { own.store(at, factor * own.load(at)); });
    return given(op, c, outputs, inputs);
  };
  EXPECT_EQ(verdict("none", 1).status, Status::passed);
  for (const char* const tensor : {"dk", "dv", "dg", "dh0"})
    EXPECT_EQ(verdict(tensor, 1.3).status, Status::failed) << tensor;
  // The sum of q dq is that of the outputs, which a file of gradients has not: but dg follows from
  // dq and dk token by token.
  EXPECT_EQ(verdict("dq", 1.3).status, Status::failed);
}

}  // namespace
}  // namespace groundstate::harness
