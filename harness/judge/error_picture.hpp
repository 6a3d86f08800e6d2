// What a report draws of the scaled errors of one tensor, small enough for a line of the record.
//
//   level of an error e (dimensionless): 0 below 2^-10, 1 + floor(2 (log2 e + 10)) from there on
//   (two levels an octave), 61 from 2^20 on, infinity included; 62 levels
//
//   histogram   judged elements of each level, of the path and, where it has one, of its emulation
//   along time  at most 64 windows of time: maximum and RMS over all sequences and heads
//   map         at most 256 cells of rows by 96 lines of (sequence, head) pairs: the highest level
//               in the cell. Only for a tensor that is not PASSED
//
// The numbers follow from the list of errors alone, in its order. A pair without sensitivities has
// no scaled errors: it has no part in the histogram and in the windows, and in the map it shows
// only the rows that hold an element of the wrong kind.
#pragma once

#include <array>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "harness/judge/error_list.hpp"
#include "harness/judge/where.hpp"

namespace groundstate::harness {

inline constexpr int error_levels = 62;
inline constexpr int highest_error_level = error_levels - 1;
inline constexpr int no_error_level = -1;  // of a cell without a judged element

int error_level(double error);
// The least error of a level from 1 on.
double least_error(int level);
// One of 0-9A-Za-z; '.' for no level. And back; nothing for another character.
char character_of(int level);
std::optional<int> level_of(char character);

struct ErrorPicture {
  static constexpr Index windows = 64, map_columns = 256, map_lines = 96;

  using Histogram = std::array<Index, error_levels>;
  // Windows of `rows` rows, the last one perhaps shorter.
  struct Along {
    Index rows = 0;
    std::vector<double> maximum, rms, emulation_rms;  // the last is empty without an emulation
  };
  struct Map {
    Index rows = 0, pairs = 0;  // of a cell
    std::vector<PairAt> lines;  // the first pair of each line
    std::vector<std::string> cells;
  };

  TensorAxes axes;
  Index length = 0;  // rows of the longest pair
  Histogram path{};
  std::optional<Histogram> emulation;
  std::optional<Along> along;  // absent where rows are not time
  std::optional<Map> map;
};

// A pair that was judged.
struct PicturedPair {
  PairAt pair;
  Index rows, columns;
  Index place;                  // of its first element in the lists; -1: not sampled
  std::vector<Index> bad_rows;  // of a pair that is not sampled: those of the wrong kind
};

// `emulation` has an entry for each of `path`, or is empty.
ErrorPicture draw(const TensorAxes& axes, const std::vector<PicturedPair>& pairs,
                  const ErrorList& path, const ErrorList& emulation, bool with_map);

// {axes, length, histogram {first, path, emulation}, along, map}; the histogram without the empty
// levels at both ends, `first` the lowest level that it has.
nlohmann::json to_record(const ErrorPicture& picture);

}  // namespace groundstate::harness
