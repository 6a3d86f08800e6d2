#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "harness/report/documents.hpp"
#include "harness/report/speed.hpp"
#include "harness/report/versus.hpp"

namespace groundstate::harness {
namespace {

std::string text_field(std::string_view text) {
  const bool computed = !text.empty() && std::string_view("=+-@\t").find(text[0]) != text.npos;
  std::string field(computed ? "'" : "");
  field += text;
  if (field.find_first_of(",\"\n\r") == field.npos) return field;
  std::string quoted = "\"";
  for (const char c : field) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + '"';
}

// Shortest decimal that reads back as the number; nan, inf, -inf.
std::string number_field(double x) { return fmt::format("{}", x); }

class Line {
 public:
  Line& text(std::string_view value) { return raw(text_field(value)); }
  Line& number(double value) { return raw(number_field(value)); }
  Line& count(Index value) { return raw(fmt::format("{}", value)); }
  Line& nothing(int fields) {
    while (fields-- > 0) raw("");
    return *this;
  }
  std::string end() const { return line_ + "\r\n"; }

 private:
  Line& raw(std::string_view field) {
    if (!first_) line_ += ',';
    first_ = false;
    line_ += field;
    return *this;
  }
  bool first_ = true;
  std::string line_;
};

constexpr int tensor_fields = 14;

void add_tensor(Line& line, const TensorVerdict& tensor) {
  line.text(tensor.tensor).text(name_of(tensor.status)).count(tensor.elements);
  line.number(tensor.errors.median).number(tensor.errors.p999).number(tensor.errors.maximum);
  if (const Clause* const clause = tensor.worst())
    line.text(clause->name)
        .number(clause->value)
        .number(clause->limit)
        .number(clause->ratio())
        .number(clause->raised);
  else
    line.nothing(5);
  line.number(tensor.power.carry).number(tensor.power.gate).text(tensor.finding);
}

// The finding is the tolerance that an honest pair needs.
void add_compared(Line& line, const VersusTensor& tensor) {
  const MeasuredAgreement& a = tensor.agreement;
  const Clause& clause = *std::ranges::max_element(a.clauses, {}, &Clause::ratio);
  line.text(tensor.tensor).text(name_of(tensor.status)).count(a.elements);
  line.number(a.difference.median).number(a.difference.p999).number(a.difference.maximum);
  if (clause.applicable)
    line.text(clause.name).number(clause.value).number(clause.limit).number(clause.ratio());
  else
    line.nothing(4);
  line.nothing(3).text(recommended(tensor));
}

Line begin(std::string_view kind, const RecordOrigin& own) {
  Line line;
  line.text(kind).text(own.source).text(own.operator_name).text(own.id).text(own.case_text);
  return line;
}

}  // namespace

std::string csv(const Records& records) {
  std::string text =
      "kind,source,operator,id,case,path,recipe,form,device,status,seconds,tensor,tensor_status,"
      "elements,median,p999,maximum,clause,value,limit,ratio,raised,power_state,power_gate,finding,"
      "note,reproducer\r\n";
  for (const ReportedResult& own : records.results) {
    const Result& result = own.result;
    const auto add = [&](const TensorVerdict* tensor) {
      Line line = begin("result", own);
      line.text(result.path).text(result.recipe).text(result.form).text(result.device);
      line.text(name_of(result.status)).number(result.seconds);
      if (tensor != nullptr)
        add_tensor(line, *tensor);
      else
        line.nothing(tensor_fields);
      text += line.text(result.note).text(result.reproducer).end();
    };
    for (const TensorVerdict& tensor : result.verdict.tensors) add(&tensor);
    if (result.verdict.tensors.empty()) add(nullptr);
  }
  const auto other = [&](std::string_view kind, const RecordOrigin& own, std::string_view name,
                         bool failed, std::string_view finding, std::string_view note) {
    text += begin(kind, own)
                .text(name)
                .nothing(3)
                .text(failed ? "FAILED" : "PASSED")
                .nothing(tensor_fields)
                .text(finding)
                .text(note)
                .nothing(1)
                .end();
  };
  for (const ReportedContract& own : records.contracts)
    other("contract", own, own.equality.name, own.equality.violation.has_value(),
          own.equality.violation.value_or(""), own.equality.reason);
  for (const ReportedProblem& own : records.problems)
    other("raised limit", own, "", true, own.text, "");
  for (const ReportedComparison& own : records.comparisons) {
    const VersusReport& report = own.report;
    const auto add = [&](const VersusTensor* tensor) {
      Line line = begin("comparison", own);
      line.text(own.paths());
      line.text(fmt::format("{} against {}", report.recipes[0], report.recipes[1]));
      line.text(fmt::format("{} against {}", report.forms[0], report.forms[1]));
      line.nothing(1).text(name_of(report.status)).nothing(1);
      if (tensor != nullptr)
        add_compared(line, *tensor);
      else
        line.nothing(tensor_fields);
      text += line.text(report.note).text(report.reproducer).end();
    };
    for (const VersusTensor& tensor : report.tensors) add(&tensor);
    if (report.tensors.empty()) add(nullptr);
  }
  for (const ReportedMutant& own : records.mutants)
    text += Line()
                .text("mutant")
                .text(own.source)
                .text(own.operator_name)
                .nothing(1)
                .text(own.case_text)
                .text(own.name)
                .nothing(1)
                .text(own.declares)
                .nothing(1)
                .text(own.status)
                .nothing(7)
                .text(own.check)
                .nothing(6)
                .text(own.message)
                .text(own.needs.empty() ? own.defect : own.defect + ": " + own.needs)
                .nothing(1)
                .end();
  for (const ReportedTiming& own : records.timings) {
    const BenchRow& row = own.row;
    Line line = begin("timing", own);
    line.text(path_and_library(row)).nothing(2).text(row.device).text(name_of(row.status));
    if (row.timing)
      line.number(row.timing->seconds.median);
    else
      line.nothing(1);
    text +=
        line.nothing(tensor_fields - 1).text(share(row)).text(row.note).text(row.reproducer).end();
  }
  return text;
}

}  // namespace groundstate::harness
