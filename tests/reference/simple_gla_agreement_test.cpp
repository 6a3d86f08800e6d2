// Every path of simple_gla agrees with the recurrence on every hard input, the long ones of
// data/large.cases among them, in fp64: ||a - b|| <= 1e-13 ||b|| for each tensor, sequence and
// head.
//
// The limit is that of the specification for fp64 paths. Rounding errors of a long open memory add
// up like a random walk, so it grows as sqrt(T) from 8192 tokens on; where ||b|| = 0 equality is
// demanded.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <set>

#include "reference/core/parallel.hpp"
#include "tests/reference/simple_gla_example.hpp"

namespace groundstate::harness {
namespace {

// The quadratic form and the scan of whole states are left out of sequences so long that either
// takes seconds; `run` of both lists in .ci/run judges them there.
constexpr double most_flops = 1e9;

std::vector<std::string> variants_of(const Example& example) {
  std::vector<std::string> result;
  for (const std::string& path : example.op().default_variants(example.line))
    if (path.find(':') == std::string::npos && !path.starts_with("gpu.")) result.push_back(path);
  for (const char* const path :
       {"chunked[chunk=128]", "fused[chunk=16,num_steps=3,key_tile=8,value_tile=24]",
        "segmented[chunk=16,segments=7]", "chunk_scan[chunk=16]"})
    result.emplace_back(path);
  return result;
}

TEST(SimpleGlaAgreement, EveryPathFollowsTheRecurrenceOnEveryHardInput) {
  Index compared = 0;
  std::vector<std::string> skipped;
  double worst = 0;  // in parts of the limit
  std::string worst_where;
  for (const CaseEntry& entry : hard_inputs_in_fp64()) {
    const Example example(entry.value);
    const Operator& op = example.op();
    const std::vector<Pair> pairs = op.pairs(example.line, example.inputs);
    std::vector<PairOutputs> expected;
    for (const Pair& pair : pairs)
      expected.push_back(op.oracle(example.line, example.inputs, pair));
    ASSERT_TRUE(finite(expected)) << example.line.canonical();

    struct Job {
      PathVariant variant;
      std::size_t pair;
      std::array<double, 2> part_of_limit;
    };
    std::vector<Job> jobs;
    for (const std::string& text : variants_of(example)) {
      const PathVariant variant = parse_path_variant(text, op.path_keys());
      if (op.unsupported(example.line, variant) ||
          op.path_flops(example.line, variant) > most_flops) {
        skipped.push_back(text + " of " + example.line.canonical());
        continue;
      }
      for (std::size_t pair = 0; pair < pairs.size(); ++pair) jobs.push_back({variant, pair, {}});
    }
    parallel_for(static_cast<Index>(jobs.size()), [&](Index i) {
      Job& job = jobs[static_cast<std::size_t>(i)];
      const Pair& pair = pairs[job.pair];
      const PairOutputs result = op.emulate(example.line, job.variant, example.inputs, pair);
      const double limit =
          1e-13 * std::sqrt(std::max(1.0, static_cast<double>(pair.length) / 8192));
      for (std::size_t tensor = 0; tensor < 2; ++tensor) {
        const Matrix<double>& b = expected[job.pair][tensor];
        const double error = (result[tensor] - b).norm(), allowed = limit * b.norm();
        job.part_of_limit[tensor] =
            error <= allowed ? (error == 0 ? 0 : error / allowed) : std::max(1.01, error / allowed);
        if (std::isnan(error)) job.part_of_limit[tensor] = std::numeric_limits<double>::infinity();
      }
    });
    for (const Job& job : jobs)
      for (const std::size_t tensor : {0, 1}) {
        const double part = job.part_of_limit[tensor];
        const auto where =
            fmt::format("{} of {}, {} of pair {}", job.variant.text(op.path_keys()),
                        example.line.canonical(), tensor == 0 ? "o" : "ht", job.pair);
        EXPECT_LE(part, 1) << where << " (" << entry.source << ": " << entry.reason << ")";
        if (part > worst) {
          worst = part;
          worst_where = where;
        }
        ++compared;
      }
  }
  fmt::print("{} tensors compared, worst {:.2f} of the limit: {}\n", compared, worst, worst_where);
  fmt::print("{} paths skipped by cost{}\n", skipped.size(), skipped.empty() ? "" : ":");
  for (const std::string& each : skipped) fmt::print("  {}\n", each);
  RecordProperty("compared", std::to_string(compared));
  RecordProperty("skipped", std::to_string(skipped.size()));
  RecordProperty("worst_part_of_limit", fmt::format("{:.3g}", worst));
}

// The declared pairs in every bit, on the shapes and gates of the hard inputs (one case of each
// line).
TEST(SimpleGlaAgreement, EveryDeclaredPairOfVariantsIsEqualOnTheHardInputs) {
  std::set<std::string> lines;
  for (const CaseEntry& entry : hard_inputs_in_fp64()) {
    const Operator& op = operator_of(entry.value);
    if (op.cost(entry.value).flops > 2e7 || !lines.insert(entry.source).second) continue;
    const Example example(entry.value);
    const auto pairs = op.equal_variants();
    std::vector<testing::AssertionResult> results(pairs.size(), testing::AssertionSuccess());
    parallel_for(static_cast<Index>(pairs.size()), [&](Index i) {
      const EqualVariants& pair = pairs[static_cast<std::size_t>(i)];
      results[static_cast<std::size_t>(i)] = same_bits(example(pair.left), example(pair.right));
    });
    for (std::size_t i = 0; i < pairs.size(); ++i)
      EXPECT_TRUE(results[i]) << pairs[i].left << " and " << pairs[i].right << " of "
                              << example.line.canonical();
  }
  EXPECT_GT(lines.size(), 40u);
}

}  // namespace
}  // namespace groundstate::harness
