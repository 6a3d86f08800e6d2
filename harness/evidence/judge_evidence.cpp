#include "harness/evidence/judge_evidence.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "harness/case/error.hpp"
#include "harness/case/text.hpp"
#include "harness/generate/tensor_digest.hpp"
#include "harness/operators/registry.hpp"
#include "harness/run/outputs.hpp"
#include "harness/run/run_case.hpp"

namespace groundstate::harness {
namespace {

bool is_good(Status status) { return status == Status::passed || status == Status::marginal; }

// ---- what was recorded, by itself

// The verdict of a tensor must follow from its clauses.
void check_tensor(const std::string& name, const EvidenceResult::Tensor& tensor,
                  std::vector<std::string>& problems) {
  bool all_passed = true;
  for (const auto& [clause, own] : tensor.clauses) {
    all_passed = all_passed && own.passed;
    if (own.passed != (own.value <= own.limit))
      problems.push_back(fmt::format("{}: {} is recorded as {}, with {:.3g} / {:.3g}", shown(name),
                                     shown(clause), own.passed ? "passed" : "failed", own.value,
                                     own.limit));
  }
  if (all_passed != (tensor.status == Status::passed))
    problems.push_back(fmt::format("{}: is recorded as {}, although {}", shown(name),
                                   name_of(tensor.status),
                                   all_passed ? "no clause failed" : "a clause failed"));
}

void check_record(const EvidenceResult& own, std::vector<std::string>& problems) {
  for (const auto& [name, tensor] : own.tensors) {
    check_tensor(name, tensor, problems);
    if (own.status == Status::passed && tensor.status != Status::passed)
      problems.push_back(fmt::format("is recorded as PASSED, although {} is {}", shown(name),
                                     name_of(tensor.status)));
  }
  if (is_good(own.status)) return;
  std::string reason = own.note;
  for (const auto& [name, tensor] : own.tensors)
    if (!is_good(tensor.status)) reason = fmt::format("{}: {}", name, tensor.finding);
  problems.push_back(fmt::format("was recorded as {}{}{}", name_of(own.status),
                                 reason.empty() ? "" : ": ", shown(reason, 500)));
}

// ---- what was recorded, against what is computed here

// A result that can be judged, and what is known of its outputs.
struct Known {
  std::size_t result;
  PathVariant variant;
  std::vector<std::optional<KnownOutput>> outputs;  // by number
};

Known known_outputs(const Operator& op, const Case& c, const OutputSample& sample,
                    const EvidenceResult& own, std::size_t result, const PathVariant& variant,
                    std::vector<std::string>& problems) {
  const std::vector<TensorSpec> specs = stored_judged_outputs(op, c, variant);
  Known known{result, variant, {}};
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const auto output = std::ranges::find(own.outputs, specs[i].name, &RecordedOutput::name);
    known.outputs.emplace_back();
    try {
      if (output == own.outputs.end() || !own.tensors.contains(specs[i].name))
        throw UsageError(fmt::format("{} is not recorded", specs[i].name));
      if (output->type != specs[i].type || output->shape != shape_of(specs[i].axes))
        throw UsageError(fmt::format("{} was {} of {}, is {} of {}", specs[i].name,
                                     shown(output->shape, 200), name_of(output->type),
                                     shape_of(specs[i].axes), name_of(specs[i].type)));
      known.outputs.back().emplace(sample, i, specs[i], *output);
    } catch (const UsageError& error) {
      problems.push_back(error.what());
    }
  }
  return known;
}

Candidate candidate_of(const Operator& op, const Case& c, const Known& known) {
  std::vector<ElementType> types;
  for (const TensorSpec& spec : stored_judged_outputs(op, c, known.variant))
    types.push_back(spec.type);
  Candidate candidate = candidate_of(op, known.variant, std::move(types));
  candidate.known = &known.outputs;
  // Without an emulation nothing could be said of moments; a path of the CPU is its own.
  if (candidate.emulations.empty() && !op.path(known.variant.path)->needs_device)
    candidate.emulations = {known.variant};
  return candidate;
}

// Shares and means of a whole tensor (C, D) say nothing of its parts: one head may lie on a grid.
bool is_of_the_whole(const Clause& clause) {
  return clause.name.starts_with('C') || clause.name.starts_with('D');
}

// A limit that was raised for the record is raised for the sample.
bool is_forgiven(const Clause& clause, const EvidenceResult::Tensor& recorded) {
  const auto found = recorded.clauses.find(clause.name);
  return found != recorded.clauses.end() && found->second.raised > 1 &&
         clause.value <= clause.limit * found->second.raised;
}

void compare(const PathVerdict& sample, const EvidenceResult& own,
             std::vector<std::string>& problems) {
  for (const TensorVerdict& tensor : sample.tensors) {
    const EvidenceResult::Tensor& recorded = own.tensors.at(tensor.tensor);
    if (!is_good(recorded.status)) continue;
    for (const Clause& clause : tensor.clauses)
      if (!clause.passed && !is_of_the_whole(clause) && !is_forgiven(clause, recorded)) {
        problems.push_back(fmt::format(
            "{}: the sample contradicts the recorded {}: {} {:.3g} / {:.3g}; {}", tensor.tensor,
            name_of(recorded.status), clause.name, clause.value, clause.limit, tensor.finding));
        break;
      }
  }
}

// ---- contracts

const RecordedOutput* output_of(const EvidenceResult& result, std::string_view name) {
  const auto found = std::ranges::find(result.outputs, name, &RecordedOutput::name);
  return found == result.outputs.end() ? nullptr : &*found;
}

// The outputs of two variants that must agree, if the contract was held.
void compare_digests(const std::string& contract, const std::vector<std::string>& tensors,
                     const EvidenceResult& left, const EvidenceResult& right,
                     std::vector<std::string>& problems) {
  for (const RecordedOutput& one : left.outputs) {
    if (!tensors.empty() && std::ranges::find(tensors, one.name) == tensors.end()) continue;
    const RecordedOutput* const other = output_of(right, one.name);
    if (other != nullptr && other->sha256 != one.sha256)
      problems.push_back(
          fmt::format("{} is recorded as held, but the digests of {} differ", contract, one.name));
  }
}

void check_contracts(const Operator& op, const EvidenceCase& own, JudgedCase& judged) {
  judged.contracts = static_cast<Index>(own.contracts.size());
  for (const EvidenceContract& contract : own.contracts)
    if (contract.violation)
      judged.problems.push_back(fmt::format("{} was broken: {}", shown(contract.name, 200),
                                            shown(*contract.violation, 300)));
  for (const EqualVariants& equal : op.equal_variants())
    for (const EvidenceResult& left : own.results)
      for (const EvidenceResult& right : own.results) {
        const std::string contract = fmt::format("{} = {}", left.path, right.path);
        const auto held = std::ranges::find(own.contracts, contract, &EvidenceContract::name);
        const auto is = [&](const EvidenceResult& result, const std::string& text) {
          return result.path.substr(0, result.path.find(':')) == text;
        };
        if (held != own.contracts.end() && !held->violation && is(left, equal.left) &&
            is(right, equal.right))
          compare_digests(contract, equal.tensors, left, right, judged.problems);
      }
}

}  // namespace

bool JudgedCase::failed() const {
  return !problems.empty() || std::ranges::any_of(results, [](const JudgedResult& own) {
    return own.judged && !is_good(own.status);
  });
}

Case case_of(const Evidence& evidence, const EvidenceCase& own) {
  try {
    Case c = parse_case(own.text, grammars());
    if (c.id() != own.id || c.operator_name() != own.operator_name)
      throw UsageError(fmt::format("the case is '{}' with the id {}, not what the group says",
                                   c.canonical(), c.id()));
    check_case(operator_of(c), c);
    return c;
  } catch (const UsageError& error) {
    throw UsageError(fmt::format("{}: /{}: {}", evidence.file, own.id, error.what()));
  }
}

JudgedCase judge_evidence(const Evidence& evidence, const EvidenceCase& own, const Case& c,
                          const std::function<void()>& tick) {
  const Operator& op = operator_of(c);
  JudgedCase judged{own.text, own.id, own.operator_name, {}, 0, own.problems};
  judged.problems.insert(judged.problems.end(), own.damage.begin(), own.damage.end());
  check_contracts(op, own, judged);

  const Tensors inputs = generate(op.inputs(c));
  const std::vector<Pair> pairs = op.pairs(c, inputs);
  const OutputSample sample(op.judged_outputs(c), pairs,
                            static_cast<std::uint64_t>(c.integer("seed")), own.elements);
  std::vector<Known> known;
  for (std::size_t r = 0; r < own.results.size(); ++r) {
    const EvidenceResult& recorded = own.results[r];
    JudgedResult& result = judged.results.emplace_back();
    result.path = recorded.path;
    result.device = recorded.device;
    try {
      const PathVariant variant = checked_variant(op, recorded.path);
      if (const auto reason = op.unsupported(c, variant)) throw UsageError(*reason);
      result.stale = evidence.staleness(own.operator_name, *op.path(variant.path));
      result.problems = recorded.damage;
      check_record(recorded, result.problems);
      if (!recorded.outputs.empty() || is_good(recorded.status))
        known.push_back(known_outputs(op, c, sample, recorded, r, variant, result.problems));
    } catch (const UsageError& error) {
      result.judged = false;
      result.stale = error.what();
    }
  }
  if (!known.empty()) {
    std::vector<Candidate> candidates;
    for (const Known& each : known) candidates.push_back(candidate_of(op, c, each));
    const CaseJudgement judgement =
        judge_case(op, c, inputs, pairs, sample.contributors(), candidates, [&](Index) {
          if (tick) tick();
        });
    for (std::size_t k = 0; k < known.size(); ++k)
      compare(judgement.paths[k], own.results[known[k].result],
              judged.results[known[k].result].problems);
  }
  for (std::size_t r = 0; r < own.results.size(); ++r) {
    JudgedResult& result = judged.results[r];
    result.status = result.problems.empty() || !is_good(own.results[r].status)
                        ? own.results[r].status
                        : Status::failed;
  }
  return judged;
}

}  // namespace groundstate::harness
