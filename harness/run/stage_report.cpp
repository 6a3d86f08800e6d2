#include "harness/run/stage_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace groundstate::harness {

const TensorVerdict* StageReport::first_diverging() const {
  const auto found =
      std::find_if(verdict.tensors.begin(), verdict.tensors.end(),
                   [](const TensorVerdict& tensor) { return tensor.status != Status::passed; });
  return found == verdict.tensors.end() ? nullptr : &*found;
}

std::string StageReport::sentence() const {
  if (!note.empty()) return "no stages: " + note;
  std::vector<std::string> agreeing;
  for (const TensorVerdict& tensor : verdict.tensors)
    if (tensor.status == Status::passed) agreeing.push_back(tensor.tensor);
  const TensorVerdict* const first = first_diverging();
  std::string text = first != nullptr ? fmt::format("first diverging stage (chunks of {}): {}: {}",
                                                    chunk, first->tensor, first->finding)
                                      : fmt::format("no stage diverges (chunks of {})", chunk);
  if (!agreeing.empty())
    text += fmt::format("; {}: {}", first != nullptr ? "agreeing" : "compared",
                        fmt::join(agreeing, ", "));
  if (!missing.empty()) text += fmt::format("; not given: {}", fmt::join(missing, ", "));
  return text;
}

nlohmann::json to_record(const StageReport& report) {
  nlohmann::json record = {{"sentence", report.sentence()}};
  if (!report.note.empty()) return record;
  record["chunk"] = report.chunk;
  record["status"] = name_of(report.verdict.status);
  record["missing"] = report.missing;
  if (const TensorVerdict* const first = report.first_diverging(); first != nullptr)
    record["first_diverging"] = first->tensor;
  record["stages"] = nlohmann::json::object();
  for (const TensorVerdict& tensor : report.verdict.tensors) {
    nlohmann::json& own = record["stages"][tensor.tensor] = to_record(tensor);
    own.erase("picture");
  }
  return record;
}

}  // namespace groundstate::harness
