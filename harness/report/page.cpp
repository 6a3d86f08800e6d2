#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <kainjow/mustache.hpp>
#include <map>
#include <set>
#include <utility>

#include "harness/calibrate/tables.hpp"
#include "harness/report/determinism.hpp"
#include "harness/report/documents.hpp"
#include "harness/report/gnuplot.hpp"
#include "harness/report/pictures.hpp"
#include "harness/report/templates.hpp"
#include "harness/report/versus.hpp"
#include "harness/run/note.hpp"

namespace groundstate::harness {
namespace {

using kainjow::mustache::data;
using kainjow::mustache::list;
using kainjow::mustache::object;

std::string number(Index x) { return fmt::format("{}", x); }

// A section of the template stands for a text that is there, so an empty one must not be.
void put(object& target, const char* name, const std::string& text) {
  if (!text.empty()) target[name] = text;
}

// Width in per cent of a bar whose limit is in the middle: linear below, logarithmic above.
std::string bar_width(double ratio) {
  const double width =
      !(ratio > 1) ? 50 * std::max(ratio, 0.0) : 50 + 50.0 / 3 * std::log10(std::min(ratio, 1e3));
  return fmt::format("{:.1f}", std::isnan(ratio) ? 100 : width);
}

std::string power_width(double power) {
  return fmt::format("{:.1f}",
                     power > 0 ? std::clamp(50 + 25 * std::log10(power / 3), 0.0, 100.0) : 0.0);
}

std::string decimal(double x) {
  return std::isfinite(x) ? fmt::format("{:.9g}", x) : short_number(x);
}

std::string hexadecimal(double x) { return std::isfinite(x) ? fmt::format("{:a}", x) : ""; }

// ---- results in detail

// Pictures are drawn all at once, after everything else is known.
struct Plots {
  std::vector<std::string> scripts;
  Drawings drawings;
  std::size_t next = 0;

  bool available() const { return drawings.missing.empty(); }
  std::string take() { return drawings.svg[next++]; }
};

bool has_histogram(const ReportedResult& own, std::size_t i) {
  return own.pictured[i] && own.result.verdict.tensors[i].elements > 0;
}
bool has_along(const ReportedResult& own, std::size_t i) {
  return own.pictured[i] && own.result.verdict.tensors[i].picture.along.has_value();
}

void plan(const ReportedResult& own, Plots& plots) {
  const std::vector<TensorVerdict>& tensors = own.result.verdict.tensors;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (has_histogram(own, i)) plots.scripts.push_back(histogram_script(tensors[i]));
    if (has_along(own, i)) plots.scripts.push_back(along_script(tensors[i]));
  }
}

object map_data(const TensorVerdict& tensor) {
  const DrawnMap drawn = draw_map(tensor);
  object map = {{"svg", drawn.svg},
                {"across", drawn.across},
                {"first_line", drawn.first_line},
                {"last_line", drawn.last_line},
                {"row", tensor.picture.axes.row},
                {"first_column", drawn.first_column},
                {"last_column", drawn.last_column}};
  put(map, "down", drawn.down);
  return map;
}

object tensor_data(const ReportedResult& own, std::size_t i, Plots& plots) {
  const TensorVerdict& tensor = own.result.verdict.tensors[i];
  object entry = {{"status", std::string(name_of(tensor.status))}, {"name", tensor.tensor}};
  std::string facts =
      fmt::format("{} elements; median {}, 99.9 % {}, max {} units", tensor.elements,
                  short_number(tensor.errors.median), short_number(tensor.errors.p999),
                  short_number(tensor.errors.maximum));
  if (tensor.emulation)
    facts +=
        fmt::format("; emulation {}, {}, {}", short_number(tensor.emulation->median),
                    short_number(tensor.emulation->p999), short_number(tensor.emulation->maximum));
  if (tensor.sampled_pairs < tensor.pairs)
    facts += fmt::format("; {} of {} pairs with sensitivities", tensor.sampled_pairs, tensor.pairs);
  facts += fmt::format("; power: state {}, gate {}", short_number(tensor.power.carry),
                       short_number(tensor.power.gate));
  entry["facts"] = facts;
  put(entry, "finding", tensor.finding);
  list clauses;
  std::string left_out, remarks;
  for (const Clause& clause : tensor.clauses) {
    if (!clause.applicable) {
      add_remark(left_out, fmt::format("{} ({})", clause.name, clause.detail));
      continue;
    }
    clauses.push_back(object{{"name", clause.name},
                             {"over", clause.passed ? "" : "over"},
                             {"width", bar_width(clause.ratio())},
                             {"value", short_number(clause.value)},
                             {"limit", short_number(clause.limit)}});
    // How many may exceed says nothing about what does.
    const bool counted = clause.name.starts_with("A.") || clause.name.starts_with("B.");
    if (clause.raised != 1 || (!clause.passed && !counted))
      add_remark(remarks, fmt::format("{}: {}", clause.name, clause.detail));
  }
  entry["clauses"] = data(clauses);
  put(entry, "remarks", remarks);
  put(entry, "left_out", left_out);
  const ErrorPicture& picture = tensor.picture;
  if (!own.pictured[i]) entry["no_picture"] = data(true);
  if (own.pictured[i] && picture.map) entry["map"] = data(map_data(tensor));
  if (has_histogram(own, i) && plots.available())
    entry["histogram"] =
        data(object{{"svg", plots.take()}, {"emulated", data(picture.emulation.has_value())}});
  if (has_along(own, i) && plots.available()) {
    object along = {{"svg", plots.take()},
                    {"rows", number(picture.along->rows)},
                    {"emulated", data(!picture.along->emulation_rms.empty())}};
    if (picture.axes.chunk > 1) along["chunk"] = number(picture.axes.chunk);
    entry["along"] = data(along);
  }
  list worst;
  for (std::size_t e = 0; e < tensor.where.worst.size(); ++e) {
    const BadElement& element = tensor.where.worst[e];
    worst.push_back(object{{"at", own.worst_at[i][e]},
                           {"error", short_number(element.error)},
                           {"got", decimal(element.got)},
                           {"expected", decimal(element.expected)},
                           {"got_hex", hexadecimal(element.got)},
                           {"expected_hex", hexadecimal(element.expected)}});
  }
  entry["has_worst"] = data(!worst.empty());
  entry["worst"] = data(worst);
  return entry;
}

object article_data(const ReportedResult& own, Plots& plots) {
  const Result& result = own.result;
  object entry = {{"status", std::string(name_of(result.status))},
                  {"path", result.path},
                  {"recipe", result.recipe},
                  {"case", own.case_text},
                  {"reproducer", result.reproducer}};
  put(entry, "form", result.form);
  put(entry, "reason", own.reason);
  put(entry, "note", result.note);
  put(entry, "stages", own.stages);
  list tensors;
  for (std::size_t i = 0; i < result.verdict.tensors.size(); ++i)
    tensors.push_back(tensor_data(own, i, plots));
  entry["tensors"] = data(tensors);
  return entry;
}

// Which results are shown in detail, in which section.
struct Section {
  std::string title, about;
  std::vector<const ReportedResult*> results;
};

bool is_chosen(const ReportedResult& own, const PageOptions& options) {
  return std::ranges::any_of(options.chosen, [&](const std::string& text) {
    return own.case_text.find(text) != text.npos || own.result.path.find(text) != text.npos;
  });
}

std::vector<Section> sections_of(const Records& records, const PageOptions& options) {
  Section failed{"Failed", "", {}}, marginal{"Marginal", "", {}},
      chosen{"Chosen", "Passed or not judged, and asked for.", {}},
      nearest{"Nearest to a limit", "Of each operator, the passed result with the least room.", {}};
  std::map<std::string, const ReportedResult*> best;
  for (const ReportedResult& own : records.results) {
    const Status status = own.result.status;
    if (is_failure(status))
      failed.results.push_back(&own);
    else if (status == Status::marginal)
      marginal.results.push_back(&own);
    else if (is_chosen(own, options))
      chosen.results.push_back(&own);
    else if (status == Status::passed) {
      const ReportedResult*& last = best[own.operator_name];
      if (last == nullptr || own.ratio() > last->ratio()) last = &own;
    }
  }
  for (const ReportedResult& own : records.results)
    if (const auto found = best.find(own.operator_name);
        found != best.end() && found->second == &own)
      nearest.results.push_back(&own);
  return {failed, marginal, chosen, nearest};
}

// ---- every case

list case_rows(const ReportedCase& own) {
  list rows;
  for (const ReportedResult* const each : own.results)
    rows.push_back(object{
        {"status", std::string(name_of(each->result.status))},
        {"path", each->result.path},
        {"recipe", each->result.recipe},
        {"clause", each->worst_clause()},
        {"ratio",
         is_judged(each->result.status) ? fmt::format("{}", short_number(each->ratio())) : ""},
        {"seconds", fmt::format("{:.3f}", each->result.seconds)},
        {"finding", each->finding()}});
  return rows;
}

list cases_data(const Overview& overview) {
  list cases;
  for (const ReportedCase& own : overview.cases) {
    const ReportedResult* const nearest = own.nearest();
    std::string facts = plural(static_cast<Index>(own.results.size()), "path", "paths");
    if (nearest != nullptr)
      facts += fmt::format(", worst {} of a limit", short_number(nearest->ratio()));
    if (!own.contracts.empty())
      facts += fmt::format(
          ", {}, {} broken",
          plural(static_cast<Index>(own.contracts.size()), "contract", "contracts"), own.broken());
    if (!own.comparisons.empty())
      facts += fmt::format(
          ", {}", plural(static_cast<Index>(own.comparisons.size()), "comparison", "comparisons"));
    cases.push_back(object{{"status", std::string(name_of(own.status()))},
                           {"case", own.text},
                           {"facts", facts},
                           {"open", data(is_failure(own.status()))},
                           {"rows", data(case_rows(own))}});
  }
  return cases;
}

list powers_data(const Overview& overview) {
  list powers;
  for (const ReportedCase& own : overview.cases) {
    const TensorVerdict* best = nullptr;
    for (const ReportedResult* const each : own.results)
      for (const TensorVerdict& tensor : each->result.verdict.tensors)
        if (tensor.sampled_pairs > 0 && (best == nullptr || tensor.power.carry > best->power.carry))
          best = &tensor;
    if (best == nullptr) continue;
    powers.push_back(object{{"case", own.text},
                            {"tensor", best->tensor},
                            {"carry", short_number(best->power.carry)},
                            {"gate", short_number(best->power.gate)},
                            {"width", power_width(best->power.carry)}});
  }
  return powers;
}

// ---- calibration

// Of each operator and recipe the largest value / limit of clause A.
list shares_data(const CalibrationRecord& record) {
  std::vector<std::pair<std::string, double>> shares;
  for (const HonestGroup& own : record.honest) {
    if (!own.regime.empty()) continue;
    const std::string name = fmt::format("{} {}", own.operator_name, own.recipe);
    auto found = std::ranges::find(shares, name, &std::pair<std::string, double>::first);
    if (found == shares.end()) found = shares.insert(found, {name, 0});
    found->second = std::max({found->second, own.ratios[1], own.ratios[2], own.ratios[3]});
  }
  list rows;
  for (const auto& [name, share] : shares)
    rows.push_back(object{{"name", printable(name)},
                          {"over", share > 1 ? "over" : ""},
                          {"width", bar_width(share)},
                          {"share", short_number(share)}});
  return rows;
}

list studies_data(const Records& records) {
  list studies;
  for (const CalibrationRecord& own : records.calibrations)
    studies.push_back(
        object{{"headline", printable(headline(own))}, {"shares", data(shares_data(own))}});
  return studies;
}

list tables_data(const Records& records) {
  list tables;
  for (const CalibrationTable& own : calibration_tables(records.calibrations)) {
    if (own.rows.empty()) continue;
    list columns, rows;
    const auto css = [&own](std::size_t i) { return i < own.texts ? "" : "number"; };
    for (std::size_t i = 0; i < own.columns.size(); ++i)
      columns.push_back(object{{"css", css(i)}, {"text", printable(own.columns[i])}});
    for (const std::vector<std::string>& row : own.rows) {
      list cells;
      for (std::size_t i = 0; i < row.size(); ++i)
        cells.push_back(object{{"css", css(i)}, {"text", printable(row[i])}});
      rows.push_back(object{{"cells", data(cells)}});
    }
    tables.push_back(object{{"name", own.name},
                            {"title", own.title},
                            {"columns", data(columns)},
                            {"rows", data(rows)}});
  }
  return tables;
}

// ---- speed

list speed_data(const Overview& overview) {
  list rows;
  for (const ComparedTiming& own : overview.timings) {
    const BenchRow& row = own.timing->row;
    object entry{{"first", data(own.first)},
                 {"status", std::string(name_of(row.status))},
                 {"case", row.case_text},
                 {"path", path_and_library(row)},
                 {"device", row.device},
                 {"spread", spread(row)},
                 {"gigaflops", gigaflops(row)},
                 {"gigabytes", gigabytes(row)},
                 {"share", share(row)},
                 {"ratio", own.ratio ? fmt::format("{:.2f}", *own.ratio) : ""},
                 {"libraries", fmt::format("{}", fmt::join(own.libraries, "; "))}};
    put(entry, "note", row.note);
    rows.push_back(entry);
  }
  return rows;
}

// ---- bitwise contracts, and what was observed beside them

list contracts_data(const Overview& overview) {
  std::vector<std::pair<std::string, DeterminismProfile>> operators;
  for (const ReportedCase& own : overview.cases)
    for (const auto* const list : {&own.contracts, &own.observations})
      for (const ReportedContract* const contract : *list) {
        auto found = std::ranges::find(operators, own.operator_name,
                                       &std::pair<std::string, DeterminismProfile>::first);
        if (found == operators.end())
          found = operators.insert(found, {own.operator_name, DeterminismProfile{}});
        found->second.add(contract->equality);
      }
  list result;
  for (const auto& [name, profile] : operators) {
    list columns, rows, differences;
    for (const std::string& column : profile.columns()) columns.push_back(object{{"name", column}});
    for (const std::string& row : profile.rows()) {
      list cells;
      for (const std::string& column : profile.columns()) {
        const BitsOfProperty* const known = profile.find(row, column);
        object cell = {{"held", known != nullptr && known->declared() ? number(known->held) : ""}};
        if (known != nullptr) {
          if (known->broken > 0) cell["violated"] = number(known->broken);
          if (known->same > 0) cell["same"] = number(known->same);
          if (known->differs > 0) cell["differs"] = number(known->differs);
          if (!known->first_difference.empty())
            differences.push_back(object{{"path", row},
                                         {"property", column},
                                         {"declared", known->broken > 0 ? "yes, and broken" : "no"},
                                         {"at", known->first_difference}});
        }
        cells.push_back(cell);
      }
      rows.push_back(object{{"path", row}, {"cells", data(cells)}});
    }
    const bool any = !differences.empty();
    result.push_back(object{{"operator", name},
                            {"columns", data(columns)},
                            {"rows", data(rows)},
                            {"has_differences", data(any)},
                            {"differences", data(differences)}});
  }
  return result;
}

// A line of its own before those of an operator; survivors stand apart.
list mutants_data(const Overview& overview) {
  list rows;
  const ReportedMutant* last = nullptr;
  for (const ReportedMutant* const own : overview.mutants) {
    object row = {
        {"operator", own->operator_name},
        {"first", data(last == nullptr || last->operator_name != own->operator_name ||
                       (last->status == "SURVIVED") != (own->status == "SURVIVED"))},
        {"name", own->name},
        {"declares", own->declares},
        {"defect", own->defect},
        {"status", own->status},
        {"check", own->check},
        {"case", own->case_text},
        {"cases", own->status == "UNSHOWN" ? std::string()
                                           : fmt::format("{} of {}", own->seen_on, own->cases)},
        {"seen_by", fmt::format("{}", fmt::join(own->seen_by, ", "))}};
    put(row, "message", own->message);
    put(row, "needs", own->needs);
    rows.push_back(row);
    last = own;
  }
  return rows;
}

// ---- two implementations against each other

list comparisons_data(const Records& records) {
  list comparisons;
  for (const ReportedComparison& own : records.comparisons) {
    const VersusReport& report = own.report;
    list rows;
    for (const VersusTensor& tensor : report.tensors) {
      list clauses, usual;
      for (const Clause& clause : tensor.agreement.clauses)
        if (clause.applicable)
          clauses.push_back(
              object{{"text", fmt::format("{} {} / {}", clause.name, short_number(clause.value),
                                          short_number(clause.limit))}});
      for (const std::string& each : usual_tolerances(tensor))
        usual.push_back(object{{"text", each}});
      std::string findings;
      for (std::size_t s = 0; s < 2; ++s)
        if (tensor.verdicts[s].status == Status::failed)
          add_remark(findings,
                     fmt::format("{} is wrong: {}", report.names[s], tensor.verdicts[s].finding));
      object row = {
          {"status", std::string(name_of(tensor.status))},
          {"tensor", tensor.tensor},
          {"bits", fmt::format("{} of {}", tensor.agreement.same_bits, tensor.agreement.elements)},
          {"apart", apart(tensor)},
          {"clauses", data(clauses)},
          {"nearer", nearer(report, tensor)},
          {"recommended", recommended(tensor)},
          {"usual", data(usual)}};
      put(row, "reason", reason(tensor));
      put(row, "findings", findings);
      rows.push_back(row);
    }
    object entry = {{"status", std::string(name_of(report.status))},
                    {"case", own.case_text},
                    {"paths", own.paths()},
                    {"recipes", fmt::format("{} against {}", report.recipes[0], report.recipes[1])},
                    {"rows", data(rows)},
                    {"reproducer", report.reproducer}};
    put(entry, "note", report.note);
    comparisons.push_back(entry);
  }
  return comparisons;
}

}  // namespace

Page page(const Records& records, const Overview& overview, const PageOptions& options) {
  Page result;
  std::vector<Section> sections = sections_of(records, options);
  std::size_t left = most_drawn_results;
  Plots plots;
  for (Section& section : sections) {
    const std::size_t kept = std::min(left, section.results.size());
    if (kept < section.results.size()) {
      const auto cut = static_cast<Index>(section.results.size() - kept);
      result.not_drawn += cut;
      section.about += fmt::format(
          "{}The first {} of {} are shown in detail; the others are below, under their case.",
          section.about.empty() ? "" : " ", kept, section.results.size());
      section.results.resize(kept);
    }
    left -= kept;
    result.drawn += static_cast<Index>(kept);
    for (const ReportedResult* const own : section.results) plan(*own, plots);
  }
  plots.drawings = draw_with_gnuplot(plots.scripts);
  result.missing_pictures = plots.drawings.missing;

  list evidence;
  for (const ReportedEvidence& own : records.evidence) {
    object entry = {{"file", printable(own.file)},
                    {"device", own.device},
                    {"date", own.date},
                    {"driver", own.driver},
                    {"toolkit", own.toolkit},
                    {"results", number(own.results)},
                    {"stale", own.stale == 0 ? "" : number(own.stale)}};
    put(entry, "reasons", fmt::format("{}", fmt::join(own.reasons, "; ")));
    evidence.push_back(entry);
  }
  list tiles, environments, problems, broken, shown, raised, legend;
  const auto tile = [&](std::string_view name, std::string_view css, Index count) {
    tiles.push_back(
        object{{"name", std::string(name)}, {"css", std::string(css)}, {"count", number(count)}});
  };
  for (const StatusCount& own : overview.statuses)
    tile(name_of(own.status), name_of(own.status), own.count);
  tile("cases", "", static_cast<Index>(overview.cases.size()));
  if (overview.contracts > 0) tile("bitwise contracts", "", overview.contracts);
  if (overview.broken > 0) tile("contracts broken", "FAILED", overview.broken);
  if (!records.comparisons.empty())
    tile("comparisons", "", static_cast<Index>(records.comparisons.size()));
  if (!overview.mutants.empty()) tile("mutants killed", "", overview.mutants_that("KILLED"));
  if (const Index survived = overview.mutants_that("SURVIVED"); survived > 0)
    tile("mutants survived", "FAILED", survived);
  if (const Index unshown = overview.mutants_that("UNSHOWN"); unshown > 0)
    tile("mutants unshown", "", unshown);
  if (overview.stale > 0) tile("STALE", "STALE", overview.stale);
  for (const std::string& text : records.environments)
    environments.push_back(object{{"text", text}});
  for (const ReportedProblem& own : records.problems)
    problems.push_back(object{{"text", own.text}, {"case", own.case_text}});
  for (const ReportedContract& own : records.contracts)
    if (own.equality.violation)
      broken.push_back(object{{"name", own.equality.name},
                              {"why", own.equality.reason},
                              {"violation", *own.equality.violation},
                              {"case", own.case_text}});
  for (const Section& section : sections) {
    if (section.results.empty() && section.about.find("shown in detail") == std::string::npos)
      continue;
    list articles;
    for (const ReportedResult* const own : section.results)
      articles.push_back(article_data(*own, plots));
    object entry = {{"title", section.title}, {"articles", data(articles)}};
    put(entry, "about", section.about);
    shown.push_back(entry);
  }
  for (const RaisedClause& own : overview.raised)
    raised.push_back(object{{"tensor", own.tensor->tensor},
                            {"name", own.clause->name},
                            {"value", short_number(own.clause->value)},
                            {"limit", short_number(own.clause->limit)},
                            {"detail", own.clause->detail},
                            {"case", own.result->case_text},
                            {"path", own.result->result.path}});
  for (const MapClass& own : map_classes())
    legend.push_back(object{{"css", own.css}, {"meaning", own.meaning}});

  list powers = powers_data(overview), contracts = contracts_data(overview);
  object root = {{"headline", overview.headline},
                 {"from", printable(fmt::format("From {}", fmt::join(records.files, ", ")))},
                 {"tiles", data(tiles)},
                 {"environments", data(environments)},
                 {"has_problems", data(!problems.empty())},
                 {"problems", data(problems)},
                 {"has_broken", data(!broken.empty())},
                 {"broken", data(broken)},
                 {"has_sections", data(!shown.empty())},
                 {"sections", data(shown)},
                 {"has_speed", data(!overview.timings.empty())},
                 {"speed", data(speed_data(overview))},
                 {"has_comparisons", data(!records.comparisons.empty())},
                 {"comparisons", data(comparisons_data(records))},
                 {"has_mutants", data(!overview.mutants.empty())},
                 {"mutants", data(mutants_data(overview))},
                 {"has_raised", data(!raised.empty())},
                 {"raised_limits", data(raised)},
                 {"legend", data(legend)},
                 {"cases", data(cases_data(overview))},
                 {"has_powers", data(!powers.empty())},
                 {"powers", data(powers)},
                 {"has_evidence", data(!evidence.empty())},
                 {"evidence", data(evidence)},
                 {"has_contracts", data(!contracts.empty())},
                 {"observed", data(!records.observations.empty())},
                 {"contracts", data(contracts)},
                 {"has_calibration", data(!records.calibrations.empty())},
                 {"studies", data(studies_data(records))},
                 {"calibration_tables", data(tables_data(records))}};
  put(root, "judge_page", options.judge_page);
  if (!result.missing_pictures.empty())
    root["missing"] = data(object{{"reason", result.missing_pictures}});
  result.html = kainjow::mustache::mustache(templates::page).render(root);
  return result;
}

}  // namespace groundstate::harness
