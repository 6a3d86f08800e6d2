#include "harness/judge/locality.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "harness/judge/counting.hpp"

namespace groundstate::harness {

double Locality::Window::baseline() const { return std::hypot(emulation, floor); }

double Locality::Window::limit(double probability) const {
  return allowed_factor * honest_ratio(independent, probability) * baseline();
}

// Several windows of scaled errors as one.
struct Locality::Quarter {
  double elements = 0, path = 0, baseline = 0, row_squares = 0;  // sums

  void add(const Window& window) {
    const double sum = window.baseline() * window.baseline() * window.elements;
    elements += window.elements;
    path += (window.path * window.path + window.floor * window.floor) * window.elements;
    baseline += sum;
    row_squares += sum * sum / window.independent;
  }
  double independent() const { return baseline * baseline / row_squares; }
};

Locality::Window Locality::measure(const LocalityErrors& errors, Index begin, Index end) {
  const Index columns = errors.path.cols();
  const auto block = [&](const Matrix<double>& m) {
    return m.block(begin, 0, end - begin, columns).array();
  };
  // Squares are taken relative to the largest of emulation and floor: absolute errors have any
  // size.
  const double unit = std::max(block(errors.emulation).maxCoeff(), block(errors.floor).maxCoeff());
  Window window{{}, begin, end, 0, 0, 0, 0, 1};
  if (!(unit > 0)) return window;
  double row_squares = 0, path = 0, emulation = 0, floor = 0;
  for (Index i = begin; i < end; ++i) {
    double row = 0;
    for (Index j = 0; j < columns; ++j) {
      const double a = errors.path(i, j) / unit, b = errors.emulation(i, j) / unit;
      const double f = errors.floor(i, j) / unit;
      window.elements += f > 0;
      path += a * a;
      emulation += b * b;
      floor += f * f;
      row += b * b + f * f;
    }
    row_squares += row * row;
  }
  const double count = std::max(1.0, window.elements);
  window.path = unit * std::sqrt(path / count);
  window.emulation = unit * std::sqrt(emulation / count);
  window.floor = unit * std::sqrt(floor / count);
  window.independent = (emulation + floor) * (emulation + floor) / row_squares;
  return window;
}

std::vector<std::pair<Index, Index>> Locality::windows(Index rows, Index columns,
                                                       bool rows_are_time) {
  if (rows == 0 || columns == 0) return {};
  const Index wanted = std::max(least_rows, (least_elements + columns - 1) / columns);
  const Index count = rows_are_time ? std::max<Index>(1, rows / wanted) : 1;
  std::vector<std::pair<Index, Index>> result;
  for (Index w = 0; w < count; ++w)
    result.emplace_back(w * wanted, w + 1 == count ? rows : (w + 1) * wanted);
  return result;
}

void Locality::add(PairAt pair, const LocalityErrors& errors) {
  const Index columns = errors.path.cols();
  const auto parts = windows(errors.path.rows(), columns, axes_.rows_are_time);
  const std::size_t first = windows_.size();
  for (const auto& [begin, end] : parts) {
    Window window = measure(errors, begin, end);
    if (columns == 1)
      window.independent /= elements_per_error_;
    else if (!axes_.rows_are_time)
      window.independent /= shared_rows;
    window.pair = pair;
    windows_.push_back(window);
  }
  if (errors.scaled && axes_.rows_are_time && static_cast<Index>(parts.size()) >= growth_windows)
    growing_.emplace_back(first, windows_.size());
}

Clause Locality::local() const {
  if (windows_.empty()) return not_applicable("E.locality", "no emulation of this path");
  const double probability = false_alarm / static_cast<double>(windows_.size());
  const Window* worst = nullptr;
  for (const Window& window : windows_) {
    const double limit = window.limit(probability);
    // No limit: nothing in the window has a verdict, or too few errors to say anything.
    if (!(limit > 0 && std::isfinite(limit))) continue;
    if (worst == nullptr || window.path / limit > worst->path / worst->limit(probability))
      worst = &window;
  }
  if (worst == nullptr) return not_applicable("E.locality", "too few elements");
  return make_clause(
      "E.locality", worst->path, worst->limit(probability),
      fmt::format("{}{}: RMS error {:.3g}, emulation {:.3g}", pair_text(axes_, worst->pair),
                  axes_.row.empty() || axes_.chunk_rows > 0
                      ? ""
                      : fmt::format(" {}={}..{}", axes_.row, worst->begin, worst->end - 1),
                  worst->path, worst->emulation));
}

Clause Locality::growth() const {
  Quarter early, late;
  for (const auto& [begin, end] : growing_) {
    const std::size_t quarter = (end - begin) / 4;
    for (std::size_t i = 0; i < quarter; ++i) {
      early.add(windows_[begin + i]);
      late.add(windows_[end - 1 - i]);
    }
  }
  if (!(early.elements > 0 && late.elements > 0))
    return not_applicable("E.growth", fmt::format("less than {} windows of time", growth_windows));
  const auto grow = [&](double Quarter::*sum) {
    return std::sqrt(late.*sum / late.elements / (early.*sum / early.elements));
  };
  const double path = grow(&Quarter::path), emulation = grow(&Quarter::baseline);
  const double limit = allowed_factor * honest_ratio(early.independent(), false_alarm / 2) *
                       honest_ratio(late.independent(), false_alarm / 2);
  return make_clause(
      "E.growth", path / emulation, limit,
      fmt::format("grows by {:.3g} along time, emulation by {:.3g}", path, emulation));
}

}  // namespace groundstate::harness
