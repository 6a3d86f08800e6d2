// Where the bad elements of a tensor lie: first or worst of them, and what they share (one head,
// one residue modulo the chunk, the ragged tail, a boundary of the sequence, rows that nobody
// wrote).
//
// Counts only: one histogram per coordinate and the worst ten elements, never a list of all, so
// that a wholly wrong tensor costs no more than a single wrong element. Coordinates are those of
// the equation: sequence, head, row (time, or key of a state) and column (value); time counts from
// the start of its own sequence.
#pragma once

#include <array>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "reference/core/axis.hpp"

namespace groundstate::harness {

// What the coordinates of a tensor mean; the letters are those of axis.hpp, none for an axis that
// the tensor lacks.
struct TensorAxes {
  bool rows_are_time = true;
  std::string sequence = "b", head = "h", row = "t", column = "v";
  Index chunk = 0;  // of the path; 0 or 1: none
  // Rows of a state of every chunk: so many of one chunk after those of another, and the letter of
  // the chunk's number.
  Index chunk_rows = 0;
  std::string chunk_number;
};

struct PairAt {
  Index sequence = 0, head = 0;
};

struct BadElement {
  PairAt pair;
  Index row = 0, column = 0;
  double got = 0, expected = 0;  // expected: the oracle rounded to the output's type
  double error = 0;              // scaled
};

struct Where {
  TensorAxes axes;
  Index elements = 0, bad = 0;
  std::optional<BadElement> first;  // in the order sequence, row, head, column
  std::vector<BadElement> worst;    // at most ten, the worst first

  // A coordinate's affected values, ascending, and how many there were to affect.
  struct Affected {
    std::vector<Index> values;
    Index all = 0;
    bool is_range() const;  // values are contiguous
  };
  Affected sequences, heads, rows, columns;  // rows: chunks, where axes.chunk_rows says so

  std::optional<Index> residue;  // all bad rows are this modulo axes.chunk
  bool ragged_tail = false;      // all lie in the last, partial chunk of their sequence
  bool first_token = false, last_token = false;  // all lie at that end of their sequence
  Index unwritten_rows = 0;                      // rows that are NaN throughout

  // The first, or the worst where the first is not known; may be null.
  const BadElement* shown() const;
  // "first at b=0 t=511 h=3 v=17: got 0x1.8p+0 (1.5), expected -0x1.8p+0 (-1.5);
  //  1 of 65536 elements; only head 3; all at t = 63 mod 64"
  std::string sentence() const;
};
nlohmann::json to_record(const Where& where);

std::string pair_text(const TensorAxes& axes, const PairAt& pair);
std::string coordinate_text(const TensorAxes& axes, const BadElement& element);

// The ten worst elements of a stream.
class WorstElements {
 public:
  static constexpr std::size_t capacity = 10;
  // Cheap for the many that are not among the worst; the earlier of equals stays.
  void add(const BadElement& element) {
    if (elements_.size() == capacity && !(element.error > elements_.back().error)) return;
    insert(element);
  }
  const std::vector<BadElement>& elements() const { return elements_; }

 private:
  void insert(const BadElement& element);
  std::vector<BadElement> elements_;
};

class WhereHistogram {
 public:
  explicit WhereHistogram(TensorAxes axes) : axes_(std::move(axes)) {}

  // A pair that was judged: its elements are the ones that can be bad.
  void add_pair(PairAt pair, Index rows, Index columns);
  // Element of a judged pair with `rows` rows.
  void add_bad(PairAt pair, Index rows, Index row, Index column);
  void add_unwritten_row() { ++unwritten_rows_; }

  Where finish(std::optional<BadElement> first, std::vector<BadElement> worst) const;

 private:
  using Counts = std::vector<Index>;
  TensorAxes axes_;
  Index elements_ = 0, bad_ = 0, tail_ = 0, first_token_ = 0, last_token_ = 0, unwritten_rows_ = 0;
  Counts all_sequences_, all_heads_;
  Counts sequences_, heads_, rows_, columns_;
  Index all_columns_ = 0, affected_length_ = 0;  // affected_length_: rows of the longest bad pair
};

}  // namespace groundstate::harness
