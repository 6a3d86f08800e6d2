#include "harness/calibrate/tables.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "harness/case/error.hpp"
#include "harness/judge/limits.hpp"
#include "harness/judge/units.hpp"
#include "harness/mutants/mutant.hpp"
#include "harness/operators/registry.hpp"

namespace groundstate::harness {
namespace {

const std::string on_cpu = "cpu";

bool is_cpu(const CalibrationRecord& record) { return record.study.device == on_cpu; }

std::string number(Index x) { return fmt::format("{}", x); }
std::string number(double x) { return x >= 1e30 ? "infinite" : fmt::format("{:.2g}", x); }
std::string triple(const Spread& x) {
  return fmt::format("{:.2g} .. {:.2g} .. {:.3g}", x.low, x.median, x.largest);
}
std::string percent(Index part, Index all) {
  return all == 0 ? "" : fmt::format("{:.3g} %", 100.0 * double(part) / double(all));
}

double of_clause_a(const HonestGroup& own) {
  return std::max({own.ratios[1], own.ratios[2], own.ratios[3]});
}

// ---- orders: of the registry, the table of recipes, and the study

template <class T>
std::size_t place_in(const std::vector<T>& order, const T& own) {
  return static_cast<std::size_t>(std::find(order.begin(), order.end(), own) - order.begin());
}
const std::vector<std::string>& operator_order() {
  static const std::vector<std::string> order = [] {
    std::vector<std::string> names;
    for (const auto& own : operators()) names.push_back(own->grammar().operator_name);
    return names;
  }();
  return order;
}
const std::vector<std::string>& recipe_order() {
  static const std::vector<std::string> order = [] {
    std::vector<std::string> names;
    for (const RecipeUnits& own : recipe_table()) names.push_back(own.name);
    return names;
  }();
  return order;
}

std::string limits_text(const HonestGroup& own) {
  for (const auto& op : operators())
    if (op->grammar().operator_name == own.operator_name) {
      const Triple limits =
          recipe_limits(recipe_units(own.recipe).limit_row, op->family(own.tensor));
      return fmt::format("{:g} / {:g} / {:g}", limits.median, limits.p999, limits.maximum);
    }
  return "";
}

// ---- the tables

CalibrationTable studies(const std::vector<CalibrationRecord>& records) {
  CalibrationTable table{
      "studies",
      "What was measured. Tensors are outputs of honest implementations.",
      {"device", "date", "seeds", "cases", "tensors", "of the quick preset", "with T >= 2048",
       "elements", "judged by B and E too", "FAILED", "MARGINAL"},
      {},
      2};
  for (const CalibrationRecord& record : records) {
    const StudyFacts& own = record.study;
    table.rows.push_back({own.device, own.date, number(Index{own.seeds}), number(own.cases),
                          number(own.tensors), number(own.quick_tensors), number(own.long_tensors),
                          fmt::format("{:.3g}", static_cast<double>(own.elements)),
                          number(own.emulated), number(own.failed), number(own.marginal)});
  }
  return table;
}

std::vector<HonestGroup> sorted(std::vector<HonestGroup> groups) {
  std::stable_sort(groups.begin(), groups.end(), [](const HonestGroup& a, const HonestGroup& b) {
    const auto key = [](const HonestGroup& own) {
      return std::pair(place_in(operator_order(), own.operator_name),
                       place_in(recipe_order(), own.recipe));
    };
    return key(a) < key(b);
  });
  return groups;
}

CalibrationTable honest(const std::vector<CalibrationRecord>& records, bool kernels) {
  CalibrationTable table{
      kernels ? "kernels" : "honest",
      kernels ? "Scaled errors of the kernels: 5 % point, median and largest over all tensors."
              : "Scaled errors of our emulations: 5 % point, median and largest over all tensors.",
      {"operator", "recipe", "output", "tensors", "median", "99.9 %", "max", "limits",
       "largest share of a limit"},
      {},
      3};
  for (const CalibrationRecord& record : records) {
    if (is_cpu(record) == kernels) continue;
    for (const HonestGroup& own : sorted(record.honest)) {
      if (!own.regime.empty()) continue;
      const bool statistics = own.statistics > 0;
      table.rows.push_back({own.operator_name, own.recipe, own.tensor, number(own.tensors),
                            statistics ? triple(own.median) : "-",
                            statistics ? triple(own.p999) : "-", triple(own.maximum),
                            limits_text(own), fmt::format("{:.2f}", of_clause_a(own))});
    }
  }
  return table;
}

// Rows by a key of two names, columns by a third, of whatever has them.
class Grid {
 public:
  void set(const std::pair<std::string, std::string>& row, const std::string& column,
           std::string cell) {
    if (place_in(rows_, row) == rows_.size()) rows_.push_back(row);
    cells_[{row, column}] = std::move(cell);
  }
  CalibrationTable table(std::string name, std::string title, std::vector<std::string> heads,
                         const std::vector<std::string>& columns) const {
    CalibrationTable result{std::move(name), std::move(title), std::move(heads), {}, 2};
    std::vector<std::string> used;
    for (const std::string& column : columns)
      if (std::any_of(cells_.begin(), cells_.end(),
                      [&](const auto& cell) { return cell.first.second == column; }))
        used.push_back(column);
    result.columns.insert(result.columns.end(), used.begin(), used.end());
    for (const auto& row : rows_) {
      std::vector<std::string> cells{row.first, row.second};
      for (const std::string& column : used) {
        const auto found = cells_.find({row, column});
        cells.push_back(found == cells_.end() ? "" : found->second);
      }
      result.rows.push_back(std::move(cells));
    }
    return result;
  }
  bool empty() const { return cells_.empty(); }

 private:
  using Row = std::pair<std::string, std::string>;
  std::vector<Row> rows_;
  std::map<std::pair<Row, std::string>, std::string> cells_;
};

bool of_gates(const std::string& regime) { return regime.find('=') == regime.npos; }

// The largest share of a limit of clause A, of all outputs, by regime.
CalibrationTable regimes(const std::vector<CalibrationRecord>& records, bool gates) {
  Grid grid;
  std::map<std::tuple<std::string, std::string, std::string>, double> largest;
  for (const CalibrationRecord& record : records)
    for (const HonestGroup& own : sorted(record.honest)) {
      if (own.regime.empty() || of_gates(own.regime) != gates) continue;
      double& share = largest[{own.operator_name, own.recipe, own.regime}];
      share = std::max(share, of_clause_a(own));
      grid.set({own.operator_name, own.recipe}, own.regime, fmt::format("{:.2f}", share));
    }
  std::vector<std::string> columns = study_regimes();
  columns.emplace_back("quick preset");
  return grid.table(gates ? "regimes" : "step regimes",
                    gates ? "The largest share of a limit of clause A by regime of the gates, over "
                            "outputs, emulations and kernels; one half is what the limits were "
                            "made for."
                          : "The same by regime of the steps on pools.",
                    {"operator", "recipe"}, columns);
}

CalibrationTable sizes(const std::vector<CalibrationRecord>& records) {
  Grid grid;
  std::map<std::tuple<std::string, std::string, std::string>, double> largest;
  for (const CalibrationRecord& record : records)
    for (const std::string& name : operator_order())
      for (const std::string& shape : study_shapes())
        for (const SizeGroup& own : record.sizes) {
          if (own.operator_name != name || own.shape != shape) continue;
          double& share = largest[{name, shape, own.recipe}];
          share = std::max(share, own.largest);
          grid.set({name, shape}, own.recipe, fmt::format("{:.2f}", share));
        }
  return grid.table("sizes", "The same by the shape of the case.", {"operator", "shape"},
                    recipe_order());
}

// ---- false alarms

std::vector<std::string> rule_names() {
  std::vector<std::string> names;
  for (const Rule& rule : rules) names.emplace_back(rule.name);
  return names;
}

struct Alarms {
  Index tensors = 0, failed = 0, marginal = 0;
  RuleTallies rejected;

  void add(const HonestGroup& own) {
    tensors += own.tensors;
    failed += own.failed;
    marginal += own.marginal;
    for (std::size_t i = 0; i < rejected.size(); ++i) {
      rejected[i].asked += own.rejected[i].asked;
      rejected[i].found += own.rejected[i].found;
    }
  }
  std::vector<std::string> cells() const {
    std::vector<std::string> result{number(tensors), number(failed)};
    for (const RuleTally& own : rejected)
      result.push_back(
          own.asked == 0 ? "" : fmt::format("{} ({})", own.found, percent(own.found, own.asked)));
    return result;
  }
};

CalibrationTable false_alarms(const std::vector<CalibrationRecord>& records) {
  CalibrationTable table{
      "false alarms",
      "Honest tensors that each rule rejects, and their share of those that it applies to.",
      {"implementations", "recipe", "tensors", "FAILED here"},
      {},
      2};
  for (const std::string& name : rule_names()) table.columns.push_back(name);
  const auto add = [&](std::string device, std::string recipe, const Alarms& own) {
    std::vector<std::string> row{std::move(device), std::move(recipe)};
    for (std::string& cell : own.cells()) row.push_back(std::move(cell));
    table.rows.push_back(std::move(row));
  };
  Alarms all;
  for (const CalibrationRecord& record : records) {
    const std::string device = is_cpu(record) ? "emulations" : record.study.device;
    for (const std::string& recipe : recipe_order()) {
      Alarms alarms;
      for (const HonestGroup& own : record.honest)
        if (own.recipe == recipe && own.regime.empty()) {
          alarms.add(own);
          all.add(own);
        }
      if (alarms.tensors > 0) add(device, recipe, alarms);
    }
  }
  if (all.tensors > 0) add("all", "", all);
  return table;
}

// ---- what is seen of faults

struct Seen {
  Index active = 0, failed = 0, by_a = 0;
  double least = 1e30;
  std::array<Index, study_clauses.size()> by_clause{};
  RuleTallies rejected;

  void add(const FaultGroup& own) {
    active += own.active;
    failed += own.failed;
    by_a += own.by_a;
    if (own.active > 0) least = std::min(least, own.margin.low);
    for (std::size_t i = 0; i < by_clause.size(); ++i) by_clause[i] += own.by_clause[i];
    for (std::size_t i = 0; i < rejected.size(); ++i) {
      rejected[i].asked += own.rejected[i].asked;
      rejected[i].found += own.rejected[i].found;
    }
  }
  // Under the columns of seen_table().
  std::vector<std::string> cells() const {
    std::vector<std::string> result{number(active), percent(failed, active), percent(by_a, active),
                                    active == 0 ? "" : number(least)};
    for (std::size_t i = 4; i < study_clauses.size(); ++i)
      result.push_back(percent(by_clause[i], active));
    for (const RuleTally& own : rejected) result.push_back(percent(own.found, own.asked));
    return result;
  }
};

// Who sees something, a row a kind of it; the first two columns are its names.
CalibrationTable seen_table(std::string name, std::string title, std::string first,
                            std::string second) {
  CalibrationTable table{std::move(name),
                         std::move(title),
                         {std::move(first), std::move(second), "cases", "verdict", "A",
                          "least of A", "B", "C.grid", "D", "E"},
                         {},
                         2};
  for (const std::string& rule : rule_names()) table.columns.push_back(rule);
  return table;
}
void add_row(CalibrationTable& table, const std::string& first, const std::string& second,
             const Seen& seen) {
  table.rows.push_back({first, second});
  for (std::string& cell : seen.cells()) table.rows.back().push_back(std::move(cell));
}

// In the order of the study.
std::vector<std::pair<std::string, std::string>> fault_rows(
    const std::vector<CalibrationRecord>& records) {
  std::vector<std::pair<std::string, std::string>> rows;
  for (const std::string& fault : faults())
    for (const std::string& recipe : recipe_order())
      for (const CalibrationRecord& record : records)
        for (const FaultGroup& own : record.faults)
          if (own.fault == fault && own.recipe == recipe &&
              place_in(rows, std::pair(fault, recipe)) == rows.size())
            rows.emplace_back(fault, recipe);
  return rows;
}

CalibrationTable detection(const std::vector<CalibrationRecord>& records) {
  Grid grid;
  for (const auto& row : fault_rows(records))
    for (const std::string& regime : study_regimes()) {
      Seen seen;
      Index cases = 0;
      for (const CalibrationRecord& record : records)
        for (const FaultGroup& own : record.faults)
          if (own.fault == row.first && own.recipe == row.second && own.regime == regime) {
            seen.add(own);
            cases += own.cases;
          }
      if (cases == 0 || !of_gates(regime)) continue;
      grid.set(row, regime,
               seen.active == 0
                   ? "none active"
                   : fmt::format("{} / {}, {}", seen.failed, seen.active, number(seen.least)));
    }
  return grid.table("detection",
                    "Faults by regime of the gates: FAILED of the cases in which the fault changes "
                    "a bit, and the least value / limit of clause A among them (above 1: clause A "
                    "sees all of them).",
                    {"fault", "declared recipe"}, study_regimes());
}

CalibrationTable seen_by(const std::vector<CalibrationRecord>& records) {
  CalibrationTable table = seen_table(
      "seen by",
      "Who sees the faults, in per cent of the cases in which they change a bit, over all "
      "operators "
      "and regimes: the verdict, its clauses (and the least value / limit of clause A), and the "
      "rules of others.",
      "fault", "declared recipe");
  for (const auto& row : fault_rows(records)) {
    Seen seen;
    for (const CalibrationRecord& record : records)
      for (const FaultGroup& own : record.faults)
        if (own.fault == row.first && own.recipe == row.second) seen.add(own);
    add_row(table, row.first, row.second, seen);
  }
  return table;
}

// By operator and mutant, or by operator and regime; in the orders of the registry, of the mutants
// and of the study.
CalibrationTable mutants(const std::vector<CalibrationRecord>& records, bool by_regime) {
  CalibrationTable table = seen_table(
      by_regime ? "mutants by regime" : "mutants",
      by_regime ? "The same by regime, of all mutants of an operator."
                : "Who sees the mutants, over all regimes, in per cent of the cases in which they "
                  "change a bit of an output.",
      "operator", by_regime ? "regime" : "mutant");
  for (const std::string& operator_name : operator_order()) {
    std::vector<std::string> names;
    for (const Mutant& mutant : mutants_of(operator_name)) names.push_back(mutant.name);
    const std::vector<std::string> rows = by_regime ? study_regimes() : names;
    for (const std::string& row : rows) {
      Seen seen;
      bool any = false;
      for (const CalibrationRecord& record : records)
        for (const FaultGroup& own : record.faults)
          if (own.operator_name == operator_name && place_in(names, own.fault) < names.size() &&
              row == (by_regime ? own.regime : own.fault)) {
            seen.add(own);
            any = true;
          }
      if (any) add_row(table, operator_name, row, seen);
    }
  }
  return table;
}

// ---- power

CalibrationTable power(const std::vector<CalibrationRecord>& records, bool gates) {
  Grid grid;
  for (const std::string& name : operator_order())
    for (const std::string& shape : study_shapes())
      for (const CalibrationRecord& record : records)
        for (const PowerGroup& own : record.powers)
          if (is_cpu(record) && own.operator_name == name && own.shape == shape &&
              of_gates(own.regime) == gates)
            grid.set({name, shape}, own.regime,
                     fmt::format("{:.2g} ({:.2g} .. {:.2g})", own.carry.median, own.carry.low,
                                 own.carry.largest));
  return grid.table(gates ? "power" : "step power",
                    gates ? "Power of the cases: the sensitivity to the carried state over that to "
                            "the inputs, of the output that shows most; median (least .. largest)."
                          : "The same of the steps on pools.",
                    {"operator", "shape"}, study_regimes());
}

CalibrationTable state(const std::vector<CalibrationRecord>& records) {
  Grid grid;
  std::vector<std::string> columns;
  std::map<double, std::string> names;
  std::map<std::tuple<std::string, std::string, double>, StateGroup> sums;
  for (const CalibrationRecord& record : records)
    for (const StateGroup& own : record.states) {
      names[own.from] = own.to < 1e30 ? fmt::format("{:g} .. {:g}", own.from, own.to)
                                      : fmt::format("above {:g}", own.from);
      StateGroup& sum = sums[{own.fault, own.recipe, own.from}];
      sum.cases += own.cases;
      sum.by_a += own.by_a;
      sum.failed += own.failed;
    }
  for (const auto& [from, name] : names) columns.push_back(name);
  for (const auto& row : fault_rows(records))
    for (const auto& [from, name] : names)
      if (const auto found = sums.find({row.first, row.second, from}); found != sums.end())
        grid.set(row, name,
                 fmt::format("{} / {} of {}", found->second.by_a, found->second.failed,
                             found->second.cases));
  return grid.table(
      "power and detection",
      "A state kept in bf16 by the power of the case: seen by clause A / by the whole "
      "verdict, of how many cases.",
      {"fault", "declared recipe"}, columns);
}

std::string escaped(const std::string& cell) {
  std::string result;
  for (const char c : cell) result += c == '|' ? std::string("\\|") : std::string(1, c);
  return result;
}

}  // namespace

std::vector<CalibrationTable> calibration_tables(const std::vector<CalibrationRecord>& records) {
  return {
      studies(records),        honest(records, false),  honest(records, true),
      regimes(records, true),  regimes(records, false), sizes(records),
      false_alarms(records),   detection(records),      seen_by(records),
      mutants(records, false), mutants(records, true),  power(records, true),
      power(records, false),   state(records),
  };
}

std::string markdown(const CalibrationTable& table) {
  const auto line = [](const std::vector<std::string>& cells) {
    std::string text = "|";
    for (const std::string& cell : cells) text += fmt::format(" {} |", escaped(cell));
    return text + "\n";
  };
  std::string text = line(table.columns) + "|";
  for (std::size_t i = 0; i < table.columns.size(); ++i) text += i < table.texts ? "---|" : "---:|";
  text += "\n";
  for (const std::vector<std::string>& row : table.rows) text += line(row);
  return text;
}

std::string with_tables(std::string page, const std::vector<CalibrationRecord>& records) {
  const std::vector<CalibrationTable> tables = calibration_tables(records);
  static constexpr std::string_view begin = "<!-- table ", closing = " -->\n",
                                    end = "<!-- /table -->";
  for (std::size_t at = 0; (at = page.find(begin, at)) != page.npos;) {
    const std::size_t name_at = at + begin.size(), name_end = page.find(closing, name_at);
    const std::size_t stop = page.find(end, name_at);
    if (name_end == page.npos || stop == page.npos || stop < name_end)
      throw UsageError(fmt::format("a marker '{}...' has no end '{}'", begin, end));
    const std::string name = page.substr(name_at, name_end - name_at);
    const auto table = std::find_if(tables.begin(), tables.end(),
                                    [&](const CalibrationTable& own) { return own.name == name; });
    if (table == tables.end())
      throw UsageError(fmt::format("there is no table '{}' of a calibration", name));
    const std::size_t from = name_end + closing.size();
    const std::string text = fmt::format(
        "\n{}\n\n{}\n", table->title, table->rows.empty() ? "Not measured.\n" : markdown(*table));
    page.replace(from, stop - from, text);
    at = from + text.size();
  }
  return page;
}

std::string headline(const CalibrationRecord& record) {
  const StudyFacts& own = record.study;
  return fmt::format(
      "{}: {} cases, {} honest tensors ({} with T >= {}, {} of the quick preset), {} "
      "FAILED, {} MARGINAL",
      own.device, own.cases, own.tensors, own.long_tensors, long_case, own.quick_tensors,
      own.failed, own.marginal);
}

}  // namespace groundstate::harness
