#include "harness/run/judge_case.hpp"

#include <algorithm>
#include <cmath>

#include "reference/core/parallel.hpp"

namespace groundstate::harness {
namespace {

// The emulation that is farther from the oracle, element by element, as it would be stored.
Matrix<double> farthest(const std::vector<PairOutputs>& emulations, std::size_t output,
                        const Matrix<double>& oracle, ElementType type) {
  Matrix<double> result = emulations.front()[output];
  for (std::size_t e = 1; e < emulations.size(); ++e) {
    const Matrix<double>& other = emulations[e][output];
    for (Index i = 0; i < result.size(); ++i)
      if (std::abs(other.data()[i] - oracle.data()[i]) >
          std::abs(result.data()[i] - oracle.data()[i]))
        result.data()[i] = other.data()[i];
  }
  return result.unaryExpr([type](double x) { return round_to_type(type, x); });
}

// Where a pair's matrix lies in a tensor: rows are time or key, columns value, the rest is fixed.
struct PairSlice {
  Index rows = 1, columns = 1, row_stride = 0, column_stride = 0, start = 0;
  PairSlice(const Tensor& tensor, const Pair& pair) {
    for (const AxisExtent& axis : tensor.axes()) {
      if (axis.name == Batch::name) start += pair.batch * axis.stride;
      if (axis.name == Sequence::name) start += pair.sequence * axis.stride;
      if (axis.name == Head::name || axis.name == ValueHead::name)
        start += pair.value_head * axis.stride;
      if (axis.name == Time::name) {
        rows = pair.length;
        row_stride = axis.stride;
        start += pair.begin * axis.stride;
      }
      if (axis.name == groundstate::Key::name) {
        rows = axis.extent;
        row_stride = axis.stride;
      }
      if (axis.name == Value::name) {
        columns = axis.extent;
        column_stride = axis.stride;
      }
    }
  }
  Index offset(Index row, Index column) const {
    return start + row * row_stride + column * column_stride;
  }
};

struct Measured {
  PairScale scale;
  std::vector<std::vector<PairOutputs>> emulations;  // [candidate][emulation]
};

// The mask of elements that are zero by definition; empty where none is.
Matrix<bool> zeros(const Operator& op, const Case& c, std::string_view tensor, const Pair& pair,
                   const Matrix<double>& oracle) {
  if (!op.zero_by_definition(c, tensor, pair)) return {};
  return Matrix<bool>::Constant(oracle.rows(), oracle.cols(), true);
}

// One pair of candidate number `k` to the judge of one of its outputs.
void add_pair(const Operator& op, const Case& c, std::string_view name, std::size_t output,
              const Pair& pair, const Measured& measured, std::size_t k, const Candidate& candidate,
              TensorJudge& judge) {
  const Tensor* const tensor = find(*candidate.outputs, name);
  if (tensor == nullptr) return;
  const Matrix<double>& oracle = measured.scale.oracle[output];
  const Matrix<bool> zero = zeros(op, c, name, pair, oracle);
  const Matrix<double> got = gather_output(*tensor, pair);
  const bool scaled = measured.scale.sampled(), emulated = !measured.emulations[k].empty();
  const ScaleFields fields =
      scaled ? measured.scale.fields(output, candidate.carry_interval, candidate.gate_interval,
                                     candidate.declaration.recipe.underflow_floor)
             : ScaleFields{};
  const Matrix<double> emulation =
      emulated ? farthest(measured.emulations[k], output, oracle, candidate.types[output])
               : Matrix<double>();
  judge.add({{pair.sequence, pair.value_head},
             got,
             oracle,
             scaled ? &fields : nullptr,
             nullptr,
             zero.size() > 0 ? &zero : nullptr,
             emulated ? &emulation : nullptr});
}

TensorAxes axes_of(const TensorSpec& spec, const Candidate& candidate, bool packed) {
  TensorAxes axes;
  axes.rows_are_time = false;
  axes.sequence = packed ? std::string(Sequence::letter) : std::string(Batch::letter);
  axes.row = std::string(groundstate::Key::letter);
  for (const AxisExtent& axis : spec.axes)
    if (axis.name == Time::name) {
      axes.rows_are_time = true;
      axes.row = std::string(Time::letter);
    }
  axes.chunk = candidate.chunk;
  return axes;
}

}  // namespace

Matrix<double> gather_output(const Tensor& tensor, const Pair& pair) {
  const PairSlice at(tensor, pair);
  Matrix<double> result(at.rows, at.columns);
  for (Index i = 0; i < at.rows; ++i)
    for (Index j = 0; j < at.columns; ++j) result(i, j) = tensor.load(at.offset(i, j));
  return result;
}

void scatter_output(const Matrix<double>& matrix, const Pair& pair, Tensor& tensor) {
  const PairSlice at(tensor, pair);
  for (Index i = 0; i < at.rows; ++i)
    for (Index j = 0; j < at.columns; ++j) tensor.store(at.offset(i, j), matrix(i, j));
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

CaseJudgement judge_case(const Operator& op, const Case& c, const Tensors& inputs,
                         const std::vector<Pair>& pairs, const std::vector<bool>& sampled,
                         const std::vector<Candidate>& candidates,
                         const std::function<void(Index)>& between) {
  const std::vector<TensorSpec> specs = op.outputs(c);
  const WantedFields wanted = wanted_fields(candidates);
  const bool packed = find(inputs, "cu_seqlens") != nullptr;

  const bool nothing_to_round =
      op.on_grid_by_nature(c) ||
      std::all_of(pairs.begin(), pairs.end(), [](const Pair& pair) { return pair.length <= 1; });

  std::vector<std::vector<TensorJudge>> judges;  // [candidate][output]
  for (const Candidate& candidate : candidates) {
    std::vector<TensorJudge>& own = judges.emplace_back();
    for (std::size_t i = 0; i < specs.size(); ++i) {
      const TensorAxes axes = axes_of(specs[i], candidate, packed);
      // A recipe that keeps its state in 16 bits leaves a final state on that grid.
      const bool on_grid = nothing_to_round || (!axes.rows_are_time &&
                                                candidate.declaration.recipe.carry > fp32_roundoff);
      own.emplace_back(
          TensorInfo{specs[i].name, candidate.types[i], Family::diagonal, axes, on_grid},
          candidate.declaration);
    }
  }

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
    parallel_for(size, [&](Index i) {
      const auto number = static_cast<std::size_t>(begin + i);
      Measured& own = measured[static_cast<std::size_t>(i)];
      own.scale = measure_scale(op, c, inputs, pairs[number], wanted, sampled[number]);
      for (const Candidate& candidate : candidates) {
        std::vector<PairOutputs>& emulations = own.emulations.emplace_back();
        for (const PathVariant& variant : candidate.emulations)
          emulations.push_back(op.emulate(c, variant, inputs, pairs[number]));
      }
    });
    // Every judge sees the pairs in their order; the judges are independent of each other.
    const auto outputs = static_cast<Index>(specs.size());
    parallel_for(static_cast<Index>(candidates.size()) * outputs, [&](Index job) {
      const auto k = static_cast<std::size_t>(job / outputs),
                 output = static_cast<std::size_t>(job % outputs);
      for (Index i = 0; i < size; ++i)
        add_pair(op, c, specs[output].name, output, pairs[static_cast<std::size_t>(begin + i)],
                 measured[static_cast<std::size_t>(i)], k, candidates[k], judges[k][output]);
    });
    for (Index i = 0; i < size; ++i)
      for (std::size_t output = 0; output < specs.size(); ++output) {
        const Matrix<double>& oracle = measured[static_cast<std::size_t>(i)].scale.oracle[output];
        const Matrix<bool> zero =
            zeros(op, c, specs[output].name, pairs[static_cast<std::size_t>(begin + i)], oracle);
        content[output].add(oracle, zero.size() > 0 ? &zero : nullptr);
      }
    if (between) between(begin + size);
  }

  CaseJudgement result;
  result.mistrusted = is_mistrusted(content);
  result.pairs = count;
  result.sampled = std::count(sampled.begin(), sampled.end(), true);
  for (std::size_t k = 0; k < candidates.size(); ++k) {
    std::vector<TensorVerdict> tensors;
    for (std::size_t i = 0; i < specs.size(); ++i)
      if (find(*candidates[k].outputs, specs[i].name) != nullptr)
        tensors.push_back(judges[k][i].finish());
    result.paths.push_back(combine(std::move(tensors)));
  }
  return result;
}

}  // namespace groundstate::harness
