#include "harness/run/run_case.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstdint>

#include "harness/case/error.hpp"
#include "harness/case/sha256.hpp"
#include "harness/case/text.hpp"
#include "harness/fixture/read.hpp"
#include "harness/run/certificate.hpp"
#include "harness/run/device.hpp"
#include "harness/run/guarded.hpp"
#include "harness/run/judge_case.hpp"
#include "harness/run/judge_stages.hpp"
#include "harness/run/outputs.hpp"
#include "harness/run/properties.hpp"
#include "harness/run/sample.hpp"

namespace groundstate::harness {
namespace {

using Clock = std::chrono::steady_clock;

// A path that has run and waits to be judged.
struct Ran {
  std::size_t result;  // index into CaseReport::results
  PathVariant variant;
  Tensors judged;
};

// The wanted path that a variant is run for in a contract: itself, or one that differs in its keys.
std::optional<std::size_t> path_of(const PathVariant& v, const CasePlan& plan) {
  std::optional<std::size_t> kin;
  for (const std::size_t i : plan.wanted_paths()) {
    const PathVariant& own = plan.variants[i];
    if (own == v) return i;
    const bool closer = own.path == v.path && (!kin || own.recipe == v.recipe);
    if (closer) kin = i;
  }
  return kin;
}

using SaveStages = std::function<void(const GivenStages&)>;

StageReport stages_of(const Operator& op, const Case& c, const PathVariant& variant,
                      const Tensors& inputs, const std::vector<bool>& sampled,
                      const Candidate& candidate, const SaveStages& save) {
  StageReport none;
  if (op.path(variant.path)->needs_device)
    none.note = "a path on a device keeps them on chip";
  else if (op.stages(variant) == nullptr)
    none.note = fmt::format("path {} has none", variant.text(op.path_keys()));
  if (!none.note.empty()) return none;
  const GivenStages own = own_stages(op, c, variant, inputs);
  save(own);
  return judge_stages(op, c, inputs, sampled, candidate, own);
}

// Whatever else changes a result of this program, the number of threads and a time-out apart.
std::string request_of(const CaseEntry& entry, const std::vector<Result>& results,
                       const RunOptions& options) {
  std::string text = fmt::format("{}\n{}\npairs {} contracts {} flops {} bytes {}\n",
                                 entry.value.canonical(), entry.reason, options.pairs.value_or(0),
                                 options.equalities, options.max_flops, options.max_bytes);
  for (const auto& [wanted, what] :
       {std::pair(options.determinism, "determinism"), std::pair(options.checks, "checks"),
        std::pair(options.certificate, "certificate"), std::pair(options.stages, "stages")})
    if (wanted) text += fmt::format("{}\n", what);
  for (const Result& result : results) text += result.path + ' ' + result.device + '\n';
  for (const RaisedLimit& limit : entry.raised)
    text += fmt::format("{} {} {} {} {}\n", limit.path, limit.clause, limit.factor,
                        limit.last_day(), limit.reason);
  return sha256_of(text).substr(0, 16);
}

}  // namespace

void check_case(const Operator& op, const Case& c) {
  const Cost cost = op.cost(c);
  const auto memory = static_cast<double>(physical_memory());
  if (cost.bytes > memory)
    throw UsageError(fmt::format(
        "{}: needs {:.3g} GiB for its inputs and outputs; this machine has {:.3g} GiB",
        shown(c.canonical(), longest_shown_line), cost.bytes / 0x1p30, memory / 0x1p30));
}

Candidate candidate_of(const Operator& op, const PathVariant& variant,
                       std::vector<ElementType> types, bool emulated) {
  Candidate candidate;
  candidate.types = std::move(types);
  candidate.declaration = {recipe_units(recipe_of(variant)), true};
  candidate.form = variant;
  const Path& path = *op.path(variant.path);
  if (path.takes("chunk")) candidate.chunk = variant.integer("chunk", op.path_keys());
  // Of an exact path the emulation may be the oracle itself: no error to compare with.
  if (!variant.exact() && path.needs_device)
    candidate.emulations = op.form_meaning(variant).variants;
  else if (!variant.exact() && emulated)
    candidate.emulations = {variant};
  set_intervals(candidate, op.exact_gates(variant));
  return candidate;
}

std::vector<std::size_t> CasePlan::wanted_paths() const {
  std::vector<std::size_t> paths;
  for (std::size_t i = 0; i < wanted.size(); ++i)
    if (wanted[i]) paths.push_back(i);
  return paths;
}

CasePlan plan_case(const Operator& op, const CaseEntry& entry, const RunOptions& options) {
  const Case& c = entry.value;
  CasePlan plan;
  plan.report.case_text = c.canonical();
  plan.report.id = c.id();
  plan.report.operator_name = c.operator_name();
  plan.report.reason = entry.reason;
  for (const std::string& text : options.paths.empty() ? op.default_variants(c) : options.paths)
    plan.variants.push_back(checked_variant(op, text));

  // The outputs of all paths are held until they are judged together.
  double bytes = total_bytes(op.inputs(c));
  for (const PathVariant& v : plan.variants) bytes += total_bytes(stored_outputs(op, c, v));
  for (const PathVariant& v : plan.variants) {
    Result result;
    result.path = v.text(op.path_keys());
    result.recipe = recipe_of(v);
    result.form = result.path.substr(0, result.path.find(':'));
    result.reproducer =
        fmt::format("groundstate run '{}' --path '{}'{}{}", plan.report.case_text, result.path,
                    options.checks ? " --checks" : "", options.stages ? " --stages" : "");
    const bool missing = op.path(v.path)->needs_device && device().name.empty();
    if (op.path(v.path)->needs_device) result.device = missing ? "none" : device().name;
    const double flops = op.path_flops(c, v);
    if (const auto reason = op.unsupported(c, v)) {
      result.note = *reason;
    } else if (flops > options.max_flops) {
      result.note =
          fmt::format("{:.2g} flop are above --max-cost {:.2g}", flops, options.max_flops);
    } else if (bytes > options.max_bytes) {
      result.note = fmt::format(
          "{:.2g} GiB of tensors for {} paths are above --max-memory {:.2g}; fewer with --path",
          bytes / 0x1p30, plan.variants.size(), options.max_bytes / 0x1p30);
    }
    if (!result.note.empty()) {
      result.status = Status::unsupported;
    } else if (missing) {
      result.status = Status::unavailable;
      result.note = device().missing;
    }
    plan.wanted.push_back(result.note.empty());
    plan.report.results.push_back(std::move(result));
  }
  plan.report.request = request_of(entry, plan.report.results, options);
  return plan;
}

CaseReport run_plan(const Operator& op, const Case& c, const CasePlan& plan,
                    const RunOptions& options) {
  const auto tick = [&] {
    if (options.tick) options.tick();
  };
  const auto at = [&](std::optional<std::size_t> path, std::string doing) {
    if (options.at) options.at({path, std::move(doing)});
  };
  CaseReport report = plan.report;
  const std::vector<std::size_t> wanted = plan.wanted_paths();
  if (wanted.empty()) return report;

  at({}, "while its inputs were generated");
  const Tensors inputs = generate(op.inputs(c));
  tick();
  const std::uint64_t inputs_before = digest(inputs);
  const auto seed = static_cast<std::uint64_t>(c.integer("seed"));
  std::optional<OutputSample> sample;
  if (options.recorded_elements)
    sample.emplace(op.judged_outputs(c), op.pairs(c, inputs), seed, *options.recorded_elements);
  std::vector<Ran> ran;
  for (const std::size_t i : wanted) {
    at(i, "while running");
    Result& result = report.results[i];
    GuardedTensors outputs(stored_outputs(op, c, plan.variants[i]));
    const auto start = Clock::now();
    result.note = run_variant(op, c, plan.variants[i], inputs, outputs.tensors());
    result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    std::optional<std::string> violation = outputs.violation();
    if (!violation) violation = op.violation(c, inputs, outputs.tensors());
    if (violation) {
      result.memory_violated = true;
      result.note = *violation;
    }
    if (digest(inputs) != inputs_before) {
      result.memory_violated = true;
      result.note = "an input was written to";
    }
    Ran one{i, plan.variants[i], op.judged(c, inputs, outputs.tensors())};
    if (sample)
      for (const Tensor& tensor : one.judged)
        result.recorded.push_back(record_output(*sample, result.recorded.size(), tensor));
    if (options.save) options.save(result, inputs, outputs.tensors());
    ran.push_back(std::move(one));
    tick();
  }

  const auto check_contracts = [&] {
    if (!options.equalities) return;
    std::vector<PathVariant> variants;
    for (const std::size_t i : wanted) variants.push_back(plan.variants[i]);
    report.equalities = check_equalities(
        op, c, inputs, variants,
        [&](const PathVariant& v, const std::string& contract) {
          at(path_of(v, plan), fmt::format("while checking the contract {}", contract));
        },
        {options.determinism, options.determinism ? options.program : std::string()});
    tick();
  };
  if (options.checks) {
    for (const Ran& one : ran) {
      Result& result = report.results[one.result];
      result.verdict =
          check_properties(op, c, inputs, one.variant, one.judged, [&](const std::string& doing) {
            at(one.result, doing);
            tick();
          });
      result.status = result.memory_violated ? Status::failed : result.verdict.status;
    }
    check_contracts();
    return report;
  }

  at({}, "while being judged");
  const std::vector<Pair> pairs = op.pairs(c, inputs);
  std::vector<Candidate> candidates;
  for (const Ran& one : ran) {
    std::vector<ElementType> types;
    for (const Tensor& tensor : one.judged) types.push_back(tensor.type());
    candidates.push_back(candidate_of(op, one.variant, std::move(types), options.emulated));
    candidates.back().outputs = &one.judged;
  }
  const std::vector<bool> chosen = choose_pairs(
      pairs, options.pairs, op.cost(c).flops * oracle_runs(wanted_fields(candidates)), seed);
  std::optional<Certifier> certifier;
  if (options.certificate) certifier.emplace(op, c, candidates, ran.front().judged);
  const CaseJudgement judgement =
      judge_case(op, c, inputs, pairs, chosen, certifier ? certifier->candidates() : candidates,
                 [&](Index) { tick(); });
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
  if (options.stages)
    for (std::size_t k = 0; k < ran.size(); ++k) {
      Result& result = report.results[ran[k].result];
      at(ran[k].result, "while its stages were judged");
      result.set_stages(stages_of(op, c, ran[k].variant, inputs, chosen, candidates[k],
                                  [&](const GivenStages& stages) {
                                    if (options.save_stages) options.save_stages(result, stages);
                                  }));
      tick();
    }
  if (certifier) {
    at({}, "while the oracle was certified");
    const Certifier::Certificate certificate = certifier->finish(inputs, pairs, chosen);
    std::vector<Result*> results;
    for (const Ran& one : ran) results.push_back(&report.results[one.result]);
    apply_certificate(certificate, results);
    tick();
  }
  check_contracts();
  return report;
}

CaseReport run_case(const Operator& op, const CaseEntry& entry, const RunOptions& options) {
  const CasePlan plan = plan_case(op, entry, options);
  CaseReport report = run_plan(op, entry.value, plan, options);
  if (!plan.wanted_paths().empty()) apply_raised_limits(report, entry.raised);
  return report;
}

}  // namespace groundstate::harness
