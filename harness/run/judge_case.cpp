#include "harness/run/judge_case.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "harness/operators/stage_axes.hpp"
#include "harness/run/places.hpp"
#include "reference/core/parallel.hpp"

namespace groundstate::harness {
namespace {

// The emulation that is farther from the oracle, element by element, as it would be stored.
Matrix<double> farthest(const std::vector<Matrix<double>>& emulations, const Matrix<double>& oracle,
                        ElementType type) {
  Matrix<double> result = emulations.front();
  for (std::size_t e = 1; e < emulations.size(); ++e) {
    const Matrix<double>& other = emulations[e];
    for (Index i = 0; i < result.size(); ++i)
      if (std::abs(other.data()[i] - oracle.data()[i]) >
          std::abs(result.data()[i] - oracle.data()[i]))
        result.data()[i] = other.data()[i];
  }
  return result.unaryExpr([type](double x) { return round_to_type(type, x); });
}

// What all candidates and outputs need of a pair.
struct Measured {
  PairScale scale;
  std::vector<Matrix<bool>> zeros;                   // by definition; empty where none is
  std::vector<std::vector<PairOutputs>> emulations;  // [candidate][emulation]
  std::vector<PairOutputs> forms;                    // [candidate]; empty for a pair not sampled
};

// All that the judge of one output of one candidate needs of a place, summed over its pairs. Their
// errors are independent, so sensitivities add as squares.
struct Contribution {
  Index pairs = 0;
  bool scaled = true;
  Matrix<double> oracle, form;
  ScaleFields fields;
  std::vector<Matrix<double>> emulations;
  Matrix<bool> zero;  // empty where nothing is zero by definition

  void add(Contribution other) {
    if (pairs == 0) {
      *this = std::move(other);
      return;
    }
    pairs += other.pairs;
    scaled = scaled && other.scaled;
    oracle += other.oracle;
    for (std::size_t e = 0; e < emulations.size(); ++e) emulations[e] += other.emulations[e];
    if (scaled) {
      for (const auto field :
           {&ScaleFields::input, &ScaleFields::carry, &ScaleFields::gate, &ScaleFields::open})
        add_squares(fields.*field, other.fields.*field);
      add_squares(form, other.form);
    }
    if (zero.size() > 0 && other.zero.size() > 0)
      zero = zero.array() && other.zero.array();
    else
      zero.resize(0, 0);
  }

 private:
  static void add_squares(Matrix<double>& a, const Matrix<double>& b) {
    for (Index i = 0; i < a.size(); ++i) a.data()[i] = std::hypot(a.data()[i], b.data()[i]);
  }
};

Contribution contribution(const Measured& measured, std::size_t output, std::size_t k,
                          const Candidate& candidate) {
  Contribution own;
  own.pairs = 1;
  own.oracle = measured.scale.oracle[output];
  own.scaled = measured.scale.sampled();
  if (own.scaled) {
    own.fields = measured.scale.fields(output, candidate.carry_interval, candidate.gate_interval,
                                       candidate.declaration.recipe.underflow_floor);
    own.form = measured.forms[k][output];
  }
  for (const PairOutputs& emulation : measured.emulations[k])
    own.emulations.push_back(emulation[output]);
  own.zero = measured.zeros[output];
  return own;
}

void set_output(const Matrix<double>& matrix, const Pair& pair, Tensor& tensor) {
  update_output(matrix, pair, tensor, [](double, double own) { return own; });
}

void note_measured(const Contribution& own, const Pair& pair, std::size_t output,
                   const Candidate& candidate) {
  MeasuredOutput& measured = (*candidate.measured)[output];
  const RecipeUnits& recipe = candidate.declaration.recipe;
  set_output(own.oracle, pair, measured.oracle);
  if (!own.scaled) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    set_output(Matrix<double>::Constant(own.oracle.rows(), own.oracle.cols(), infinity), pair,
               measured.unit);
    return;
  }
  set_output(error_units(recipe, candidate.types[output], own.oracle, own.fields,
                         own.form.size() > 0 ? &own.form : nullptr),
             pair, measured.unit);
  set_output(recipe.operand * own.fields.input, pair, measured.operand);
  set_output(recipe.carry * own.fields.carry, pair, measured.carry);
  set_output(recipe.gate * own.fields.gate, pair, measured.gate);
}

// A part of a matrix, unless it is absent.
template <class Scalar>
void keep(Matrix<Scalar>& matrix, const Subset& subset) {
  if (matrix.cols() > 0) matrix = Matrix<Scalar>(matrix(subset.rows, subset.columns));
}

// Hands the contribution on, with what is known of the output at its place. Without whole pairs
// there is nothing that an emulation could be compared with.
void judge_contribution(Contribution own, const Pair& pair, std::size_t output,
                        const TensorSpec& spec, const Candidate& candidate, TensorJudge& judge) {
  if (candidate.measured != nullptr) note_measured(own, pair, output, candidate);
  const PairAt place = PairSlice(spec.axes, pair).place;
  bool emulated = !own.emulations.empty();
  const Matrix<double> emulation =
      emulated ? farthest(own.emulations, own.oracle, candidate.types[output]) : Matrix<double>();
  const auto add = [&](const Matrix<double>& got, const Subset* subset) {
    judge.add({place, got, own.oracle, own.scaled ? &own.fields : nullptr,
               own.form.size() > 0 ? &own.form : nullptr, own.zero.size() > 0 ? &own.zero : nullptr,
               emulated ? &emulation : nullptr, subset});
  };
  if (candidate.known == nullptr) {
    add(gather_output(*find(*candidate.outputs, spec.name), pair), nullptr);
    return;
  }
  const KnownOutput& known = *(*candidate.known)[output];
  const std::optional<KnownOutput::Kept> kept = known.kept(pair);
  if (!kept) {
    judge.add_moments({place, known.moments(pair), own.oracle,
                       own.zero.size() > 0 ? &own.zero : nullptr, emulated ? &emulation : nullptr});
    return;
  }
  if (known.whole()) {
    add(kept->elements, nullptr);
    return;
  }
  for (Matrix<double>* const matrix : {&own.oracle, &own.form, &own.fields.input, &own.fields.carry,
                                       &own.fields.gate, &own.fields.open})
    keep(*matrix, kept->subset);
  keep(own.zero, kept->subset);
  emulated = false;
  add(kept->elements, &kept->subset);
}

bool is_given(const Candidate& candidate, std::size_t output, const TensorSpec& spec) {
  return candidate.known != nullptr ? (*candidate.known)[output].has_value()
                                    : find(*candidate.outputs, spec.name) != nullptr;
}

// The form terms of a sampled pair for one candidate.
PairOutputs forms(const Judgeable& op, const Case& c, const Tensors& inputs, const Pair& pair,
                  const PairScale& scale, const Candidate& candidate) {
  const auto units = [&](const RecipeUnits& recipe) {
    PairOutputs result;
    for (std::size_t output = 0; output < scale.oracle.size(); ++output)
      result.push_back(
          internal_units(recipe, scale.fields(output, candidate.carry_interval,
                                              candidate.gate_interval, recipe.underflow_floor)));
    return result;
  };
  return op.form_terms(c, candidate.form, candidate.declaration.recipe, inputs, pair, units);
}

TensorAxes axes_of(const TensorSpec& spec, const Candidate& candidate, bool packed) {
  const auto has = [&](std::string_view name) {
    return std::any_of(spec.axes.begin(), spec.axes.end(),
                       [&](const AxisExtent& axis) { return axis.name == name; });
  };
  TensorAxes axes;
  axes.rows_are_time = has(Time::name);
  axes.sequence = !has(Batch::name) && !has(Sequence::name) ? std::string()
                  : packed                                  ? std::string(Sequence::letter)
                                                            : std::string(Batch::letter);
  axes.row = axes.rows_are_time            ? std::string(Time::letter)
             : has(groundstate::Key::name) ? std::string(groundstate::Key::letter)
             : has(State::name)            ? std::string(Value::letter)
                                           : std::string();
  axes.column = has(State::name)        ? std::string(State::letter)
                : has(Value::name)      ? std::string(Value::letter)
                : has(ChunkToken::name) ? std::string(ChunkToken::letter)
                : axes.rows_are_time && has(groundstate::Key::name)
                    ? std::string(groundstate::Key::letter)
                    : std::string();
  axes.chunk = candidate.chunk;
  if (has(ChunkNumber::name)) {
    axes.chunk_rows = PairSlice(spec.axes, Pair{}).chunk_rows;
    axes.chunk_number = ChunkNumber::letter;
  }
  return axes;
}

}  // namespace

std::vector<MeasuredOutput> unmeasured(const std::vector<TensorSpec>& judged_outputs) {
  std::vector<MeasuredOutput> result;
  for (const TensorSpec& spec : judged_outputs) {
    const auto blank = [&](double value) {
      Tensor tensor = Tensor::allocate(spec.name, ElementType::float64, spec.axes);
      for_each_element(tensor, [&](Index, Index offset) { tensor.store(offset, value); });
      return tensor;
    };
    const double nobody = std::numeric_limits<double>::quiet_NaN();
    result.push_back({blank(nobody), blank(nobody), blank(0), blank(0), blank(0)});
  }
  return result;
}

void set_intervals(Candidate& candidate, bool exact_gates) {
  const RecipeUnits& units = candidate.declaration.recipe;
  const Index chunk = std::max<Index>(candidate.chunk, 1);
  candidate.gate_interval = units.chunk_gate && !exact_gates ? chunk : 1;
  candidate.carry_interval = units.carry_interval == CarryInterval::chunk ? chunk : 1;
}

WantedFields wanted_fields(const std::vector<Candidate>& candidates) {
  WantedFields wanted;
  for (const Candidate& candidate : candidates) {
    wanted.carry_intervals.insert(candidate.carry_interval);
    wanted.gate_intervals.insert(candidate.gate_interval);
    wanted.open = wanted.open || candidate.declaration.recipe.underflow_floor;
  }
  return wanted;
}

CaseJudgement judge_case(const Judgeable& op, const Case& c, const Tensors& inputs,
                         const std::vector<Pair>& pairs, const std::vector<bool>& sampled,
                         const std::vector<Candidate>& candidates,
                         const std::function<void(Index)>& between) {
  const std::vector<TensorSpec> specs = op.judged_outputs(c);
  const WantedFields wanted = wanted_fields(candidates);
  const bool packed = find(inputs, "cu_seqlens") != nullptr;

  const bool one_token =
      std::all_of(pairs.begin(), pairs.end(), [](const Pair& pair) { return pair.length <= 1; });
  const bool nothing_to_round = op.on_grid_by_nature(c) || one_token;

  std::vector<std::vector<TensorJudge>> judges;  // [candidate][output]
  for (const Candidate& candidate : candidates) {
    std::vector<TensorJudge>& own = judges.emplace_back();
    PathDeclaration declaration = candidate.declaration;
    declaration.several_forms = candidate.emulations.size() > 1;
    for (std::size_t i = 0; i < specs.size(); ++i) {
      const TensorAxes axes = axes_of(specs[i], candidate, packed);
      // A recipe that keeps its state in 16 bits leaves a final state on that grid.
      const bool on_grid = nothing_to_round || (!axes.rows_are_time &&
                                                candidate.declaration.recipe.carry > fp32_roundoff);
      own.emplace_back(
          TensorInfo{specs[i].name, candidate.types[i], op.family(specs[i].name), axes, on_grid,
                     axes.rows_are_time || one_token, op.elements_per_error(c, specs[i].name)},
          declaration);
    }
  }

  std::vector<Places> places;
  for (const TensorSpec& spec : specs) places.emplace_back(spec, pairs);
  // Places whose pairs are not all measured yet, by candidate and output.
  using Open = std::map<std::pair<Index, Index>, Contribution>;
  std::vector<Open> open(candidates.size() * specs.size());

  std::vector<OracleContent> content(specs.size());
  const auto count = static_cast<Index>(pairs.size());
  // Pairs with sensitivities take much longer than those without: several a thread balance, as long
  // as they are small enough to be held at once.
  Index largest = 0;
  for (const Pair& pair : pairs) largest = std::max(largest, pair.length);
  const Index batch = threads() * (largest <= 8192 ? 4 : 1);
  for (Index begin = 0; begin < count; begin += batch) {
    const Index size = std::min(batch, count - begin);
    std::vector<Measured> measured(static_cast<std::size_t>(size));
    const auto has_sensitivities = [&](Index i) {
      return bool{sampled[static_cast<std::size_t>(begin + i)]};
    };
    const std::span own_pairs(pairs.begin() + begin, static_cast<std::size_t>(size));
    for_each_pair(own_pairs, has_sensitivities, [&](Index i) {
      const auto number = static_cast<std::size_t>(begin + i);
      Measured& own = measured[static_cast<std::size_t>(i)];
      own.scale = measure_scale(op, c, inputs, pairs[number], wanted, sampled[number]);
      for (std::size_t output = 0; output < specs.size(); ++output)
        own.zeros.push_back(
            op.zeros(c, inputs, specs[output].name, pairs[number], own.scale.oracle[output]));
      for (const Candidate& candidate : candidates) {
        std::vector<PairOutputs>& emulations = own.emulations.emplace_back();
        for (const PathVariant& variant : candidate.emulations)
          emulations.push_back(op.emulate(c, variant, inputs, pairs[number]));
        own.forms.push_back(own.scale.sampled()
                                ? forms(op, c, inputs, pairs[number], own.scale, candidate)
                                : PairOutputs());
      }
    });
    // Every judge sees the pairs in their order; the judges are independent of each other.
    const auto outputs = static_cast<Index>(specs.size());
    parallel_for(static_cast<Index>(candidates.size()) * outputs, [&](Index job) {
      const auto k = static_cast<std::size_t>(job / outputs),
                 output = static_cast<std::size_t>(job % outputs);
      if (!is_given(candidates[k], output, specs[output])) return;
      for (Index i = 0; i < size; ++i) {
        const Pair& pair = pairs[static_cast<std::size_t>(begin + i)];
        Contribution& sum = open[static_cast<std::size_t>(job)][places[output].key(pair)];
        sum.add(contribution(measured[static_cast<std::size_t>(i)], output, k, candidates[k]));
        if (sum.pairs < places[output].contributors(pair)) continue;
        judge_contribution(std::move(sum), pair, output, specs[output], candidates[k],
                           judges[k][output]);
        open[static_cast<std::size_t>(job)].erase(places[output].key(pair));
      }
    });
    for (const Measured& own : measured)
      for (std::size_t output = 0; output < specs.size(); ++output)
        content[output].add(own.scale.oracle[output],
                            own.zeros[output].size() > 0 ? &own.zeros[output] : nullptr);
    if (between) between(begin + size);
  }

  CaseJudgement result;
  result.mistrusted = is_mistrusted(content);
  result.pairs = count;
  result.sampled = std::count(sampled.begin(), sampled.end(), true);
  for (std::size_t k = 0; k < candidates.size(); ++k) {
    std::vector<TensorVerdict> tensors;
    for (std::size_t i = 0; i < specs.size(); ++i)
      if (is_given(candidates[k], i, specs[i])) tensors.push_back(judges[k][i].finish());
    result.paths.push_back(combine(std::move(tensors)));
  }
  return result;
}

}  // namespace groundstate::harness
