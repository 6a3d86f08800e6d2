// The record of the calibration: what the measured cases say, summed up, a line of JSON each.
//
//   study    where and how much: device, date, seeds, cases, tensors
//   honest   errors of one output tensor of one recipe, operator and regime ("" : all of them)
//   size     the same by the shape of the case instead of the regime, all outputs together
//   fault    one known-wrong implementation on one operator and regime: who sees it
//   power    what the cases of one operator, regime and shape can tell at all
//   state    how often a state kept in bf16 is seen, by the power of the case
//
// harness/judge/README.md and the report are made of it; data/calibration/ has those of this tree.
#pragma once

#include <array>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "harness/calibrate/measure.hpp"

namespace groundstate::harness {

struct StudyFacts {
  std::string device, date, command;
  int seeds = 0;
  Index cases = 0, implementations = 0, tensors = 0, elements = 0;  // honest ones
  Index quick_tensors = 0;                                          // of the quick preset
  Index long_tensors = 0;                                           // of cases with T >= 2048
  Index failed = 0, marginal = 0;                                   // tensors
  Index emulated = 0;  // that clauses B or E were applied to
};
inline constexpr Index long_case = 2048;  // tokens

// Of some numbers: the 5 % point, the median and the largest.
struct Spread {
  double low = 0, median = 0, largest = 0;
};

struct RuleTally {
  Index asked = 0, found = 0;
};
using RuleTallies = std::array<RuleTally, rules.size()>;

struct HonestGroup {
  std::string operator_name, recipe, tensor, regime;
  Index tensors = 0;  // of them, those of 64 elements and more have medians and 99.9 % points
  Index statistics = 0;
  Spread median, p999, maximum;
  std::array<double, study_clauses.size()> ratios{};  // the largest value / limit of each clause
  Index failed = 0, marginal = 0;
  RuleTallies rejected;  // false alarms of the rules of others
  std::string worst;     // case, path of the largest share of a limit of clause A
};
// Median and 99.9 % point of a few elements are no statistics: the rule of counting lets any pass.
inline constexpr Index least_elements = 64;

struct SizeGroup {
  std::string operator_name, recipe, shape;
  Index tensors = 0;
  double largest = 0;  // value / limit of clause A
};

struct FaultGroup {
  std::string fault, operator_name, recipe, regime;
  Index cases = 0, active = 0;  // runs; those in which at least one output bit differs
  // Of the active ones, by any output: FAILED; by clause A or the pattern; by each clause.
  Index failed = 0, by_a = 0;
  std::array<Index, study_clauses.size()> by_clause{};
  Spread margin;         // largest value / limit of clause A; low is the least
  RuleTallies rejected;  // by the rules of others
};

struct PowerGroup {
  std::string operator_name, regime, shape;
  Index cases = 0;
  Spread carry, gate;  // of the tensor that shows most; low is the least
};

// Power of the case in [from, to).
struct StateGroup {
  std::string fault, recipe;
  double from = 0, to = 0;
  Index cases = 0, by_a = 0, failed = 0;
};

struct CalibrationRecord {
  StudyFacts study;
  std::vector<HonestGroup> honest;
  std::vector<SizeGroup> sizes;
  std::vector<FaultGroup> faults;
  std::vector<PowerGroup> powers;
  std::vector<StateGroup> states;
};

// `facts` with device, date, command and seeds.
CalibrationRecord sum_up(const std::vector<MeasuredCase>& cases, StudyFacts facts);

std::vector<nlohmann::json> to_records(const CalibrationRecord& record);
// Adds one line, of a study a new record. Throws nlohmann::json::exception where it is none of
// these.
void add_line(const nlohmann::json& line, std::vector<CalibrationRecord>& records);
// Of several files, in their order. Throws UsageError naming file and line.
std::vector<CalibrationRecord> read_calibrations(const std::vector<std::string>& files);

}  // namespace groundstate::harness
