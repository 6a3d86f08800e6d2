#include "harness/judge/error_picture.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "harness/case/text.hpp"
#include "harness/judge/json_number.hpp"

namespace groundstate::harness {
namespace {

using nlohmann::json;

constexpr std::string_view characters =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
static_assert(characters.size() == error_levels);

constexpr int least_exponent = -10;

Index parts_of(Index all, Index wanted) { return std::max<Index>(1, (all + wanted - 1) / wanted); }

ErrorPicture::Histogram histogram_of(const ErrorList& errors) {
  ErrorPicture::Histogram result{};
  for (Index place = 0; place < errors.places(); ++place)
    if (!std::signbit(errors[place]))
      ++result[static_cast<std::size_t>(error_level(errors[place]))];
  return result;
}

struct WindowSums {
  double maximum = 0, squares = 0;
  Index elements = 0;

  void add(double error) {
    maximum = std::max(maximum, error);
    squares += error * error;
    ++elements;
  }
  double rms() const {
    return elements > 0 ? std::sqrt(squares / static_cast<double>(elements)) : 0;
  }
};

std::vector<WindowSums> sums_along(const std::vector<PicturedPair>& pairs, const ErrorList& errors,
                                   Index length, Index rows) {
  std::vector<WindowSums> sums(static_cast<std::size_t>((length + rows - 1) / rows));
  for (const PicturedPair& pair : pairs) {
    if (pair.place < 0) continue;
    Index place = pair.place;
    for (Index i = 0; i < pair.rows; ++i)
      for (Index j = 0; j < pair.columns; ++j, ++place)
        if (!std::signbit(errors[place]))
          sums[static_cast<std::size_t>(i / rows)].add(errors[place]);
  }
  return sums;
}

ErrorPicture::Map map_of(const std::vector<PicturedPair>& pairs, const ErrorList& errors,
                         Index length) {
  ErrorPicture::Map map;
  map.rows = parts_of(length, ErrorPicture::map_columns);
  map.pairs = parts_of(static_cast<Index>(pairs.size()), ErrorPicture::map_lines);
  const auto columns = static_cast<std::size_t>((length + map.rows - 1) / map.rows);
  const auto step = static_cast<std::size_t>(map.pairs);
  for (std::size_t first = 0; first < pairs.size(); first += step) {
    std::vector<int> levels(columns, no_error_level);
    for (std::size_t p = first; p < std::min(first + step, pairs.size()); ++p) {
      const PicturedPair& pair = pairs[p];
      for (const Index row : pair.bad_rows)
        levels[static_cast<std::size_t>(row / map.rows)] = highest_error_level;
      if (pair.place < 0) continue;
      Index place = pair.place;
      for (Index i = 0; i < pair.rows; ++i) {
        int& level = levels[static_cast<std::size_t>(i / map.rows)];
        for (Index j = 0; j < pair.columns; ++j, ++place)
          if (!std::signbit(errors[place])) level = std::max(level, error_level(errors[place]));
      }
    }
    map.lines.push_back(pairs[first].pair);
    std::string& cells = map.cells.emplace_back();
    for (const int level : levels) cells += character_of(level);
  }
  return map;
}

// Three digits are enough to draw. Through text, so that the shortest decimal is what is written.
json drawn_number(double x) {
  return std::isfinite(x) ? json(real_of(fmt::format("{:.3g}", x)).value_or(0)) : json_number(x);
}

}  // namespace

int error_level(double error) {
  if (!(error >= 0x1p-10)) return 0;
  if (!(error < 0x1p20)) return highest_error_level;
  // The square of a float is exact, so that a level begins where it should: floor(2 log2 e).
  const double square = error * error;
  const int exponent = static_cast<int>(std::bit_cast<std::uint64_t>(square) >> 52) - 1023;
  return 1 + exponent - 2 * least_exponent;
}

double least_error(int level) { return std::exp2((level - 1) / 2.0 + least_exponent); }

char character_of(int level) {
  return level == no_error_level ? '.' : characters[static_cast<std::size_t>(level)];
}

std::optional<int> level_of(char character) {
  if (character == '.') return no_error_level;
  const std::size_t place = characters.find(character);
  if (place == characters.npos) return std::nullopt;
  return static_cast<int>(place);
}

ErrorPicture draw(const TensorAxes& axes, const std::vector<PicturedPair>& pairs,
                  const ErrorList& path, const ErrorList& emulation, bool with_map) {
  ErrorPicture picture;
  picture.axes = axes;
  for (const PicturedPair& pair : pairs) picture.length = std::max(picture.length, pair.rows);
  picture.path = histogram_of(path);
  const bool emulated = emulation.places() > 0;
  if (emulated) picture.emulation = histogram_of(emulation);
  if (axes.rows_are_time && path.elements() > 0) {
    ErrorPicture::Along& along = picture.along.emplace(ErrorPicture::Along{});
    along.rows = parts_of(picture.length, ErrorPicture::windows);
    for (const WindowSums& sums : sums_along(pairs, path, picture.length, along.rows)) {
      along.maximum.push_back(sums.maximum);
      along.rms.push_back(sums.rms());
    }
    if (emulated)
      for (const WindowSums& sums : sums_along(pairs, emulation, picture.length, along.rows))
        along.emulation_rms.push_back(sums.rms());
  }
  if (with_map && picture.length > 0) picture.map = map_of(pairs, path, picture.length);
  return picture;
}

json to_record(const ErrorPicture& picture) {
  const TensorAxes& axes = picture.axes;
  json record = {{"axes",
                  {{"time", axes.rows_are_time},
                   {"sequence", axes.sequence},
                   {"head", axes.head},
                   {"row", axes.row},
                   {"column", axes.column},
                   {"chunk", axes.chunk}}},
                 {"length", picture.length}};

  const auto used = [&](std::size_t level) {
    return picture.path[level] > 0 || (picture.emulation && (*picture.emulation)[level] > 0);
  };
  std::size_t begin = 0, end = error_levels;
  while (begin < end && !used(begin)) ++begin;
  while (end > begin && !used(end - 1)) --end;
  const auto part = [&](const ErrorPicture::Histogram& histogram) {
    return std::vector<Index>(histogram.begin() + static_cast<std::ptrdiff_t>(begin),
                              histogram.begin() + static_cast<std::ptrdiff_t>(end));
  };
  record["histogram"] = {{"first", begin < end ? begin : 0}, {"path", part(picture.path)}};
  if (picture.emulation) record["histogram"]["emulation"] = part(*picture.emulation);

  if (picture.along) {
    const auto numbers = [](const std::vector<double>& values) {
      json list = json::array();
      for (const double value : values) list.push_back(drawn_number(value));
      return list;
    };
    record["along"] = {{"rows", picture.along->rows},
                       {"maximum", numbers(picture.along->maximum)},
                       {"rms", numbers(picture.along->rms)}};
    if (picture.emulation) record["along"]["emulation_rms"] = numbers(picture.along->emulation_rms);
  }
  if (picture.map) {
    json lines = json::array();
    for (const PairAt& pair : picture.map->lines) lines.push_back({pair.sequence, pair.head});
    record["map"] = {{"rows", picture.map->rows},
                     {"pairs", picture.map->pairs},
                     {"lines", std::move(lines)},
                     {"cells", picture.map->cells}};
  }
  return record;
}

}  // namespace groundstate::harness
