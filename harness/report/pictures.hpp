// The pictures of one tensor: what gnuplot is told to draw, and the error map, which is cells of
// plain SVG.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "harness/judge/verdict.hpp"

namespace groundstate::harness {

// The limits of single numbers of the error's distribution: the smaller of clauses A and B.
struct ErrorLimits {
  std::optional<double> median, p999, maximum;
};
ErrorLimits error_limits(const TensorVerdict& tensor);

// Scripts for draw_with_gnuplot.
std::string histogram_script(const TensorVerdict& tensor);
// Chunk boundaries as faint lines, at most 64 of them. The tensor has errors along time.
std::string along_script(const TensorVerdict& tensor);

// Classes of the cells of a map by the ratio of the error to the limit of the maximum. A cell is
// rounded up, by half an octave at most, so that none above the limit looks as if it were below.
struct MapClass {
  const char* css;
  const char* meaning;
};
const std::vector<MapClass>& map_classes();

struct DrawnMap {
  std::string svg;
  std::string across, down;  // what the axes are: "t, 5 a cell"
  std::string first_line, last_line, first_column, last_column;
};
// The tensor has a map.
DrawnMap draw_map(const TensorVerdict& tensor);

}  // namespace groundstate::harness
