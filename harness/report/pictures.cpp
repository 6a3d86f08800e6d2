#include "harness/report/pictures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "harness/report/gnuplot.hpp"

namespace groundstate::harness {
namespace {

constexpr double least_drawn = 0x1p-10, most_drawn = 0x1p20;

double drawn(double error) {
  return !(error >= least_drawn) ? (std::isnan(error) ? most_drawn : least_drawn)
                                 : std::min(error, most_drawn);
}

// Bounds of an axis of errors: what is drawn on it and the limits, in whole powers of 4.
struct ErrorAxis {
  double low = most_drawn, high = least_drawn;
  void add(double error) {
    low = std::min(low, drawn(error));
    high = std::max(high, drawn(error));
  }
  // About eight tics.
  std::string tics() const {
    const double octaves = std::log2(high) - std::log2(low);
    return fmt::format("{:g}", std::exp2(std::max(2.0, 2 * std::ceil(octaves / 16))));
  }
  std::string range() const {
    return fmt::format("[{:g}:{:g}]", std::exp2(2 * std::floor(std::log2(low) / 2 - 0.1)),
                       std::exp2(2 * std::ceil(std::log2(high) / 2 + 0.1)));
  }
};

std::string axes_style() {
  return fmt::format(
      "set border 3 lw 0.7\nset tics nomirror scale 0.5\nset key off\nunset mxtics\nunset "
      "mytics\nset style fill solid 0.55 "
      "noborder\nset grid ytics lc rgb '{}' lw 0.5\nset lmargin 9\nset rmargin 2\nset tmargin 1\n",
      ink::faint);
}

// No higher than its label: the label of a lower limit stands above it, and is not crossed.
std::string limit_arrow(double at, std::string_view label, double height) {
  return fmt::format(
      "set arrow from {0:g},graph 0 to {0:g},graph {4:g} nohead lc rgb '{1}' lw 1.2 dt 2\n"
      "set label '{2}' at {0:g},graph {3:g} left offset 0.4,0 tc rgb '{1}'\n",
      drawn(at), ink::limit, label, height, height + 0.04);
}

const Clause* clause_of(const TensorVerdict& tensor, std::string_view name) {
  for (const Clause& clause : tensor.clauses)
    if (clause.name == name && clause.applicable) return &clause;
  return nullptr;
}

// The class of a level, as an index of map_classes().
std::size_t class_of(int level, double limit) {
  if (level == highest_error_level) return 8;
  const double ratio = level == 0 ? 0 : least_error(level + 1) / limit;
  const double bounds[] = {1.0 / 64, 1.0 / 16, 0.25, 1.0, 4, 16, 256};
  std::size_t result = 0;
  while (result < std::size(bounds) && ratio > bounds[result] * (1 + 1e-9)) ++result;
  return result;
}

}  // namespace

ErrorLimits error_limits(const TensorVerdict& tensor) {
  const auto smaller = [&](std::string_view point) -> std::optional<double> {
    std::optional<double> result;
    for (const char prefix : {'A', 'B'})
      if (const Clause* const clause = clause_of(tensor, fmt::format("{}{}", prefix, point)))
        if (clause->limit > 0) result = std::min(result.value_or(clause->limit), clause->limit);
    return result;
  };
  return {smaller(".median"), smaller(".99.9%"), smaller(".max")};
}

std::string histogram_script(const TensorVerdict& tensor) {
  const ErrorPicture& picture = tensor.picture;
  const ErrorLimits limits = error_limits(tensor);
  ErrorAxis axis;
  std::string path, emulation;
  const auto add = [&](const ErrorPicture::Histogram& histogram, std::string& rows) {
    for (int level = 0; level < error_levels; ++level) {
      const Index count = histogram[static_cast<std::size_t>(level)];
      const double low = level == 0 ? std::exp2(-10.5) : least_error(level);
      if (count == 0) continue;
      axis.add(low);
      axis.add(std::sqrt(2.0) * low);
      rows += fmt::format("{0:.5g} {1} {0:.5g} {2:.5g}\n", low, count, std::sqrt(2.0) * low);
    }
  };
  add(picture.path, path);
  if (picture.emulation) add(*picture.emulation, emulation);
  std::string script = axes_style();
  double height = 0.96;
  const auto limit = [&](const std::optional<double>& at, std::string_view label) {
    if (!at) return;
    axis.add(*at);
    script += limit_arrow(*at, label, height);
    height -= 0.1;
  };
  limit(limits.median, "median");
  limit(limits.p999, "99.9 %");
  limit(limits.maximum, "max");
  axis.high = std::min(axis.high * 4, most_drawn * 2);  // room for the last label
  script += fmt::format(
      "set logscale x 2\nset logscale y 10\nunset mytics\nset xrange {}\nset yrange [0.5:*]\n"
      "set xtics {}\nset format x '2^{{%L}}'\nset format y '10^{{%L}}'\n"
      "set xlabel 'scaled error'\nset ylabel 'elements'\n",
      axis.range(), axis.tics());
  std::string plots, data;
  if (!path.empty()) {
    plots = fmt::format("'-' using 1:2:3:4:(0.5):2 with boxxyerror lc rgb '{}'", ink::path);
    data = path + "e\n";
  }
  if (!emulation.empty()) {
    plots += fmt::format(
        "{0}'-' using 1:2:3:4:(0.5):2 with boxxyerror lc rgb '{1}' lw 1.3 fs empty border lc rgb "
        "'{1}'",
        plots.empty() ? "" : ", ", ink::emulation);
    data += emulation + "e\n";
  }
  if (plots.empty()) return script + "set yrange [0.5:10]\nplot NaN\n";
  return script + "plot " + plots + "\n" + data;
}

std::string along_script(const TensorVerdict& tensor) {
  const ErrorPicture& picture = tensor.picture;
  const ErrorPicture::Along& along = *picture.along;
  const ErrorLimits limits = error_limits(tensor);
  ErrorAxis axis;
  // Steps: a window is flat, and the last one has an end.
  const auto steps = [&](const std::vector<double>& values) {
    std::string rows;
    for (std::size_t w = 0; w < values.size(); ++w) {
      axis.add(values[w]);
      const Index begin = static_cast<Index>(w) * along.rows;
      rows += fmt::format("{0} {2:.4g}\n{1} {2:.4g}\n", begin,
                          std::min(begin + along.rows, picture.length), drawn(values[w]));
    }
    return rows + "e\n";
  };
  std::string script = axes_style();
  if (const Index chunk = picture.axes.chunk; chunk > 1) {
    const Index boundaries = (picture.length - 1) / chunk;
    const Index step = std::max<Index>(1, (boundaries + 63) / 64) * chunk;
    for (Index t = step; t < picture.length; t += step)
      script +=
          fmt::format("set arrow from {0},graph 0 to {0},graph 1 nohead lc rgb '{1}' lw 0.6 back\n",
                      t, ink::faint);
  }
  std::string data = steps(along.maximum) + steps(along.rms);
  std::string plots = fmt::format(
      "'-' with lines lc rgb '{}' lw 1.6, '-' with lines lc rgb '{}' lw 1.6", ink::peak, ink::path);
  if (!along.emulation_rms.empty()) {
    plots += fmt::format(", '-' with lines lc rgb '{}' lw 1.3 dt 3", ink::emulation);
    data += steps(along.emulation_rms);
  }
  if (limits.maximum) {
    axis.add(*limits.maximum);
    script += fmt::format(
        "set arrow from graph 0,first {0:g} to graph 1,first {0:g} nohead lc rgb '{1}' lw 1.2 dt "
        "2\nset label 'max' at graph 0.01,first {0:g} left offset 0,0.6 tc rgb '{1}'\n",
        drawn(*limits.maximum), ink::limit);
  }
  // Left alone, gnuplot has a tic between two of few tokens.
  if (picture.length <= 10) script += "set xtics 1\n";
  return script +
         fmt::format(
             "set logscale y 2\nset yrange {}\nset ytics {}\nset format y '2^{{%L}}'\nset xrange "
             "[0:{}]\nset xlabel 'time'\nset ylabel 'scaled error'\nplot {}\n{}",
             axis.range(), axis.tics(), std::max<Index>(picture.length, 1), plots, data);
}

const std::vector<MapClass>& map_classes() {
  static const std::vector<MapClass> classes = {{"m0", "below 1/64 of the limit"},
                                                {"m1", "1/16"},
                                                {"m2", "1/4"},
                                                {"m3", "up to the limit"},
                                                {"m4", "above it"},
                                                {"m5", "4 x"},
                                                {"m6", "16 x"},
                                                {"m7", "256 x"},
                                                {"m8", "NaN, infinite, 2^20 or more"}};
  return classes;
}

DrawnMap draw_map(const TensorVerdict& tensor) {
  const ErrorPicture& picture = tensor.picture;
  const ErrorPicture::Map& map = *picture.map;
  const double limit = error_limits(tensor).maximum.value_or(1);
  const std::size_t lines = map.cells.size(), columns = lines > 0 ? map.cells[0].size() : 0;
  // Runs of one class along a line, one path a class.
  std::vector<std::string> paths(map_classes().size());
  for (std::size_t y = 0; y < lines; ++y)
    for (std::size_t x = 0; x < columns;) {
      const auto shade = [&](std::size_t at) {
        const int level = level_of(map.cells[y][at]).value_or(no_error_level);
        return level == no_error_level ? paths.size() : class_of(level, limit);
      };
      std::size_t end = x + 1;
      while (end < columns && shade(end) == shade(x)) ++end;
      if (shade(x) < paths.size())
        paths[shade(x)] += fmt::format("M{} {}h{}v1h-{}z", x, y, end - x, end - x);
      x = end;
    }
  DrawnMap result;
  result.svg = fmt::format(
      "<svg viewBox=\"0 0 {0} {1}\" preserveAspectRatio=\"none\" shape-rendering=\"crispEdges\" "
      "style=\"height:{2}px\">",
      columns, lines, std::clamp<std::size_t>(lines * 14, 28, 384));
  for (std::size_t i = 0; i < paths.size(); ++i)
    if (!paths[i].empty())
      result.svg += fmt::format("<path class=\"{}\" d=\"{}\"/>", map_classes()[i].css, paths[i]);
  result.svg += "</svg>";
  const TensorAxes& axes = picture.axes;
  result.across = fmt::format("{}{}", axes.row.empty() ? "row" : axes.row,
                              map.rows > 1 ? fmt::format(", {} a cell", map.rows) : "");
  result.down = map.pairs > 1 ? fmt::format("{} (sequence, head) pairs a line", map.pairs) : "";
  if (lines > 0) {
    result.first_line = pair_text(axes, map.lines.front());
    result.last_line = pair_text(axes, map.lines.back());
  }
  result.first_column = "0";
  result.last_column = fmt::format("{}", std::max<Index>(picture.length - 1, 0));
  return result;
}

}  // namespace groundstate::harness
