#include "harness/judge/verdict.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <tuple>
#include <utility>

#include "harness/judge/counting.hpp"
#include "harness/judge/json_number.hpp"

namespace groundstate::harness {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

void check_shape(const Matrix<double>& oracle, Index rows, Index columns, const std::string& what) {
  if (rows != oracle.rows() || columns != oracle.cols())
    throw std::logic_error(fmt::format("{} has shape {} x {}, the oracle {} x {}", what, rows,
                                       columns, oracle.rows(), oracle.cols()));
}

template <class Data>
bool is_zero_by_definition(const Data& data, Index i, Index j) {
  return data.zero != nullptr && (*data.zero)(i, j);
}

// Of the output.
Index row_of(const Subset* subset, Index i) {
  return subset == nullptr ? i : subset->rows[static_cast<std::size_t>(i)];
}
Index column_of(const Subset* subset, Index j) {
  return subset == nullptr ? j : subset->columns[static_cast<std::size_t>(j)];
}

bool is_nan_row(const Matrix<double>& m, Index row) {
  return m.cols() > 0 && m.row(row).array().isNaN().all();
}

bool is_16_bit(ElementType type) { return size_of(type) == 2; }

// Below it numbers lie on a fixed grid, where rounding to nearest is not free of bias: what rounds
// to zero loses its size, always towards zero.
double least_normal(ElementType type) { return type == ElementType::float16 ? 0x1p-14 : 0x1p-126; }

// An error without a unit, for pairs without fields.
struct AbsoluteError {
  bool wrong = false;   // the pattern is
  bool judged = false;  // `value` means something
  double value = 0;
};

AbsoluteError absolute_error(double got, double oracle, double threshold) {
  if (std::isnan(oracle)) return {!std::isnan(got), false, 0};
  if (std::isnan(got)) return {true, false, 0};
  if (std::isinf(oracle)) return {got != oracle, false, 0};
  const double size = std::abs(oracle);
  if (std::isinf(got))
    return {std::signbit(got) != std::signbit(oracle) || size < threshold / 2, false, 0};
  if (size > 2 * threshold) return {true, false, 0};
  return {false, size < threshold / 2, std::abs(got - oracle)};
}

}  // namespace

TensorJudge::TensorJudge(TensorInfo info, PathDeclaration declaration)
    : info_(std::move(info)),
      declaration_(std::move(declaration)),
      limits_(recipe_limits(declaration_.recipe.limit_row, info_.family)),
      bias_(info_.type),
      locality_(info_.axes, info_.elements_per_error),
      where_(info_.axes) {
  first_[0].above = limits_.maximum;
  first_[1].above = limits_.p999;
  first_[2].above = limits_.median;
}

void TensorJudge::reserve(Index elements) {
  errors_.reserve(elements);
  emulation_errors_.reserve(elements);
}

void TensorJudge::First::consider(const BadElement& candidate) {
  if (!(candidate.error > above)) return;
  const auto order = [](const BadElement& e) {
    return std::tuple(e.pair.sequence, e.row, e.pair.head, e.column);
  };
  if (!element || order(candidate) < order(*element)) element = candidate;
}

// The difference of two fp32 numbers that are 2^12 times larger lies on a coarse grid, whatever was
// rounded. The form term is at least 2^-24 of those numbers; without it, for a pair that is not
// sampled, nothing is known.
bool TensorJudge::is_coarse_by_nature(const PairData& data, Index i, Index j) const {
  if (info_.family != Family::gate_gradient) return false;
  if (data.fields == nullptr) return true;
  return data.form != nullptr && !(std::abs(data.oracle(i, j)) > 0x1p13 * (*data.form)(i, j));
}

void TensorJudge::note(const BadElement& element) {
  worst_.add(element);
  for (First& first : first_) first.consider(element);
}

void TensorJudge::add(const PairData& data) {
  const Matrix<double>& oracle = data.oracle;
  check_shape(oracle, data.got.rows(), data.got.cols(), info_.name);
  if (data.zero != nullptr)
    check_shape(oracle, data.zero->rows(), data.zero->cols(), "the zero mask");
  if (data.emulation != nullptr)
    check_shape(oracle, data.emulation->rows(), data.emulation->cols(), "the emulation");
  const bool sampled = data.fields != nullptr;
  if (data.subset != nullptr && (!sampled || data.emulation != nullptr))
    throw std::logic_error(info_.name + ": a subset has sensitivities and no emulation");
  pairs_.push_back({data.pair, oracle.rows(), oracle.cols(), sampled ? errors_.places() : -1, {}});
  subsets_.push_back(data.subset == nullptr ? std::nullopt : std::optional(*data.subset));
  where_.add_pair(data.pair, oracle.rows(), oracle.cols());
  for (Index i = 0; i < oracle.rows(); ++i)
    if (is_nan_row(data.got, i) && !is_nan_row(oracle, i)) where_.add_unwritten_row();
  if (info_.type == ElementType::float32 && !info_.on_grid_by_nature)
    for (Index i = 0; i < oracle.rows(); ++i)
      for (Index j = 0; j < oracle.cols(); ++j)
        if (!is_zero_by_definition(data, i, j) && !is_coarse_by_nature(data, i, j))
          grid_.add(data.got(i, j), oracle(i, j));
  if (sampled)
    add_sampled(data);
  else
    add_unsampled(data);
}

void TensorJudge::add_sampled(const PairData& data) {
  ++sampled_;
  emulated_ += data.emulation != nullptr;
  if (emulated_ != 0 && emulated_ != sampled_)
    throw std::logic_error(info_.name + ": only some of the sampled pairs bring an emulation");
  power_.add(*data.fields);
  const Matrix<double>& oracle = data.oracle;
  const Matrix<double> units =
      error_units(declaration_.recipe, info_.type, oracle, *data.fields, data.form);
  const Matrix<double> none = Matrix<double>::Zero(oracle.rows(), oracle.cols());
  LocalityErrors local;
  if (data.emulation != nullptr) local = {none, none, none, true};
  for (Index i = 0; i < oracle.rows(); ++i)
    for (Index j = 0; j < oracle.cols(); ++j) {
      const double got = data.got(i, j), r = oracle(i, j), unit = units(i, j);
      const bool zero = is_zero_by_definition(data, i, j);
      const double error = zero ? zero_error(got) : scaled_error(got, r, unit, info_.type);
      const bool kind_only = zero || !std::isfinite(r) || !std::isfinite(got);
      // An element that only its kind decides and that is right would dilute the statistics.
      if (kind_only && error == 0) {
        errors_.push_unjudged();
        if (data.emulation != nullptr) emulation_errors_.push_unjudged();
        continue;
      }
      errors_.push(error);
      if (kind_only && error > limits_.maximum) ++wrong_pattern_;
      if (!kind_only && is_16_bit(info_.type) && std::abs(r) >= least_normal(info_.type))
        bias_.add(got, r, unit);
      if (error > 0)
        note({data.pair, row_of(data.subset, i), column_of(data.subset, j), got,
              zero ? 0 : round_to_type(info_.type, r), error});
      if (data.emulation == nullptr) continue;
      const double emulated = (*data.emulation)(i, j);
      const double baseline =
          zero ? zero_error(emulated) : scaled_error(emulated, r, unit, info_.type);
      if (!kind_only && !std::isfinite(emulated)) ++failed_emulations_;
      if (std::isfinite(baseline)) {
        emulation_errors_.push(baseline);
        local.path(i, j) = error;
        local.emulation(i, j) = baseline;
        local.floor(i, j) = Locality::scaled_floor;
      } else {
        emulation_errors_.push_unjudged();
      }
    }
  if (data.emulation != nullptr) locality_.add(data.pair, local);
}

void TensorJudge::add_unsampled(const PairData& data) {
  const Matrix<double>& oracle = data.oracle;
  const double threshold = overflow_threshold(info_.type);
  const double roundoff = std::max(unit_roundoff(info_.type), declaration_.recipe.operand);
  const double floor = storage_floor(declaration_.recipe, info_.type);
  const Matrix<double> none = Matrix<double>::Zero(oracle.rows(), oracle.cols());
  LocalityErrors local{none, none, none, false};
  for (Index i = 0; i < oracle.rows(); ++i)
    for (Index j = 0; j < oracle.cols(); ++j) {
      const double got = data.got(i, j), r = oracle(i, j);
      const bool zero = is_zero_by_definition(data, i, j);
      const AbsoluteError error =
          zero ? AbsoluteError{got != 0, false, 0} : absolute_error(got, r, threshold);
      if (error.wrong) {
        ++wrong_pattern_;
        where_.add_bad(data.pair, oracle.rows(), i, j);
        std::vector<Index>& bad_rows = pairs_.back().bad_rows;
        if (bad_rows.empty() || bad_rows.back() != i) bad_rows.push_back(i);
        note({data.pair, i, j, got, zero ? 0 : round_to_type(info_.type, r), infinity});
      }
      if (data.emulation == nullptr || !error.judged) continue;
      const AbsoluteError baseline = absolute_error((*data.emulation)(i, j), r, threshold);
      if (!baseline.judged || baseline.wrong) continue;
      local.path(i, j) = error.value;
      local.emulation(i, j) = baseline.value;
      local.floor(i, j) = roundoff * std::abs(r) + floor;
    }
  if (data.emulation != nullptr) locality_.add(data.pair, local);
}

void TensorJudge::add_moments(const PairMoments& data) {
  const Matrix<double>& oracle = data.oracle;
  const Index columns = oracle.cols();
  const auto windows = Locality::windows(oracle.rows(), columns, info_.axes.rows_are_time);
  const std::vector<WindowMoments> expected = window_moments(oracle, info_.axes.rows_are_time);
  if (data.got.size() != windows.size())
    throw std::logic_error(fmt::format("{} has moments of {} windows, the oracle {}", info_.name,
                                       data.got.size(), windows.size()));
  pairs_.push_back({data.pair, oracle.rows(), columns, -1, {}});
  subsets_.emplace_back();
  const double threshold = overflow_threshold(info_.type);
  const double roundoff = std::max(unit_roundoff(info_.type), declaration_.recipe.operand);
  const double floor = storage_floor(declaration_.recipe, info_.type);
  const Matrix<double> none = Matrix<double>::Zero(oracle.rows(), columns);
  LocalityErrors local{none, none, none, false};
  for (std::size_t w = 0; w < windows.size(); ++w) {
    const auto& [begin, end] = windows[w];
    const auto block = oracle.middleRows(begin, end - begin).array();
    // What may overflow may leave no moments.
    if (!block.isFinite().all() || block.abs().maxCoeff() >= threshold / 2) continue;
    const WindowMoments& got = data.got[w];
    const bool zero = data.zero != nullptr && data.zero->middleRows(begin, end - begin).all();
    const bool finite = std::isfinite(got.mean) && std::isfinite(got.rms);
    if (!finite || (zero && got.rms != 0)) ++wrong_pattern_;
    if (!finite || zero || data.emulation == nullptr) continue;
    const double least = least_rms_error(got, expected[w]);
    for (Index i = begin; i < end; ++i)
      for (Index j = 0; j < columns; ++j) {
        const double r = oracle(i, j);
        const AbsoluteError baseline = absolute_error((*data.emulation)(i, j), r, threshold);
        if (is_zero_by_definition(data, i, j) || !baseline.judged || baseline.wrong) continue;
        local.path(i, j) = least;
        local.emulation(i, j) = baseline.value;
        local.floor(i, j) = roundoff * std::abs(r) + floor;
      }
  }
  if (data.emulation != nullptr) locality_.add(data.pair, local);
}

void TensorJudge::add_clauses(TensorVerdict& verdict) const {
  std::vector<Clause>& clauses = verdict.clauses;
  clauses.push_back(
      make_clause("pattern", static_cast<double>(wrong_pattern_), 0,
                  "elements that are NaN, infinite or non-zero where they must not be"));
  const auto append = [&clauses](std::vector<Clause> more) {
    std::move(more.begin(), more.end(), std::back_inserter(clauses));
  };
  append(counted_clauses("A", errors_, limits_));
  if (failed_emulations_ > 0)
    clauses.push_back(not_applicable(
        "B", fmt::format("the emulation is not finite at {} elements", failed_emulations_)));
  else if (verdict.emulation)
    append(counted_clauses(
        "B", errors_,
        case_limits(*verdict.emulation, errors_.elements(), limits_, info_.elements_per_error,
                    case_limit_factor(declaration_.recipe.operand))));
  else
    clauses.push_back(not_applicable("B", "no emulation of this path"));
  if (info_.type == ElementType::float32)
    clauses.push_back(info_.on_grid_by_nature ? not_applicable("C.grid", "on a grid by nature")
                                              : grid_.clause());
  if (is_16_bit(info_.type)) {
    clauses.push_back(bias_.bias());
    clauses.push_back(
        info_.rounded_once
            ? bias_.truncation()
            : not_applicable("D.truncation", "a state that is stored after each token"));
  }
  clauses.push_back(locality_.local());
  clauses.push_back(declaration_.several_forms
                        ? not_applicable("E.growth", "the form has several emulations")
                        : locality_.growth());
}

// The elements above the threshold; those of unsampled pairs are in where_ already.
Where TensorJudge::locate(double threshold) const {
  WhereHistogram histogram = where_;
  for (std::size_t p = 0; p < pairs_.size(); ++p) {
    const PicturedPair& judged = pairs_[p];
    if (judged.place < 0) continue;
    const Subset* const subset = subsets_[p] ? &*subsets_[p] : nullptr;
    Index place = judged.place;
    for (Index i = 0; i < judged.rows; ++i)
      for (Index j = 0; j < judged.columns; ++j, ++place)
        if (errors_[place] > threshold)
          histogram.add_bad(judged.pair, subset == nullptr ? judged.rows : subset->length,
                            row_of(subset, i), column_of(subset, j));
  }
  std::optional<BadElement> first;
  for (const First& candidate : first_)
    if (candidate.above == threshold) first = candidate.element;
  std::vector<BadElement> worst = worst_.elements();
  std::erase_if(worst, [&](const BadElement& element) { return !(element.error > threshold); });
  return histogram.finish(std::move(first), std::move(worst));
}

TensorVerdict TensorJudge::finish() const {
  TensorVerdict verdict;
  verdict.tensor = info_.name;
  verdict.errors = errors_.triple();
  if (emulated_ > 0) verdict.emulation = emulation_errors_.triple();
  verdict.power = power_.power();
  verdict.elements = errors_.elements();
  verdict.sampled_pairs = sampled_;
  verdict.pairs = static_cast<Index>(pairs_.size());
  add_clauses(verdict);

  bool certain = false, doubtful = false;
  for (const Clause& clause : verdict.clauses) {
    if (clause.passed) continue;
    const bool relative = clause.name.starts_with('B') || clause.name.starts_with('E');
    (relative && !declaration_.form_declared ? doubtful : certain) = true;
  }
  verdict.status = certain ? Status::failed : doubtful ? Status::marginal : Status::passed;
  verdict.picture =
      draw(info_.axes, pairs_, errors_, emulation_errors_, verdict.status != Status::passed);
  if (verdict.status == Status::passed) return verdict;

  // The elements that a failed counted clause complains of: the maximum's first, as they are
  // fewest.
  const auto failed_limit = [&](std::string_view name) -> std::optional<double> {
    for (const Clause& clause : verdict.clauses)
      if (clause.name == name && !clause.passed) return clause.limit;
    return {};
  };
  std::optional<double> threshold;
  if (wrong_pattern_ > 0) threshold = limits_.maximum;
  for (const char* name : {"A.max", "A.99.9%", "A.median", "B.max", "B.99.9%", "B.median"})
    if (!threshold) threshold = failed_limit(name);
  if (threshold) {
    verdict.where = locate(*threshold);
    verdict.finding = verdict.where.sentence();
  } else {
    verdict.finding = verdict.worst()->detail;
  }
  return verdict;
}

const Clause* TensorVerdict::worst() const {
  const Clause* worst = nullptr;
  const auto rank = [](const Clause& clause) { return std::pair(!clause.passed, clause.ratio()); };
  for (const Clause& clause : clauses)
    if (clause.applicable && (worst == nullptr || rank(clause) > rank(*worst))) worst = &clause;
  return worst;
}

const TensorVerdict* PathVerdict::worst() const {
  const TensorVerdict* worst = nullptr;
  const auto rank = [](const TensorVerdict& tensor) {
    const Clause* const clause = tensor.worst();
    return std::pair(tensor.status, clause != nullptr ? clause->ratio() : 0);
  };
  for (const TensorVerdict& tensor : tensors)
    if (worst == nullptr || rank(tensor) > rank(*worst)) worst = &tensor;
  return worst;
}

PathVerdict combine(std::vector<TensorVerdict> tensors) {
  PathVerdict verdict{Status::passed, std::move(tensors)};
  for (const TensorVerdict& tensor : verdict.tensors)
    verdict.status = std::max(verdict.status, tensor.status);
  return verdict;
}

nlohmann::json to_record(const TensorVerdict& verdict) {
  const auto triple = [](const Triple& t) {
    return nlohmann::json{json_number(t.median), json_number(t.p999), json_number(t.maximum)};
  };
  nlohmann::json record = {
      {"status", name_of(verdict.status)},
      {"clauses", nlohmann::json::object()},
      {"errors", triple(verdict.errors)},
      {"power", {{"carry", verdict.power.carry}, {"gate", verdict.power.gate}}},
      {"elements", verdict.elements},
      {"sampled_pairs", verdict.sampled_pairs},
      {"pairs", verdict.pairs}};
  if (verdict.emulation) record["emulation"] = triple(*verdict.emulation);
  for (const Clause& clause : verdict.clauses) {
    nlohmann::json& entry = record["clauses"][clause.name];
    entry = {{"detail", clause.detail}, {"applicable", clause.applicable}};
    if (!clause.applicable) continue;
    entry["value"] = json_number(clause.value);
    entry["limit"] = json_number(clause.limit);
    entry["passed"] = clause.passed;
    if (clause.raised != 1) entry["raised"] = clause.raised;
  }
  record["picture"] = to_record(verdict.picture);
  if (verdict.status == Status::passed) return record;
  record["finding"] = verdict.finding;
  if (verdict.where.bad == 0) return record;
  record["where"] = to_record(verdict.where);
  const BadElement* const shown = verdict.where.shown();
  if (shown == nullptr) return record;
  record["first_bad"] = coordinate_text(verdict.where.axes, *shown);
  record["got"] = json_number(shown->got);
  record["expected"] = json_number(shown->expected);
  return record;
}

nlohmann::json to_record(const PathVerdict& verdict) {
  nlohmann::json record = {{"status", name_of(verdict.status)},
                           {"tensors", nlohmann::json::object()}};
  for (const TensorVerdict& tensor : verdict.tensors)
    record["tensors"][tensor.tensor] = to_record(tensor);
  if (const TensorVerdict* const worst = verdict.worst(); worst != nullptr) {
    record["worst_tensor"] = worst->tensor;
    if (const Clause* const clause = worst->worst(); clause != nullptr) {
      record["worst_clause"] = clause->name;
      record["worst_ratio"] = json_number(clause->ratio());
    }
  }
  return record;
}

}  // namespace groundstate::harness
