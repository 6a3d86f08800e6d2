#include "harness/run/compare_case.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "harness/run/certificate.hpp"
#include "harness/run/device.hpp"
#include "harness/run/guarded.hpp"
#include "harness/run/judge_case.hpp"
#include "harness/run/judge_stages.hpp"
#include "harness/run/note.hpp"
#include "harness/run/outputs.hpp"
#include "harness/run/properties.hpp"
#include "harness/run/sample.hpp"

namespace groundstate::harness {
namespace {

Candidate candidate_of(const CheckedFixture& given, const Submission& submission,
                       const std::string& recipe, bool emulate) {
  const Operator& op = *given.op;
  Candidate candidate;
  for (const TensorSpec& spec : op.judged_outputs(given.value))
    candidate.types.push_back(spec.type);
  candidate.declaration = {recipe_units(recipe), !submission.form.empty()};
  const auto variant = [&](std::string_view form) { return checked_variant(op, form, recipe); };
  bool exact_gates = false;
  if (!submission.form.empty()) {
    candidate.form = variant(submission.form);
    const Operator::FormMeaning meaning = op.form_meaning(candidate.form);
    exact_gates = meaning.exact_gates;
    if (op.path(candidate.form.path)->takes("chunk"))
      candidate.chunk = candidate.form.integer("chunk", op.path_keys());
    // The exact recurrence is the oracle itself: no error to compare with.
    const bool is_oracle = recipe == "exact" && candidate.form.form() == op.paths().front().name;
    if (emulate && !is_oracle) candidate.emulations = meaning.variants;
  } else {
    candidate.chunk = undeclared_chunk;
    candidate.form.path = "chunked";
    // The first path of an operator is its recurrence; every operator has an exact and a single
    // one.
    const Path& recurrent = op.paths().front();
    if (emulate) {
      candidate.emulations.push_back(
          checked_variant(op, recurrent.name, recipe == "exact" ? "exact" : "single"));
      if (recipe_exists(op, {"chunked", {}, recipe}))
        for (const PathVariant& meant : op.form_meaning(variant("chunked")).variants)
          candidate.emulations.push_back(meant);
    }
  }
  set_intervals(candidate, exact_gates);
  return candidate;
}

// By the form whose stages they are, though it may be one that nobody declares.
StageReport stages_of(const CheckedFixture& given, const Submission& submission,
                      const Tensors& inputs, const std::vector<bool>& sampled, bool checks) {
  const GivenStages& stages = *submission.stages;
  StageReport none;
  if (checks)
    none.note = "--checks does without the oracle that they are compared with";
  else if (stages.tensors.empty())
    none.note =
        fmt::format("nothing was written to any of stages/ ({})", fmt::join(stages.missing, ", "));
  if (!none.note.empty()) return none;
  Submission staged = submission;
  PathVariant form = stages.form;
  form.recipe.clear();
  staged.form = form.text(given.op->path_keys());
  Candidate candidate = candidate_of(given, staged, submission.recipe, true);
  candidate.declaration.form_declared = !submission.form.empty();
  return judge_stages(*given.op, given.value, inputs, sampled, candidate, stages);
}

// Recipes that are stricter than the given one, from strict to loose.
std::vector<std::string> stricter(const std::string& recipe) {
  std::vector<std::string> result;
  for (const std::string name : {"exact", "single", "tf32", "tensorcore-fp16", "tensorcore-bf16"}) {
    if (name == recipe) return result;
    result.push_back(name);
  }
  return {};
}

std::vector<Agreement> agreements(const Submission& submission, const Tensors& others) {
  std::vector<Agreement> result;
  for (const Tensor& tensor : submission.outputs) {
    const Tensor* const other = find(others, tensor.name());
    if (other == nullptr) continue;
    Agreement own{submission.path, tensor.name(), 0, 0, tensor.elements(), 0, {}};
    long double difference = 0, norm = 0;
    for_each_pair(tensor, *other, [&](Index, Index offset, Index other_offset) {
      const double a = tensor.load(offset), b = other->load(other_offset);
      norm += static_cast<long double>(b) * b;
      if (a == b || (std::isnan(a) && std::isnan(b))) return;
      ++own.different;
      difference += static_cast<long double>(a - b) * (a - b);
      own.largest = std::isnan(a - b) ? std::numeric_limits<double>::infinity()
                                      : std::max(own.largest, std::abs(a - b));
    });
    own.relative_norm =
        static_cast<double>(norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference));
    if (tensor.type() == other->type())
      own.first_difference = first_difference(tensor, *other);
    else if (own.different > 0)
      own.first_difference = fmt::format("{} is {} here and {} there", tensor.name(),
                                         name_of(tensor.type()), name_of(other->type()));
    result.push_back(std::move(own));
  }
  return result;
}

// Leaves the sample of the pairs, all of it with sensitivities, and says which pairs they are.
std::string leave_sample(const CheckedFixture& given, std::vector<Pair>& pairs,
                         std::vector<bool>& sampled) {
  const std::vector<bool> chosen =
      with_sharers(sampled, pairs, given.op->judged_outputs(given.value));
  std::vector<Pair> sample;
  std::vector<std::string> names;
  for (std::size_t p = 0; p < pairs.size(); ++p) {
    if (!chosen[p]) continue;
    sample.push_back(pairs[p]);
    names.push_back(fmt::format("({}, {})", pairs[p].sequence, pairs[p].value_head));
  }
  const std::size_t all = pairs.size();
  pairs = std::move(sample);
  sampled.assign(pairs.size(), true);
  return pairs.size() == all
             ? ""
             : fmt::format("a sample is judged: of {} (sequence, head) pairs the {} {}", all,
                           pairs.size(), fmt::join(names, " "));
}

}  // namespace

Candidate submitted_candidate(const CheckedFixture& given, const Submission& submission) {
  return candidate_of(given, submission, submission.recipe, false);
}

Comparison compare_case(const CheckedFixture& given, const CompareOptions& options) {
  const Operator& op = *given.op;
  Comparison comparison;
  comparison.missing = given.missing;
  CaseReport& report = comparison.report;
  report.case_text = given.value.canonical();
  report.id = given.value.id();
  report.operator_name = given.value.operator_name();
  const std::vector<Submission>& submissions = given.submissions;
  if (submissions.empty()) return comparison;
  const Tensors inputs = given.generated ? generate(op.inputs(given.value)) : given.inputs;
  if (options.tick) options.tick();

  // The declared (or default) recipe decides; stricter ones are tried where none was declared.
  std::vector<Candidate> candidates;
  std::vector<std::size_t> main;
  std::vector<Tensors> judged;
  for (const Submission& submission : submissions)
    judged.push_back(op.judged(given.value, inputs, submission.outputs));
  for (std::size_t s = 0; s < submissions.size(); ++s) {
    const Submission& submission = submissions[s];
    main.push_back(candidates.size());
    candidates.push_back(candidate_of(given, submission, submission.recipe, true));
    candidates.back().outputs = &judged[s];
    if (submission.recipe_declared || options.checks) continue;
    for (const std::string& recipe : stricter(submission.recipe)) {
      Submission formless = submission;
      formless.form.clear();
      candidates.push_back(candidate_of(given, formless, recipe, false));
      candidates.back().outputs = &judged[s];
    }
  }
  std::vector<Pair> pairs = op.pairs(given.value, inputs);
  std::vector<bool> sampled = choose_pairs(
      pairs, options.pairs, op.cost(given.value).flops * oracle_runs(wanted_fields(candidates)),
      static_cast<std::uint64_t>(given.value.integer("seed")));
  const std::string sample =
      options.sample_only ? leave_sample(given, pairs, sampled) : std::string();
  std::optional<Certifier> certifier;
  if (options.certificate) certifier.emplace(op, given.value, candidates, judged.front());
  CaseJudgement judgement;
  if (options.checks)
    for (const Candidate& candidate : candidates) {
      judgement.paths.push_back(check_given(op, given.value, inputs, candidate));
      if (options.tick) options.tick();
    }
  else
    judgement = judge_case(op, given.value, inputs, pairs, sampled,
                           certifier ? certifier->candidates() : candidates, [&](Index) {
                             if (options.tick) options.tick();
                           });
  report.mistrusted = judgement.mistrusted;
  report.pairs = judgement.pairs;
  report.sampled = judgement.sampled;

  for (std::size_t s = 0; s < submissions.size(); ++s) {
    const Submission& submission = submissions[s];
    Result result;
    result.path = submission.path;
    result.recipe = submission.recipe;
    result.form = submission.form;
    result.device = "file";
    result.note = submission.note;
    add_remark(result.note, sample);
    result.verdict = judgement.paths[main[s]];
    result.status = report.mistrusted && result.verdict.status == Status::passed
                        ? Status::mistrusted
                        : result.verdict.status;
    if (const auto violation = op.violation(given.value, inputs, submission.outputs)) {
      result.memory_violated = true;
      add_remark(result.note, *violation);
      result.status = Status::failed;
    }
    result.reproducer = fmt::format(
        "groundstate compare {}{}{}{}{}{}{}{}", options.file,
        options.case_text ? fmt::format(" --case '{}'", *options.case_text) : "",
        options.recipe ? " --recipe " + *options.recipe : "",
        options.form ? fmt::format(" --form '{}'", *options.form) : "",
        options.only.empty() ? "" : fmt::format(" --only {}", fmt::join(options.only, ",")),
        options.checks ? " --checks" : "",
        options.sample_only && options.pairs ? fmt::format(" --pairs {}", *options.pairs) : "",
        options.sample_only ? " --sample-only" : "");
    const std::size_t end = s + 1 < submissions.size() ? main[s + 1] : candidates.size();
    for (std::size_t k = main[s] + 1; k < end; ++k)
      if (judgement.paths[k].status == Status::passed) {
        comparison.remarks.push_back(fmt::format("{}: also within the stricter recipe {}",
                                                 submission.path,
                                                 candidates[k].declaration.recipe.name));
        break;
      }
    if (submission.stages)
      result.set_stages(stages_of(given, submission, inputs, sampled, options.checks));
    report.results.push_back(std::move(result));
    if (options.against_path) {
      const PathVariant variant = checked_variant(op, *options.against_path);
      GuardedTensors outputs(stored_outputs(op, given.value, variant));
      run_variant(op, given.value, variant, inputs, outputs.tensors());
      for (Agreement& own : agreements(submission, outputs.tensors()))
        comparison.agreements.push_back(std::move(own));
    }
    if (!given.against.empty())
      for (const Tensors& others : given.against[s])
        for (Agreement& own : agreements(submission, others))
          comparison.agreements.push_back(std::move(own));
  }
  if (certifier) {
    const Certifier::Certificate certificate = certifier->finish(inputs, pairs, sampled);
    // Of each submission by the recipe that decides.
    Certifier::Certificate own{{}, certificate.gradients, certificate.good};
    std::vector<Result*> results;
    for (std::size_t s = 0; s < submissions.size(); ++s) {
      own.paths.push_back(certificate.paths[main[s]]);
      results.push_back(&report.results[s]);
    }
    apply_certificate(own, results);
  }
  if (options.bitwise)
    for (const Agreement& own : comparison.agreements)
      report.equalities.push_back(
          {fmt::format("{} {}", own.path, own.tensor), "--bitwise", own.first_difference});
  return comparison;
}

}  // namespace groundstate::harness
