#include "harness/report/versus.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "harness/judge/counting.hpp"
#include "harness/report/records.hpp"

namespace groundstate::harness {
namespace {

// "2^-8"
std::string power_of_two(double x) {
  return x == 0 ? "0" : fmt::format("2^{}", std::lround(std::log2(x)));
}

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
      "      {}: ",
      named ? fmt::format("{}(rtol={:g}, atol={:g})", own.name, own.rtol, own.atol) : own.name);
  text += own.exceeded == 0
              ? "passes"
              : fmt::format("fails, {} of {} elements are beyond it", own.exceeded, elements);
  if (own.narrowest < 1)
    text += fmt::format("; allows as little as {} of what an honest pair may need",
                        short_number(own.narrowest));
  return text + fmt::format("; for the median element {} times that\n", short_number(own.median));
}

// "2^-8 + 5 x 2^-24": storing, and so many units of the arithmetic.
std::string relative_part(const VersusTensor& own, std::size_t side, Index elements) {
  const Promise& promise = own.promises[side];
  const double stored = unit_roundoff(promise.type), arithmetic = promise.arithmetic;
  return fmt::format("{}{:.3g} x {}",
                     stored > arithmetic ? power_of_two(stored) + " + " : std::string(),
                     promise.limits.maximum * maximum_growth(elements),
                     power_of_two(std::min(stored, arithmetic)));
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
  text += fmt::format("      apart: median {}, 99.9 % {}, max {} units; at most {}{}\n",
                      short_number(a.difference.median), short_number(a.difference.p999),
                      short_number(a.difference.maximum), short_number(a.largest),
                      own.worst.empty() ? "" : "; farthest at " + own.worst);
  for (const Clause& clause : a.clauses) text += clause_text(clause, style);
  const Index differing = a.left.nearer + a.right.nearer;
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
  if (differing > 0) {
    const bool left = a.left.nearer >= a.right.nearer;
    const Index nearer = left ? a.left.nearer : a.right.nearer;
    text += fmt::format(
        "      nearer to the oracle: {}, in {:.3g} % of the {} elements where one is\n",
        report.names[left ? 0 : 1],
        100.0 * static_cast<double>(nearer) / static_cast<double>(differing), differing);
  }
  if (a.measured == 0) return text;
  text += fmt::format(
      "      recommended: rtol={} atol={}; for the median element {} times what an "
      "honest pair may need\n",
      rounded_up(a.rtol), rounded_up(a.atol), short_number(a.slack));
  text += fmt::format("        rtol = {} + {}", relative_part(own, 0, a.measured),
                      relative_part(own, 1, a.measured));
  if (!own.decisive.empty()) text += fmt::format("; atol is that of {}", own.decisive);
  text += "\n";
  for (const UsualTolerance& usual : a.usual) text += usual_text(usual, a.measured);
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

std::string render(const VersusReport& report, const TableStyle& style) {
  const auto side = [&](std::size_t s) {
    return fmt::format("{} (recipe {}{})", report.names[s], report.recipes[s],
                       report.forms[s].empty() ? ", no form declared" : "");
  };
  if (report.names[0].empty())  // not run
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
