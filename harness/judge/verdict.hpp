// The verdict on one output tensor of one path, collected pair by pair, and on the path.
//
// The caller runs the double oracle, its perturbed runs and (where the path has one) the same-path
// emulation, all as matrices [rows x columns] per independent pair (sequence, value head): rows are
// time, or the key of a state; columns the value. TensorJudge keeps one float per judged element
// for the path and one for the emulation.
//
//   sampled pair    (with fields)     pattern, A, B, C, D, E in scaled errors
//   unsampled pair  (without fields)  pattern, C, E in absolute errors against the emulation
//   its moments     (window_moments)  pattern, E: the least RMS error that they allow
//
// `pattern` counts elements whose kind is wrong: NaN or infinity where the oracle has none (or the
// reverse, or another sign), and non-zeros where the case makes zeros by definition; none is
// allowed. Without fields there is no unit, so an infinity is wrong for |r| below half the overflow
// threshold of the output's type, and a finite value for |r| above twice that threshold; between
// them it is left out.
//
// Verdict = AND of the clauses. MARGINAL: only B or E fail, and the path did not declare its form,
// so that the emulation may be of another path. A tensor without elements passes. Throws
// std::logic_error for matrices of differing shapes, or when only some sampled pairs bring an
// emulation. Add pairs in one fixed order: the verdict is then the same in every bit.
#pragma once

#include <array>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "harness/judge/clauses.hpp"
#include "harness/judge/error_picture.hpp"
#include "harness/judge/limits.hpp"
#include "harness/judge/locality.hpp"
#include "harness/judge/power.hpp"
#include "harness/judge/scaled_error.hpp"
#include "harness/judge/status.hpp"
#include "harness/judge/where.hpp"
#include "harness/judge/window_moments.hpp"

namespace groundstate::harness {

// One output tensor of a case.
struct TensorInfo {
  std::string name;
  ElementType type = ElementType::float32;  // as declared
  Family family = Family::diagonal;
  TensorAxes axes;
  bool on_grid_by_nature = false;  // integer or one-hot inputs, T <= 1: no grid test
  bool rounded_once = true;        // not a state that is stored after each of several tokens
  // How many elements share one error (limits.hpp).
  double elements_per_error = harness::elements_per_error(family);
};

// What a path says about itself.
struct PathDeclaration {
  RecipeUnits recipe;
  bool form_declared =
      false;  // rounding points and chunk length: its emulation is of the same path
  // The emulation is, in each element, the worse of several that the declared form may mean: how it
  // grows along time is that of none of them.
  bool several_forms = false;
};

// The rows and columns of an output that matrices have, where that is not all of them. Coordinates
// are the output's.
struct Subset {
  std::vector<Index> rows, columns;  // ascending
  Index length = 0;                  // rows of the output
};

struct PairData {
  PairAt pair;
  const Matrix<double>& got;  // the output, widened
  const Matrix<double>& oracle;
  const ScaleFields* fields = nullptr;        // absent: the pair is not sampled
  const Matrix<double>* form = nullptr;       // the form term
  const Matrix<bool>* zero = nullptr;         // elements that are zero by definition
  const Matrix<double>* emulation = nullptr;  // the same path, emulated
  const Subset* subset = nullptr;  // absent: all of the output; without an emulation else
};

// A pair whose output is known by the moments of its windows only.
struct PairMoments {
  PairAt pair;
  const std::vector<WindowMoments>& got;
  const Matrix<double>& oracle;
  const Matrix<bool>* zero = nullptr;
  const Matrix<double>* emulation = nullptr;
};

struct TensorVerdict {
  std::string tensor;
  Status status = Status::passed;
  std::vector<Clause> clauses;
  Triple errors;                    // exact, of all judged elements
  std::optional<Triple> emulation;  // likewise
  Power power;
  Index elements = 0, sampled_pairs = 0, pairs = 0;
  Where where;          // meaningful where status is not passed
  std::string finding;  // one sentence, empty where passed
  ErrorPicture picture;

  const Clause* worst() const;  // of the applicable ones by value / limit, those that failed first
};

class TensorJudge {
 public:
  TensorJudge(TensorInfo info, PathDeclaration declaration);
  void reserve(Index elements);
  void add(const PairData& data);
  void add_moments(const PairMoments& data);
  TensorVerdict finish() const;

 private:
  struct First {
    double above;
    std::optional<BadElement> element;
    void consider(const BadElement& candidate);
  };

  bool is_coarse_by_nature(const PairData& data, Index i, Index j) const;
  void add_sampled(const PairData& data);
  void add_unsampled(const PairData& data);
  void note(const BadElement& element);
  void add_clauses(TensorVerdict& verdict) const;
  Where locate(double threshold) const;

  TensorInfo info_;
  PathDeclaration declaration_;
  Triple limits_;
  std::vector<PicturedPair> pairs_;
  std::vector<std::optional<Subset>> subsets_;  // of each pair
  ErrorList errors_, emulation_errors_;
  Index sampled_ = 0, emulated_ = 0, wrong_pattern_ = 0;
  Index failed_emulations_ = 0;  // elements that only the emulation makes NaN or infinite
  GridTest grid_;
  BiasTest bias_;
  Locality locality_;
  PowerMeter power_;
  WhereHistogram where_;  // pairs, unwritten rows, and the bad elements of unsampled pairs
  WorstElements worst_;
  std::array<First, 3> first_;  // above A's limits of maximum, 99.9 % and median
};

// The verdict on one (case, path): the worst of its tensors.
struct PathVerdict {
  Status status = Status::passed;
  std::vector<TensorVerdict> tensors;
  const TensorVerdict* worst() const;  // by status, then by its worst clause; null without tensors
};
PathVerdict combine(std::vector<TensorVerdict> tensors);

// The entry of the result record: {status, clauses: {name: {value, limit, passed}}, first_bad,
// ...}.
nlohmann::json to_record(const TensorVerdict& verdict);
nlohmann::json to_record(const PathVerdict& verdict);

}  // namespace groundstate::harness
