#include "harness/report/table.hpp"

#include <fmt/color.h>
#include <fmt/format.h>

#include <algorithm>

namespace groundstate::harness {

std::string painted(std::string_view text, Status status, const TableStyle& style) {
  if (!style.colour) return std::string(text);
  const auto colour = status == Status::passed ? fmt::terminal_color::green
                      : status == Status::failed || status == Status::mistrusted
                          ? fmt::terminal_color::red
                          : fmt::terminal_color::yellow;
  return fmt::format(fmt::fg(colour), "{}", text);
}

namespace {

std::string padded(Status status, const TableStyle& style) {
  return painted(fmt::format("{:<11}", name_of(status)), status, style);
}

std::string worst_clause(const Result& result) {
  const TensorVerdict* const tensor = result.verdict.worst();
  const Clause* const clause = tensor ? tensor->worst() : nullptr;
  if (clause == nullptr) return "-";
  return fmt::format("{} {:.3g} / {:.3g} ({})", clause->name, clause->value, clause->limit,
                     tensor->tensor);
}

std::string findings(const Result& result) {
  std::string text;
  for (const TensorVerdict& tensor : result.verdict.tensors)
    if (!tensor.finding.empty())
      text += fmt::format("      {}: {}\n", tensor.tensor, tensor.finding);
  return text;
}

bool bad(const Result& r) {
  return r.status != Status::passed && r.status != Status::unsupported &&
         r.status != Status::unavailable;
}

std::string result_line(const Result& r, const TableStyle& style) {
  std::string line =
      fmt::format("  {} {:<38} {:<15} {:<34} {:>8.3f} s{}\n", padded(r.status, style), r.path,
                  r.recipe, worst_clause(r), r.seconds, r.note.empty() ? "" : "  " + r.note);
  line += render_certificate(r);
  if (r.stages) line += fmt::format("      {}\n", r.stages->sentence());
  if (bad(r)) line += findings(r) + fmt::format("      {}\n", r.reproducer);
  return line;
}

std::string power_text(const CaseReport& report) {
  for (const Result& r : report.results)
    for (const TensorVerdict& tensor : r.verdict.tensors)
      if (tensor.tensor != "o" && tensor.sampled_pairs > 0)
        return fmt::format("power {}: state {:.2g}, gate {:.2g}", tensor.tensor, tensor.power.carry,
                           tensor.power.gate);
  return "";
}

std::string broken(const CaseReport& report, const TableStyle& style) {
  std::string text;
  for (const EqualityResult& e : report.equalities)
    if (e.broken())
      text += fmt::format("  {} {} must agree bit for bit ({}): {}\n",
                          padded(Status::failed, style), e.name, e.reason, *e.violation);
  for (const std::string& problem : report.raised_limit_problems)
    text += fmt::format("  {} {}\n", padded(Status::failed, style), problem);
  return text;
}

}  // namespace

std::string render(const CaseReport& report, const TableStyle& style) {
  const auto contracts = std::count_if(report.equalities.begin(), report.equalities.end(),
                                       [](const EqualityResult& e) { return e.declared; });
  const auto broken_count = std::count_if(report.equalities.begin(), report.equalities.end(),
                                          [](const EqualityResult& e) { return e.broken(); });
  if (style.compact) {
    Status worst = Status::passed;
    const Result* widest = nullptr;
    double ratio = -1;
    for (const Result& r : report.results) {
      if (bad(r) && (worst == Status::passed || r.status == Status::failed)) worst = r.status;
      const TensorVerdict* const tensor = r.verdict.worst();
      const Clause* const clause = tensor ? tensor->worst() : nullptr;
      if (clause != nullptr && clause->ratio() > ratio) {
        ratio = clause->ratio();
        widest = &r;
      }
    }
    if (broken_count > 0 || !report.raised_limit_problems.empty()) worst = Status::failed;
    std::string text =
        fmt::format("{} {:>3} paths {:>4} contracts  worst {:>5.2f} {:<26} groundstate run '{}'\n",
                    padded(worst, style), report.judged(), contracts, std::max(ratio, 0.0),
                    widest ? widest->path : "-", report.case_text);
    for (const Result& r : report.results)
      if (bad(r)) text += result_line(r, style);
    return text + broken(report, style);
  }
  std::string text = fmt::format("{}  [{}]{}\n", report.case_text, report.id,
                                 report.reason.empty() ? "" : "\n  # " + report.reason);
  for (const Result& r : report.results) text += result_line(r, style);
  std::vector<std::string> facts;
  if (report.sampled < report.pairs)
    facts.push_back(fmt::format("{} of {} (sequence, head) pairs judged with sensitivities",
                                report.sampled, report.pairs));
  if (report.mistrusted)
    facts.emplace_back(
        "MISTRUSTED: less than 10 % of every output is non-zero, so the case proves nothing");
  if (contracts > 0)
    facts.push_back(fmt::format("{} bitwise contracts, {} broken", contracts, broken_count));
  if (const std::string power = power_text(report); !power.empty()) facts.push_back(power);
  if (!facts.empty()) text += fmt::format("  {}\n", fmt::join(facts, "; "));
  text += broken(report, style);
  return text + fmt::format("  reproduce: groundstate run '{}'\n", report.case_text);
}

std::string render_certificate(const Result& result) {
  std::string text;
  for (const OracleCertificate& own : result.certificate)
    text += fmt::format(
        "      certificate {:<5} the oracle is off by at most {:.2g} units of {}; of exact: median "
        "{:.2g}, 99.9 % {:.2g}, max {:.2g}{}\n",
        own.tensor, own.largest, result.recipe, own.exact.median, own.exact.p999, own.exact.maximum,
        own.good ? "" : "  NOT GOOD");
  if (result.gradients)
    text += fmt::format(
        "      certificate gradients: <J dx, dy> = <dx, J^T dy> within {:.2g} of the bound, {} "
        "pairs{}\n",
        result.gradients->worst, result.gradients->pairs,
        result.gradients->worst <= 1 ? "" : "  NOT GOOD");
  return text;
}

std::string render_clauses(const Result& result, const TableStyle& style) {
  std::string text = fmt::format(
      "{} {}  recipe {}{}{}\n", padded(result.status, style), result.path, result.recipe,
      result.form.empty() ? ", no form declared" : ", form " + result.form,
      result.note.empty() ? "" : "  (" + result.note + ")");
  const auto add = [&](const TensorVerdict& tensor, std::string_view group) {
    text +=
        fmt::format("  {} {}{:<5} {} elements, median {:.3g}, 99.9 % {:.3g}, max {:.3g} units{}\n",
                    padded(tensor.status, style), group, tensor.tensor, tensor.elements,
                    tensor.errors.median, tensor.errors.p999, tensor.errors.maximum,
                    tensor.emulation ? fmt::format(" (emulation {:.3g} / {:.3g} / {:.3g})",
                                                   tensor.emulation->median, tensor.emulation->p999,
                                                   tensor.emulation->maximum)
                                     : "");
    for (const Clause& clause : tensor.clauses) {
      if (!clause.applicable) continue;
      text +=
          fmt::format("      {:<12} {:>10.4g} / {:<10.4g} {}{}\n", clause.name, clause.value,
                      clause.limit, clause.passed ? "" : painted("FAILED ", Status::failed, style),
                      clause.passed ? "" : clause.detail);
    }
    if (!tensor.finding.empty())
      text += fmt::format("      {}\n", painted(tensor.finding, tensor.status, style));
  };
  for (const TensorVerdict& tensor : result.verdict.tensors) add(tensor, "");
  if (result.stages) {
    for (const TensorVerdict& tensor : result.stages->verdict.tensors) add(tensor, "stages/");
    text += fmt::format("  {}\n",
                        painted(result.stages->sentence(), result.stages->verdict.status, style));
  }
  text += render_certificate(result);
  return text + fmt::format("  reproduce: {}\n", result.reproducer);
}

void Tally::add(Status status) {
  switch (status) {
    case Status::passed:
      ++passed;
      break;
    case Status::marginal:
      ++marginal;
      break;
    case Status::failed:
      ++failed;
      break;
    case Status::mistrusted:
      ++mistrusted;
      break;
    case Status::unsupported:
      ++unsupported;
      break;
    case Status::unavailable:
      ++unavailable;
      break;
  }
}

void Tally::add(const CaseReport& report) {
  ++cases;
  for (const Result& r : report.results) add(r.status);
  equalities += std::count_if(report.equalities.begin(), report.equalities.end(),
                              [](const EqualityResult& e) { return e.declared; });
  broken_equalities += std::count_if(report.equalities.begin(), report.equalities.end(),
                                     [](const EqualityResult& e) { return e.broken(); });
  raised_limit_problems += static_cast<Index>(report.raised_limit_problems.size());
}

void Tally::add(const Tally& other) {
  for (const auto count :
       {&Tally::cases, &Tally::passed, &Tally::marginal, &Tally::failed, &Tally::mistrusted,
        &Tally::unsupported, &Tally::unavailable, &Tally::equalities, &Tally::broken_equalities,
        &Tally::raised_limit_problems})
    this->*count += other.*count;
}

std::string render(const Tally& t, const TableStyle& style) {
  std::string text = fmt::format("{} cases: {} passed", t.cases, t.passed);
  const auto add = [&](Index count, std::string_view what, Status status) {
    if (count > 0) text += ", " + painted(fmt::format("{} {}", count, what), status, style);
  };
  add(t.marginal, "marginal", Status::marginal);
  add(t.failed, "failed", Status::failed);
  add(t.mistrusted, "mistrusted", Status::mistrusted);
  add(t.unsupported, "unsupported", Status::unsupported);
  add(t.unavailable, "unavailable", Status::unavailable);
  if (t.equalities > 0) text += fmt::format("; {} bitwise contracts", t.equalities);
  add(t.broken_equalities, "broken", Status::failed);
  add(t.raised_limit_problems, "raised limits expired or not needed", Status::failed);
  return text + "\n";
}

}  // namespace groundstate::harness
