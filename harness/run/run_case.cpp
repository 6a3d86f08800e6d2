#include "harness/run/run_case.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cmath>

#include "harness/case/error.hpp"
#include "harness/fixture/read.hpp"
#include "harness/run/guarded.hpp"
#include "harness/run/judge_case.hpp"
#include "harness/run/outputs.hpp"
#include "harness/run/sample.hpp"

namespace groundstate::harness {
namespace {

using Clock = std::chrono::steady_clock;

// A path that has run and waits to be judged.
struct Ran {
  std::size_t result;  // index into CaseReport::results
  PathVariant variant;
  GuardedTensors outputs;
};

Candidate candidate_of(const Operator& op, const Ran& ran) {
  Candidate candidate;
  candidate.outputs = &ran.outputs.tensors();
  for (const Tensor& tensor : ran.outputs.tensors()) candidate.types.push_back(tensor.type());
  candidate.declaration = {recipe_units(recipe_of(ran.variant)), true};
  candidate.form = ran.variant;
  if (op.path(ran.variant.path)->takes("chunk"))
    candidate.chunk = ran.variant.integer("chunk", op.path_keys());
  set_intervals(candidate, op.exact_gates(ran.variant));
  return candidate;
}

}  // namespace

void check_case(const Operator& op, const Case& c) {
  const Cost cost = op.cost(c);
  const auto memory = static_cast<double>(physical_memory());
  if (cost.bytes > memory)
    throw UsageError(
        fmt::format("{}: needs {:.3g} GiB for its inputs and outputs; this machine has {:.3g} GiB",
                    c.canonical(), cost.bytes / 0x1p30, memory / 0x1p30));
}

CaseReport run_case(const Operator& op, const CaseEntry& entry, const RunOptions& options) {
  const Case& c = entry.value;
  const auto tick = [&] {
    if (options.tick) options.tick();
  };
  CaseReport report;
  report.case_text = c.canonical();
  report.id = c.id();
  report.operator_name = c.operator_name();
  report.reason = entry.reason;

  std::vector<PathVariant> variants;
  for (const std::string& text : options.paths.empty() ? op.default_variants(c) : options.paths)
    variants.push_back(checked_variant(op, text));

  const Cost cost = op.cost(c);
  // The outputs of all paths are held until they are judged together.
  double bytes = total_bytes(op.inputs(c));
  for (const PathVariant& v : variants) bytes += total_bytes(stored_outputs(op, c, v));
  std::vector<PathVariant> possible;
  for (const PathVariant& v : variants) {
    Result result;
    result.path = v.text(op.path_keys());
    result.recipe = recipe_of(v);
    result.form = result.path.substr(0, result.path.find(':'));
    result.reproducer =
        fmt::format("groundstate run '{}' --path '{}'", report.case_text, result.path);
    const double flops = op.path_flops(c, v);
    if (const auto reason = op.unsupported(c, v)) {
      result.note = *reason;
    } else if (flops > options.max_flops) {
      result.note =
          fmt::format("{:.2g} flop are above --max-cost {:.2g}", flops, options.max_flops);
    } else if (bytes > options.max_bytes) {
      result.note = fmt::format(
          "{:.2g} GiB of tensors for {} paths are above --max-memory {:.2g}; fewer with --path",
          bytes / 0x1p30, variants.size(), options.max_bytes / 0x1p30);
    } else {
      possible.push_back(v);
    }
    if (!result.note.empty()) result.status = Status::unsupported;
    report.results.push_back(std::move(result));
  }
  if (possible.empty()) return report;

  const Tensors inputs = generate(op.inputs(c));
  tick();
  const std::uint64_t inputs_before = digest(inputs);
  std::vector<Ran> ran;
  for (std::size_t i = 0; i < report.results.size(); ++i) {
    Result& result = report.results[i];
    if (result.status == Status::unsupported) continue;
    Ran one{i, variants[i], GuardedTensors(stored_outputs(op, c, variants[i]))};
    const auto start = Clock::now();
    result.note = op.run(c, one.variant, inputs, one.outputs.tensors());
    result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (const auto violation = one.outputs.violation()) {
      result.memory_violated = true;
      result.note = *violation;
    }
    if (digest(inputs) != inputs_before) {
      result.memory_violated = true;
      result.note = "an input was written to";
    }
    if (options.save) options.save(result, inputs, one.outputs.tensors());
    ran.push_back(std::move(one));
    tick();
  }

  const std::vector<Pair> pairs = op.pairs(c, inputs);
  std::vector<Candidate> candidates;
  for (const Ran& one : ran) candidates.push_back(candidate_of(op, one));
  const std::vector<bool> chosen =
      choose_pairs(pairs, options.pairs, cost.flops * oracle_runs(wanted_fields(candidates)),
                   static_cast<std::uint64_t>(c.integer("seed")));
  const CaseJudgement judgement =
      judge_case(op, c, inputs, pairs, chosen, candidates, [&](Index) { tick(); });
  report.mistrusted = judgement.mistrusted;
  report.pairs = judgement.pairs;
  report.sampled = judgement.sampled;
  for (std::size_t k = 0; k < ran.size(); ++k) {
    Result& result = report.results[ran[k].result];
    result.verdict = judgement.paths[k];
    result.status = result.memory_violated ? Status::failed
                    : report.mistrusted    ? Status::mistrusted
                                           : result.verdict.status;
  }
  if (options.equalities) {
    report.equalities = check_equalities(op, c, inputs, possible);
    tick();
  }
  apply_raised_limits(report, entry.raised);
  return report;
}

}  // namespace groundstate::harness
