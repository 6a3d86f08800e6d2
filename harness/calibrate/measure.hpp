// One case of the study: its implementations are run, their outputs judged by our judge and asked
// about by the rules of others. A line of the record of a run, and back.
#pragma once

#include <array>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "harness/calibrate/rules.hpp"
#include "harness/calibrate/study.hpp"
#include "harness/judge/error_list.hpp"
#include "harness/judge/power.hpp"
#include "harness/judge/status.hpp"

namespace groundstate::harness {

// Clauses as the study counts them: B, D and E are the worst of theirs.
inline constexpr std::array<std::string_view, 8> study_clauses = {
    "pattern", "A.median", "A.99.9%", "A.max", "B", "C.grid", "D", "E"};

struct MeasuredTensor {
  std::string tensor;
  Index elements = 0;
  Triple errors;
  Status status = Status::passed;
  std::array<std::optional<double>, study_clauses.size()> ratios;  // value / limit
  std::array<std::optional<bool>, rules.size()> accepted;          // by the rules of others
  Power power;
};

struct MeasuredImplementation {
  std::string fault, runs, declares, recipe;
  // Of a wrong one: at least one output differs from that of the honest path that it declares, by
  // a byte. Where none does the input cannot show the fault to anybody.
  bool active = true;
  std::vector<MeasuredTensor> tensors;

  bool honest() const { return fault.empty(); }
};

struct MeasuredCase {
  std::string text, operator_name, regime, shape;
  Index seed = 0, longest = 0;  // tokens of the longest sequence
  std::vector<MeasuredImplementation> implementations;
};

// Implementations that cannot take the case are left out. Throws as run_case does.
MeasuredCase measure(const StudyCase& own);

nlohmann::json to_record(const MeasuredCase& own);
// Throws nlohmann::json::exception where the record is none.
MeasuredCase measured_case(const nlohmann::json& record);

}  // namespace groundstate::harness
