#include "harness/run/versus_case.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "harness/judge/counting.hpp"
#include "harness/judge/json_number.hpp"
#include "harness/run/compare_case.hpp"
#include "harness/run/device.hpp"
#include "harness/run/guarded.hpp"
#include "harness/run/note.hpp"
#include "harness/run/outputs.hpp"
#include "harness/run/result.hpp"
#include "harness/run/run_case.hpp"
#include "harness/run/sample.hpp"

namespace groundstate::harness {
namespace {

bool same_bits(const Tensor& left, Index at, const Tensor& right, Index other) {
  if (left.type() != right.type()) {
    const double a = left.load(at), b = right.load(other);
    return std::memcmp(&a, &b, sizeof a) == 0;
  }
  const auto size = static_cast<Index>(size_of(left.type()));
  return std::memcmp(static_cast<const std::byte*>(left.data()) + at * size,
                     static_cast<const std::byte*>(right.data()) + other * size,
                     static_cast<std::size_t>(size)) == 0;
}

// Of a row-major element.
double value_at(const Tensor& tensor, Index element) {
  Index offset = 0;
  for (std::size_t k = tensor.axes().size(); k-- > 0;) {
    const AxisExtent& axis = tensor.axes()[k];
    offset += element % axis.extent * axis.stride;
    element /= axis.extent;
  }
  return tensor.load(offset);
}

// What the unit of the element is made of, largest first: "operands 84 %, state 12 %".
std::string shares(const MeasuredOutput& measured, Index element, double stored) {
  const double unit = value_at(measured.unit, element);
  std::vector<std::pair<double, std::string>> parts{
      {value_at(measured.operand, element), "operands"},
      {value_at(measured.carry, element), "the state"},
      {value_at(measured.gate, element), "gates"}};
  double squares = 0;
  for (const auto& [size, name] : parts) squares += size * size;
  // What is neither of them nor the rounding of the output: the form term.
  const double inner = unit - stored, form = inner * inner - squares;
  if (form > 1e-3 * inner * inner)
    parts.emplace_back(std::sqrt(form), "differences of large terms");
  std::sort(parts.rbegin(), parts.rend());
  std::string text;
  double all = 0;
  for (const auto& [size, name] : parts) all += size * size;
  for (const auto& [size, name] : parts)
    if (size * size > 0.01 * all)
      text += fmt::format("{}{} {:.0f} %", text.empty() ? "" : ", ", name, 100 * size * size / all);
  return text;
}

// "2^-8 + 5 x 2^-24": storing, and so many units of the arithmetic.
std::string relative_part(const Promise& promise, Index elements) {
  const double stored = unit_roundoff(promise.type), arithmetic = promise.arithmetic;
  return fmt::format("{}{:.3g} x {}",
                     stored > arithmetic ? power_of_two(stored) + " + " : std::string(),
                     promise.limits.maximum * maximum_growth(elements),
                     power_of_two(std::min(stored, arithmetic)));
}

struct Sides {
  const Tensor &left, &right;
  const MeasuredOutput &left_measured, &right_measured;
};

VersusTensor compared(const Operator& op, const TensorSpec& spec, std::size_t output,
                      const Sides& x, const std::array<Candidate, 2>& candidates) {
  VersusTensor result;
  result.tensor = spec.name;
  result.types = {std::string(name_of(x.left.type())), std::string(name_of(x.right.type()))};
  const auto promise = [&](const Candidate& candidate) {
    return Promise{recipe_limits(candidate.declaration.recipe.limit_row, op.family(spec.name)),
                   candidate.types[output], candidate.declaration.recipe.gate};
  };
  // What belongs to no pair (padding, slots that nobody writes) is nobody's result.
  std::vector<Index> numbers;
  Index measured = 0;
  for_each_element(x.left_measured.unit, [&](Index i, Index offset) {
    const double unit = x.left_measured.unit.load(offset);
    if (std::isnan(unit)) return;
    numbers.push_back(i);
    measured += std::isfinite(unit);
  });
  result.promises = {promise(candidates[0]), promise(candidates[1])};
  AgreementJudge judge(result.promises[0], result.promises[1], measured);
  for_each_pair(x.left, x.right, [&](Index i, Index left, Index right) {
    const double left_unit = value_at(x.left_measured.unit, i);
    if (std::isnan(left_unit)) return;
    judge.add({x.left.load(left), x.right.load(right), value_at(x.left_measured.oracle, i),
               left_unit, value_at(x.right_measured.unit, i),
               same_bits(x.left, left, x.right, right)});
  });
  MeasuredAgreement& agreement = result.agreement = judge.finish();
  const auto at = [&](Index number) { return numbers[static_cast<std::size_t>(number)]; };
  if (agreement.worst >= 0 && agreement.difference.maximum > 0) {
    const Index i = at(agreement.worst);
    result.worst =
        fmt::format("{}: {:.9g} against {:.9g}, exact {:.9g}", coordinate(x.left.axes(), i),
                    value_at(x.left, i), value_at(x.right, i), value_at(x.left_measured.oracle, i));
  }
  if (agreement.measured > 0)
    result.relative = fmt::format("{} + {}", relative_part(result.promises[0], agreement.measured),
                                  relative_part(result.promises[1], agreement.measured));
  if (agreement.decisive >= 0) {
    const Index i = at(agreement.decisive);
    const bool left = value_at(x.left_measured.unit, i) >= value_at(x.right_measured.unit, i);
    const Candidate& wider = candidates[left ? 0 : 1];
    const double exact = value_at(x.left_measured.oracle, i);
    result.decisive = fmt::format("{}, exact {:.4g}: {}", coordinate(x.left.axes(), i), exact,
                                  shares(left ? x.left_measured : x.right_measured, i,
                                         unit_roundoff(wider.types[output]) * std::abs(exact)));
  }
  if (x.left.type() == x.right.type()) result.first_difference = first_difference(x.left, x.right);
  if (!agreement.passed()) result.status = Status::failed;
  return result;
}

nlohmann::json to_record(const VersusTensor& own) {
  const MeasuredAgreement& a = own.agreement;
  nlohmann::json usual = nlohmann::json::array();
  for (const UsualTolerance& each : a.usual)
    usual.push_back({{"name", each.name},
                     {"rtol", each.rtol},
                     {"atol", each.atol},
                     {"exceeded", each.exceeded},
                     {"narrowest", json_number(each.narrowest)},
                     {"median", json_number(each.median)}});
  nlohmann::json clauses = nlohmann::json::object();
  for (const Clause& clause : a.clauses)
    if (clause.applicable)
      clauses[clause.name] = {{"value", json_number(clause.value)},
                              {"limit", json_number(clause.limit)},
                              {"passed", clause.passed}};
  nlohmann::json record = {
      {"status", name_of(own.status)},
      {"elements", a.elements},
      {"measured", a.measured},
      {"same_bits", a.same_bits},
      {"difference",
       {{"median", json_number(a.difference.median)},
        {"p999", json_number(a.difference.p999)},
        {"max", json_number(a.difference.maximum)}}},
      {"largest", json_number(a.largest)},
      {"clauses", clauses},
      {"nearer", {a.left.nearer, a.right.nearer}},
      {"relative_norm", {json_number(a.left.relative_norm), json_number(a.right.relative_norm)}},
      {"recommended", {{"rtol", json_number(a.rtol)}, {"atol", json_number(a.atol)}}},
      {"reason", {{"rtol", own.relative}, {"atol", own.decisive}}},
      {"slack", json_number(a.slack)},
      {"usual", usual},
      {"verdicts", {to_record(own.verdicts[0]), to_record(own.verdicts[1])}}};
  if (own.first_difference) record["first_difference"] = *own.first_difference;
  if (!own.worst.empty()) record["worst"] = own.worst;
  return record;
}

}  // namespace

Implementation run_implementation(const Operator& op, const Case& c, const PathVariant& variant,
                                  const Tensors& inputs) {
  GuardedTensors outputs(stored_outputs(op, c, variant));
  run_variant(op, c, variant, inputs, outputs.tensors());
  Implementation own{variant.text(op.path_keys()), op.judged(c, inputs, outputs.tensors()), {}, {}};
  std::vector<ElementType> types;
  for (const Tensor& tensor : own.judged) types.push_back(tensor.type());
  own.candidate = candidate_of(op, variant, std::move(types));
  own.candidate.emulations.clear();
  own.violation = outputs.violation();
  if (!own.violation) own.violation = op.violation(c, inputs, outputs.tensors());
  return own;
}

Implementation submitted_implementation(const CheckedFixture& given, const Submission& submission,
                                        const Tensors& inputs) {
  const Operator& op = *given.op;
  return {submission.path, op.judged(given.value, inputs, submission.outputs),
          submitted_candidate(given, submission),
          op.violation(given.value, inputs, submission.outputs)};
}

VersusReport versus_case(const Operator& op, const Case& c, const Tensors& inputs,
                         const std::array<Implementation, 2>& sides,
                         std::optional<Index> wanted_pairs, const std::function<void()>& tick) {
  VersusReport report;
  report.case_text = c.canonical();
  report.id = c.id();
  report.operator_name = c.operator_name();
  const std::vector<TensorSpec> specs = op.judged_outputs(c);
  std::array<std::vector<MeasuredOutput>, 2> measured{unmeasured(specs), unmeasured(specs)};
  std::vector<Candidate> candidates;
  for (std::size_t s = 0; s < 2; ++s) {
    candidates.push_back(sides[s].candidate);
    candidates[s].outputs = &sides[s].judged;
    candidates[s].measured = &measured[s];
    report.names[s] = sides[s].name;
    report.units[s] = candidates[s].declaration.recipe;
    report.recipes[s] = report.units[s].name;
    if (candidates[s].declaration.form_declared)
      report.forms[s] =
          PathVariant{candidates[s].form.path, candidates[s].form.keys, {}}.text(op.path_keys());
  }
  const std::vector<Pair> pairs = op.pairs(c, inputs);
  const std::vector<bool> sampled =
      choose_pairs(pairs, wanted_pairs, op.cost(c).flops * oracle_runs(wanted_fields(candidates)),
                   static_cast<std::uint64_t>(c.integer("seed")));
  const CaseJudgement judgement = judge_case(op, c, inputs, pairs, sampled, candidates, [&](Index) {
    if (tick) tick();
  });
  report.pairs = judgement.pairs;
  report.sampled = judgement.sampled;

  const auto verdict_on = [&](std::size_t s, const std::string& name) {
    const auto& tensors = judgement.paths[s].tensors;
    return *std::find_if(tensors.begin(), tensors.end(),
                         [&](const TensorVerdict& own) { return own.tensor == name; });
  };
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const Tensor *const left = find(sides[0].judged, specs[i].name), *const right =
                                                                         find(sides[1].judged,
                                                                              specs[i].name);
    if (left == nullptr || right == nullptr) continue;
    VersusTensor own = compared(op, specs[i], i, {*left, *right, measured[0][i], measured[1][i]},
                                {candidates[0], candidates[1]});
    for (std::size_t s = 0; s < 2; ++s) {
      own.verdicts[s] = verdict_on(s, specs[i].name);
      if (own.verdicts[s].status == Status::failed) own.status = Status::failed;
    }
    if (own.status == Status::failed) report.status = Status::failed;
    report.tensors.push_back(std::move(own));
  }
  for (const Implementation& side : sides)
    if (side.violation) {
      report.status = Status::failed;
      add_remark(report.note, fmt::format("{}: {}", side.name, *side.violation));
    }
  if (judgement.mistrusted && report.status == Status::passed) report.status = Status::mistrusted;
  return report;
}

nlohmann::json to_record(const VersusReport& report) {
  nlohmann::json tensors = nlohmann::json::object();
  for (const VersusTensor& own : report.tensors) tensors[own.tensor] = to_record(own);
  nlohmann::json record = {{"schema", record_schema},          {"kind", versus_kind},
                           {"case", report.case_text},         {"id", report.id},
                           {"operator", report.operator_name}, {"paths", report.names},
                           {"recipes", report.recipes},        {"forms", report.forms},
                           {"status", name_of(report.status)}, {"pairs", report.pairs},
                           {"sampled_pairs", report.sampled},  {"tensors", tensors},
                           {"reproducer", report.reproducer},  {"environment", environment()}};
  if (!report.note.empty()) record["note"] = report.note;
  return record;
}

}  // namespace groundstate::harness
