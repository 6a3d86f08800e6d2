#include "harness/report/versus.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "harness/report/records.hpp"

namespace groundstate::harness {
namespace {

// To two digits, upwards: a tolerance that is rounded down would be one that honest pairs fail.
std::string rounded_up(double x) {
  if (!(x > 0) || !std::isfinite(x)) return short_number(x);
  const double last = std::pow(10.0, std::floor(std::log10(x)) - 1);
  return fmt::format("{:.2g}", std::ceil(x / last * (1 - 1e-12)) * last);
}

std::string clause_text(const Clause& clause, const TableStyle& style) {
  return clause.applicable
             ? fmt::format("      {:<12} {:>10.4g} / {:<10.4g} {}\n", clause.name, clause.value,
                           clause.limit,
                           clause.passed ? "" : painted("FAILED", Status::failed, style))
             : "";
}

std::string usual_text(const UsualTolerance& own, Index elements) {
  const bool named = own.name.find('=') == std::string::npos;
  std::string text = fmt::format(
      "{}: ",
      named ? fmt::format("{}(rtol={:g}, atol={:g})", own.name, own.rtol, own.atol) : own.name);
  text += own.exceeded == 0
              ? "passes"
              : fmt::format("fails, {} of {} elements are beyond it", own.exceeded, elements);
  if (own.narrowest < 1)
    text += fmt::format("; allows as little as {} of what an honest pair may need",
                        short_number(own.narrowest));
  return text + fmt::format("; for the median element {} times that", short_number(own.median));
}

std::string tensor_text(const VersusReport& report, const VersusTensor& own,
                        const TableStyle& style) {
  const MeasuredAgreement& a = own.agreement;
  std::string text = fmt::format(
      "  {} {:<5} {} elements, {:.3g} % with the same bits{}\n",
      painted(fmt::format("{:<11}", name_of(own.status)), own.status, style), own.tensor,
      a.elements,
      a.elements > 0 ? 100.0 * static_cast<double>(a.same_bits) / static_cast<double>(a.elements)
                     : 100.0,
      own.types[0] == own.types[1] ? ""
                                   : fmt::format(" ({} against {})", own.types[0], own.types[1]));
  if (own.first_difference)
    text += fmt::format("      first difference: {}\n", *own.first_difference);
  text += fmt::format("      apart: {}\n", apart(own));
  for (const Clause& clause : a.clauses) text += clause_text(clause, style);
  for (std::size_t s = 0; s < 2; ++s) {
    const TensorVerdict& verdict = own.verdicts[s];
    text += fmt::format(
        "      {} is off the oracle by: median {}, 99.9 % {}, max {} of its units; ||error|| / "
        "||exact|| = {}{}\n",
        report.names[s], short_number(verdict.errors.median), short_number(verdict.errors.p999),
        short_number(verdict.errors.maximum),
        short_number((s == 0 ? a.left : a.right).relative_norm),
        verdict.status == Status::failed
            ? "; " + painted("FAILED: " + verdict.finding, Status::failed, style)
            : "");
  }
  if (const std::string which = nearer(report, own); !which.empty())
    text += fmt::format("      nearer to the oracle: {}\n", which);
  if (a.measured == 0) return text;
  text += fmt::format(
      "      recommended: {}; for the median element {} times what an honest pair may need\n",
      recommended(own), short_number(a.slack));
  text += fmt::format("        {}\n", reason(own));
  for (const std::string& usual : usual_tolerances(own)) text += fmt::format("      {}\n", usual);
  return text;
}

std::string reason(const VersusReport& report) {
  std::string recipes;
  for (std::size_t s = 0; s < 2; ++s) {
    const RecipeUnits& units = report.units[s];
    if (s == 1 && units.name == report.units[0].name) break;
    recipes += fmt::format("{}{}: operands {}, state {}, gates {}", s == 0 ? "" : "; ", units.name,
                           power_of_two(units.operand), power_of_two(units.carry),
                           power_of_two(units.gate));
  }
  return fmt::format(
      "  why: what an implementation computes may be off by so many units as clause A of its "
      "recipe "
      "says (the factors of rtol);\n  storing it in a coarser type is one rounding more. A unit is "
      "the roundoff of the arithmetic times |exact|, and what the\n  recipe's roundoffs make of "
      "the "
      "sensitivities of this problem.\n  {}.\n  Two honest implementations are no farther apart "
      "than "
      "both together: rtol takes the part that goes with |exact|, atol\n  the largest rest. They "
      "hold "
      "for these inputs, and are to be measured again for others.\n",
      recipes);
}

}  // namespace

std::string apart(const VersusTensor& own) {
  const MeasuredAgreement& a = own.agreement;
  return fmt::format("median {}, 99.9 % {}, max {} units; at most {}{}",
                     short_number(a.difference.median), short_number(a.difference.p999),
                     short_number(a.difference.maximum), short_number(a.largest),
                     own.worst.empty() ? "" : "; farthest at " + own.worst);
}

std::string nearer(const VersusReport& report, const VersusTensor& own) {
  const Index left = own.agreement.left.nearer, right = own.agreement.right.nearer;
  if (left + right == 0) return "";
  return fmt::format(
      "{}, in {:.3g} % of the {} elements where one is", report.names[left >= right ? 0 : 1],
      100.0 * static_cast<double>(std::max(left, right)) / static_cast<double>(left + right),
      left + right);
}

std::string recommended(const VersusTensor& own) {
  if (own.agreement.measured == 0) return "";
  return fmt::format("rtol={} atol={}", rounded_up(own.agreement.rtol),
                     rounded_up(own.agreement.atol));
}

std::string reason(const VersusTensor& own) {
  std::string text = own.relative.empty() ? "" : "rtol = " + own.relative;
  if (!own.decisive.empty()) text += "; atol is that of " + own.decisive;
  return text;
}

std::vector<std::string> usual_tolerances(const VersusTensor& own) {
  std::vector<std::string> result;
  for (const UsualTolerance& usual : own.agreement.usual)
    result.push_back(usual_text(usual, own.agreement.measured));
  return result;
}

std::string render(const VersusReport& report, const TableStyle& style) {
  const auto side = [&](std::size_t s) {
    return fmt::format("{} (recipe {}{})", report.names[s], report.recipes[s],
                       report.forms[s].empty() ? ", no form declared" : "");
  };
  if (!is_judged(report.status))  // not run
    return fmt::format("{}  [{}]\n{} {}\n  reproduce: {}\n", report.case_text, report.id,
                       painted(fmt::format("{:<11}", name_of(report.status)), report.status, style),
                       report.note, report.reproducer);
  std::string text =
      fmt::format("{}  [{}]\n{} {} against {}{}\n", report.case_text, report.id,
                  painted(fmt::format("{:<11}", name_of(report.status)), report.status, style),
                  side(0), side(1), report.note.empty() ? "" : "  " + report.note);
  for (const VersusTensor& tensor : report.tensors) text += tensor_text(report, tensor, style);
  if (report.sampled < report.pairs)
    text += fmt::format(
        "  {} of {} (sequence, head) pairs measured; units and tolerances are of those\n",
        report.sampled, report.pairs);
  if (!report.tensors.empty()) text += reason(report);
  return text + fmt::format("  reproduce: {}\n", report.reproducer);
}

}  // namespace groundstate::harness
