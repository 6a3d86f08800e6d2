#include "harness/calibrate/measure.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "harness/judge/scaled_error.hpp"
#include "harness/operators/registry.hpp"
#include "harness/run/device.hpp"
#include "harness/run/guarded.hpp"
#include "harness/run/judge_case.hpp"
#include "harness/run/outputs.hpp"
#include "harness/run/places.hpp"
#include "harness/run/run_case.hpp"

namespace groundstate::harness {
namespace {

using nlohmann::json;

constexpr double largest_ratio = 1e30;  // stands for infinity in a record

// ---- spoiling outputs

// Towards zero, to a type of 16 bits.
double truncated_to(ElementType type, double x) {
  if (x == 0 || !std::isfinite(x)) return x;
  const double ulp = spacing(type, x);
  return round_to_type(type, std::trunc(x / ulp) * ulp);
}

bool has_16_bits(ElementType type) { return size_of(type) == 2 && !is_integer(type); }

// What the outputs of a run have to be stored in for a spoil to be done to them. A pool stays what
// it is.
std::vector<TensorSpec> stored_for(Spoil spoil, std::vector<TensorSpec> specs,
                                   const Tensors& inputs) {
  if (spoil == Spoil::truncated)
    for (TensorSpec& spec : specs)
      if (has_16_bits(spec.type) && find(inputs, spec.name) == nullptr)
        spec.type = ElementType::float32;
  return specs;
}

void spoil(Spoil how, const std::vector<TensorSpec>& specs, Tensors& outputs) {
  for (Tensor& own : outputs) {
    const auto spec = std::find_if(specs.begin(), specs.end(),
                                   [&](const TensorSpec& s) { return s.name == own.name(); });
    if (spec == specs.end()) continue;
    if (how == Spoil::truncated && own.type() != spec->type) {
      Tensor cut = spec->allocate();
      for_each_pair(own, cut, [&](Index, Index from, Index to) {
        cut.store(to, truncated_to(spec->type, own.load(from)));
      });
      own = cut;
    }
    if (how == Spoil::through_bf16 && own.type() == ElementType::float32)
      for_each_element(own, [&](Index, Index at) {
        own.store(at, round_to_type(ElementType::bfloat16, own.load(at)));
      });
  }
}

// ---- running

// The case with its inputs, and what has been computed from them: a variant is run once.
class Runs {
 public:
  Runs(const MutatedOperator& op, const Case& c)
      : op_(op), case_(c), inputs_(generate(op.inputs(c))), specs_(op.outputs(c)) {}

  const Tensors& inputs() const { return inputs_; }

  // As the judge sees them. `declares` says in which types outputs are stored.
  Tensors judged(const std::string& runs, const std::string& declares, Spoil how) {
    const PathVariant declared = checked_variant(op_, declares), ran = checked_variant(op_, runs);
    const std::vector<TensorSpec> specs = stored(specs_, declared);
    GuardedTensors outputs(stored_for(how, specs, inputs_));
    run_variant(op_, case_, ran, inputs_, outputs.tensors());
    // What a mutant writes beside its outputs is for others to see.
    if (const auto violation = outputs.violation(); violation && op_.mutant(ran) == nullptr)
      throw std::logic_error(fmt::format("{}: {}: {}", case_.canonical(), runs, *violation));
    Tensors tensors = op_.judged(case_, inputs_, outputs.tensors());
    spoil(how, stored(op_.judged_outputs(case_), declared), tensors);
    return tensors;
  }
  const Tensors& honest(const std::string& variant) {
    const auto found = honest_.find(variant);
    if (found != honest_.end()) return found->second;
    return honest_.emplace(variant, judged(variant, variant, Spoil::nothing)).first->second;
  }

 private:
  const MutatedOperator& op_;
  const Case& case_;
  Tensors inputs_;
  std::vector<TensorSpec> specs_;
  std::map<std::string, Tensors> honest_;
};

bool same_values(const Tensors& left, const Tensors& right) {
  for (const Tensor& own : left) {
    const Tensor* const other = find(right, own.name());
    if (other == nullptr) return false;
    bool same = true;
    for_each_pair(own, *other, [&](Index, Index a, Index b) {
      const double x = own.load(a), y = other->load(b);
      same = same && std::memcmp(&x, &y, sizeof x) == 0;
    });
    if (!same) return false;
  }
  return true;
}

// ---- the rules of others

// Each place of an output once, with the sum of the oracle over the pairs that contribute to it.
std::vector<std::vector<std::pair<Pair, Matrix<double>>>> oracle_by_place(
    const Operator& op, const Case& c, const Tensors& inputs, const std::vector<Pair>& pairs,
    const std::vector<TensorSpec>& specs) {
  std::vector<std::vector<std::pair<Pair, Matrix<double>>>> result(specs.size());
  std::vector<std::map<std::pair<Index, Index>, std::size_t>> known(specs.size());
  std::vector<Places> places;
  for (const TensorSpec& spec : specs) places.emplace_back(spec, pairs);
  for (const Pair& pair : pairs) {
    PairOutputs oracle = op.oracle(c, inputs, pair);
    for (std::size_t i = 0; i < specs.size(); ++i) {
      const auto [at, fresh] = known[i].try_emplace(places[i].key(pair), result[i].size());
      if (fresh)
        result[i].emplace_back(pair, std::move(oracle[i]));
      else
        result[i][at->second].second += oracle[i];
    }
  }
  return result;
}

// ---- records

// Three digits are enough for every table.
double short_of(double x) {
  if (!(std::abs(x) < largest_ratio)) return largest_ratio;
  return x == 0 ? 0 : std::stod(fmt::format("{:.4g}", x));
}

std::string letters(const std::array<std::optional<bool>, rules.size()>& accepted) {
  std::string text;
  for (const std::optional<bool>& own : accepted) text += !own ? '-' : *own ? 'p' : 'f';
  return text;
}

}  // namespace

MeasuredCase measure(const StudyCase& own) {
  const Case& c = own.value;
  const MutatedOperator& op = with_mutants(operator_of(c));
  MeasuredCase result{
      c.canonical(), c.operator_name(), own.regime, own.shape, c.integer("seed"), 0, {}};
  Runs runs(op, c);
  const std::vector<Pair> pairs = op.pairs(c, runs.inputs());
  for (const Pair& pair : pairs) result.longest = std::max(result.longest, pair.length);

  std::vector<const StudyImplementation*> taken;
  std::vector<Tensors> outputs;
  for (const StudyImplementation& each : own.implementations) {
    const PathVariant ran = checked_variant(op, each.runs),
                      declared = checked_variant(op, each.declares);
    if (op.unsupported(c, ran) || op.unsupported(c, declared)) continue;
    outputs.push_back(each.honest() ? runs.honest(each.runs)
                                    : runs.judged(each.runs, each.declares, each.spoil));
    taken.push_back(&each);
    MeasuredImplementation measured{each.fault,          each.runs, each.declares,
                                    recipe_of(declared), true,      {}};
    if (!each.honest()) measured.active = !same_values(outputs.back(), runs.honest(each.declares));
    result.implementations.push_back(std::move(measured));
  }
  if (taken.empty()) return result;

  std::vector<Candidate> candidates;
  for (std::size_t k = 0; k < taken.size(); ++k) {
    std::vector<ElementType> types;
    for (const Tensor& tensor : outputs[k]) types.push_back(tensor.type());
    candidates.push_back(
        candidate_of(op, checked_variant(op, taken[k]->declares), std::move(types)));
    Candidate& candidate = candidates.back();
    candidate.outputs = &outputs[k];
    if (taken[k]->runs != taken[k]->declares || !taken[k]->honest())
      candidate.emulations = {checked_variant(op, taken[k]->declares)};
  }
  const CaseJudgement judgement =
      judge_case(op, c, runs.inputs(), pairs, std::vector<bool>(pairs.size(), true), candidates);

  const std::vector<TensorSpec> specs = op.judged_outputs(c);
  const auto oracle = oracle_by_place(op, c, runs.inputs(), pairs, specs);
  for (std::size_t k = 0; k < taken.size(); ++k) {
    const Tensors* const baseline =
        taken[k]->sibling.empty() ? nullptr : &runs.honest(taken[k]->sibling);
    for (const TensorVerdict& verdict : judgement.paths[k].tensors) {
      MeasuredTensor tensor;
      tensor.tensor = verdict.tensor;
      tensor.elements = verdict.elements;
      tensor.errors = verdict.errors;
      tensor.status = judgement.mistrusted ? Status::mistrusted : verdict.status;
      tensor.power = verdict.power;
      for (const Clause& clause : verdict.clauses) {
        if (!clause.applicable) continue;
        const auto name =
            std::find_if(study_clauses.begin(), study_clauses.end(), [&](std::string_view known) {
              return clause.name == known || (known.size() == 1 && clause.name.starts_with(known));
            });
        if (name == study_clauses.end()) continue;
        std::optional<double>& ratio =
            tensor.ratios[static_cast<std::size_t>(name - study_clauses.begin())];
        ratio = std::max(ratio.value_or(0), std::min(clause.ratio(), largest_ratio));
      }
      const Tensor& got = *find(outputs[k], verdict.tensor);
      const auto output = static_cast<std::size_t>(
          std::find_if(specs.begin(), specs.end(),
                       [&](const TensorSpec& spec) { return spec.name == verdict.tensor; }) -
          specs.begin());
      Comparison comparison(got.type());
      for (const auto& [pair, reference] : oracle[output]) {
        if (baseline == nullptr) {
          comparison.add(gather_output(got, pair), reference, nullptr);
        } else {
          const Matrix<double> other = gather_output(*find(*baseline, verdict.tensor), pair);
          comparison.add(gather_output(got, pair), reference, &other);
        }
      }
      for (std::size_t r = 0; r < rules.size(); ++r)
        tensor.accepted[r] = rules[r].verdict(comparison);
      result.implementations[k].tensors.push_back(std::move(tensor));
    }
  }
  return result;
}

json to_record(const MeasuredCase& own) {
  json record = {{"case", own.text},
                 {"operator", own.operator_name},
                 {"regime", own.regime},
                 {"shape", own.shape},
                 {"seed", own.seed},
                 {"longest", own.longest},
                 {"implementations", json::array()}};
  for (const MeasuredImplementation& each : own.implementations) {
    json entry = {{"runs", each.runs}, {"recipe", each.recipe}, {"tensors", json::array()}};
    if (!each.honest()) {
      entry["fault"] = each.fault;
      entry["declares"] = each.declares;
      entry["active"] = each.active;
    }
    for (const MeasuredTensor& tensor : each.tensors) {
      json ratios = json::array();
      for (const std::optional<double>& ratio : tensor.ratios)
        ratios.push_back(ratio ? json(short_of(*ratio)) : json(nullptr));
      entry["tensors"].push_back({tensor.tensor,
                                  tensor.elements,
                                  name_of(tensor.status),
                                  {short_of(tensor.errors.median), short_of(tensor.errors.p999),
                                   short_of(tensor.errors.maximum)},
                                  ratios,
                                  letters(tensor.accepted),
                                  short_of(tensor.power.carry),
                                  short_of(tensor.power.gate)});
    }
    record["implementations"].push_back(std::move(entry));
  }
  return record;
}

MeasuredCase measured_case(const json& record) {
  MeasuredCase own{record.at("case"),
                   record.at("operator"),
                   record.at("regime"),
                   record.at("shape"),
                   record.at("seed"),
                   record.at("longest"),
                   {}};
  for (const json& entry : record.at("implementations")) {
    MeasuredImplementation each{entry.value("fault", ""),
                                entry.at("runs"),
                                entry.value("declares", entry.at("runs").get<std::string>()),
                                entry.at("recipe"),
                                entry.value("active", true),
                                {}};
    for (const json& values : entry.at("tensors")) {
      MeasuredTensor tensor;
      tensor.tensor = values.at(0);
      tensor.elements = values.at(1);
      const std::string status = values.at(2);
      for (const Status known :
           {Status::passed, Status::marginal, Status::failed, Status::mistrusted})
        if (status == name_of(known)) tensor.status = known;
      tensor.errors = {values.at(3).at(0), values.at(3).at(1), values.at(3).at(2)};
      for (std::size_t i = 0; i < tensor.ratios.size(); ++i)
        if (const json& ratio = values.at(4).at(i); !ratio.is_null()) tensor.ratios[i] = ratio;
      const std::string accepted = values.at(5);
      for (std::size_t i = 0; i < tensor.accepted.size() && i < accepted.size(); ++i)
        if (accepted[i] != '-') tensor.accepted[i] = accepted[i] == 'p';
      tensor.power = {values.at(6), values.at(7)};
      each.tensors.push_back(std::move(tensor));
    }
    own.implementations.push_back(std::move(each));
  }
  return own;
}

}  // namespace groundstate::harness
