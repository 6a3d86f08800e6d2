#include "harness/calibrate/record.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

#include "harness/case/error.hpp"

namespace groundstate::harness {
namespace {

using nlohmann::json;

constexpr std::array<std::pair<double, double>, 5> power_bins = {
    {{0, 0.5}, {0.5, 1}, {1, 3}, {3, 10}, {10, 1e30}}};
constexpr int schema = 1;

Spread spread_of(std::vector<double> x, bool from_least = false) {
  if (x.empty()) return {};
  std::sort(x.begin(), x.end());
  return {from_least ? x.front() : x[x.size() / 20], x[x.size() / 2], x.back()};
}

double of_clause_a(const MeasuredTensor& tensor) {
  double largest = 0;
  for (const std::size_t i : {1, 2, 3}) largest = std::max(largest, tensor.ratios[i].value_or(0));
  return largest;
}

void tally(RuleTallies& tallies, const std::array<std::optional<bool>, rules.size()>& accepted) {
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if (!accepted[i]) continue;
    ++tallies[i].asked;
    tallies[i].found += !*accepted[i];
  }
}

struct HonestNumbers {
  HonestGroup group;
  std::vector<double> median, p999, maximum;
  double worst = -1;

  void add(const MeasuredCase& own, const MeasuredImplementation& each,
           const MeasuredTensor& tensor) {
    ++group.tensors;
    maximum.push_back(tensor.errors.maximum);
    if (tensor.elements >= least_elements) {
      ++group.statistics;
      median.push_back(tensor.errors.median);
      p999.push_back(tensor.errors.p999);
    }
    for (std::size_t i = 0; i < tensor.ratios.size(); ++i)
      group.ratios[i] = std::max(group.ratios[i], tensor.ratios[i].value_or(0));
    group.failed += tensor.status == Status::failed;
    group.marginal += tensor.status == Status::marginal;
    tally(group.rejected, tensor.accepted);
    if (const double share = of_clause_a(tensor); share > worst) {
      worst = share;
      group.worst = fmt::format("{} --path '{}'", own.text, each.runs);
    }
  }
  HonestGroup finish() {
    group.median = spread_of(median);
    group.p999 = spread_of(p999);
    group.maximum = spread_of(maximum);
    return group;
  }
};

struct FaultNumbers {
  FaultGroup group;
  std::vector<double> margins;

  void add(const MeasuredImplementation& each) {
    ++group.cases;
    if (!each.active) return;
    ++group.active;
    bool failed = false, by_a = false;
    std::array<bool, study_clauses.size()> clauses{};
    std::array<std::optional<bool>, rules.size()> accepted;
    double margin = 0;
    for (const MeasuredTensor& tensor : each.tensors) {
      failed = failed || tensor.status == Status::failed;
      margin = std::max(margin, of_clause_a(tensor));
      for (std::size_t i = 0; i < clauses.size(); ++i)
        clauses[i] = clauses[i] || tensor.ratios[i].value_or(0) > 1;
      for (std::size_t i = 0; i < rules.size(); ++i)
        if (tensor.accepted[i]) accepted[i] = accepted[i].value_or(true) && *tensor.accepted[i];
    }
    by_a = clauses[0] || clauses[1] || clauses[2] || clauses[3];
    group.failed += failed;
    group.by_a += by_a;
    for (std::size_t i = 0; i < clauses.size(); ++i) group.by_clause[i] += clauses[i];
    tally(group.rejected, accepted);
    margins.push_back(margin);
  }
  FaultGroup finish() {
    group.margin = spread_of(margins, true);
    return group;
  }
};

struct PowerNumbers {
  PowerGroup group;
  std::vector<double> carry, gate;
};

Power most_power(const MeasuredImplementation& each) {
  Power most;
  for (const MeasuredTensor& tensor : each.tensors)
    if (tensor.power.carry > most.carry) most = tensor.power;
  return most;
}

// ---- records

double digits(double x) { return x == 0 ? 0 : std::stod(fmt::format("{:.4g}", x)); }
json to_json(const Spread& x) { return {digits(x.low), digits(x.median), digits(x.largest)}; }
Spread spread_in(const json& x) { return {x.at(0), x.at(1), x.at(2)}; }
json to_json(const RuleTallies& x) {
  json result = json::array();
  for (const RuleTally& own : x) result.push_back({own.asked, own.found});
  return result;
}
RuleTallies tallies_in(const json& x) {
  RuleTallies result;
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = {x.at(i).at(0), x.at(i).at(1)};
  return result;
}

}  // namespace

CalibrationRecord sum_up(const std::vector<MeasuredCase>& cases, StudyFacts facts) {
  using Names = std::tuple<std::string, std::string, std::string, std::string>;
  std::map<Names, HonestNumbers> honest;
  std::map<Names, SizeGroup> sizes;
  std::map<Names, FaultNumbers> faulty;
  std::map<Names, PowerNumbers> powers;
  std::map<std::tuple<std::string, std::string, std::size_t>, StateGroup> states;
  facts.cases = static_cast<Index>(cases.size());
  for (const MeasuredCase& own : cases) {
    const bool quick = own.shape.empty();
    bool power_known = false;
    for (const MeasuredImplementation& each : own.implementations) {
      if (!each.honest()) {
        FaultNumbers& numbers = faulty[{each.fault, own.operator_name, each.recipe, own.regime}];
        numbers.group.fault = each.fault;
        numbers.group.operator_name = own.operator_name;
        numbers.group.recipe = each.recipe;
        numbers.group.regime = own.regime;
        numbers.add(each);
        continue;
      }
      ++facts.implementations;
      if (!power_known && !each.tensors.empty() && !quick) {
        power_known = true;
        PowerNumbers& numbers = powers[{own.operator_name, own.regime, own.shape, ""}];
        numbers.group = {own.operator_name, own.regime, own.shape, numbers.group.cases + 1, {}, {}};
        const Power most = most_power(each);
        numbers.carry.push_back(most.carry);
        numbers.gate.push_back(most.gate);
      }
      for (const MeasuredTensor& tensor : each.tensors) {
        ++facts.tensors;
        facts.elements += tensor.elements;
        facts.quick_tensors += quick;
        facts.long_tensors += own.longest >= long_case;
        facts.failed += tensor.status == Status::failed;
        facts.marginal += tensor.status == Status::marginal;
        facts.emulated += tensor.ratios[4].has_value() || tensor.ratios[7].has_value();
        for (const std::string& regime : {own.regime, std::string()}) {
          HonestNumbers& numbers = honest[{own.operator_name, each.recipe, tensor.tensor, regime}];
          numbers.group.operator_name = own.operator_name;
          numbers.group.recipe = each.recipe;
          numbers.group.tensor = tensor.tensor;
          numbers.group.regime = regime;
          numbers.add(own, each, tensor);
        }
        if (quick) continue;
        SizeGroup& size = sizes[{own.operator_name, each.recipe, own.shape, ""}];
        size = {own.operator_name, each.recipe, own.shape, size.tensors + 1,
                std::max(size.largest, of_clause_a(tensor))};
      }
    }
    for (const MeasuredImplementation& each : own.implementations) {
      if (each.honest() || !each.active || !each.fault.starts_with("state ")) continue;
      const double power = most_power(each).carry;
      const auto bin = static_cast<std::size_t>(
          std::find_if(power_bins.begin(), power_bins.end() - 1,
                       [&](const auto& range) { return power < range.second; }) -
          power_bins.begin());
      StateGroup& group = states[{each.fault, each.recipe, bin}];
      group.fault = each.fault;
      group.recipe = each.recipe;
      std::tie(group.from, group.to) = power_bins[bin];
      ++group.cases;
      bool by_a = false, failed = false;
      for (const MeasuredTensor& tensor : each.tensors) {
        by_a = by_a || of_clause_a(tensor) > 1;
        failed = failed || tensor.status == Status::failed;
      }
      group.by_a += by_a;
      group.failed += failed;
    }
  }
  CalibrationRecord result;
  result.study = std::move(facts);
  for (auto& [names, numbers] : honest) result.honest.push_back(numbers.finish());
  for (auto& [names, group] : sizes) result.sizes.push_back(group);
  for (auto& [names, numbers] : faulty) result.faults.push_back(numbers.finish());
  for (auto& [names, numbers] : powers) {
    numbers.group.carry = spread_of(numbers.carry, true);
    numbers.group.gate = spread_of(numbers.gate, true);
    result.powers.push_back(numbers.group);
  }
  for (auto& [names, group] : states) result.states.push_back(group);
  return result;
}

std::vector<json> to_records(const CalibrationRecord& record) {
  std::vector<json> lines;
  const auto add = [&lines](const char* kind, json line) {
    line["schema"] = schema;
    line["calibration"] = kind;
    lines.push_back(std::move(line));
  };
  const StudyFacts& study = record.study;
  add("study", {{"device", study.device},
                {"date", study.date},
                {"command", study.command},
                {"seeds", study.seeds},
                {"cases", study.cases},
                {"implementations", study.implementations},
                {"tensors", study.tensors},
                {"elements", study.elements},
                {"quick_tensors", study.quick_tensors},
                {"long_tensors", study.long_tensors},
                {"emulated", study.emulated},
                {"failed", study.failed},
                {"marginal", study.marginal}});
  for (const HonestGroup& own : record.honest) {
    json ratios = json::array();
    for (const double ratio : own.ratios) ratios.push_back(digits(ratio));
    add("honest", {{"operator", own.operator_name},
                   {"recipe", own.recipe},
                   {"tensor", own.tensor},
                   {"regime", own.regime},
                   {"tensors", own.tensors},
                   {"statistics", own.statistics},
                   {"median", to_json(own.median)},
                   {"p999", to_json(own.p999)},
                   {"max", to_json(own.maximum)},
                   {"ratios", ratios},
                   {"failed", own.failed},
                   {"marginal", own.marginal},
                   {"rules", to_json(own.rejected)}});
    if (own.regime.empty()) lines.back()["worst"] = own.worst;
  }
  for (const SizeGroup& own : record.sizes)
    add("size", {{"operator", own.operator_name},
                 {"recipe", own.recipe},
                 {"shape", own.shape},
                 {"tensors", own.tensors},
                 {"largest", digits(own.largest)}});
  for (const FaultGroup& own : record.faults)
    add("fault", {{"fault", own.fault},
                  {"operator", own.operator_name},
                  {"recipe", own.recipe},
                  {"regime", own.regime},
                  {"cases", own.cases},
                  {"active", own.active},
                  {"failed", own.failed},
                  {"by_a", own.by_a},
                  {"clauses", own.by_clause},
                  {"margin", to_json(own.margin)},
                  {"rules", to_json(own.rejected)}});
  for (const PowerGroup& own : record.powers)
    add("power", {{"operator", own.operator_name},
                  {"regime", own.regime},
                  {"shape", own.shape},
                  {"cases", own.cases},
                  {"carry", to_json(own.carry)},
                  {"gate", to_json(own.gate)}});
  for (const StateGroup& own : record.states)
    add("state", {{"fault", own.fault},
                  {"recipe", own.recipe},
                  {"from", own.from},
                  {"to", own.to},
                  {"cases", own.cases},
                  {"by_a", own.by_a},
                  {"failed", own.failed}});
  return lines;
}

void add_line(const json& line, std::vector<CalibrationRecord>& records) {
  const std::string kind = line.at("calibration");
  if (kind == "study") {
    records.emplace_back().study = {
        line.at("device"),       line.at("date"),     line.at("command"),
        line.at("seeds"),        line.at("cases"),    line.at("implementations"),
        line.at("tensors"),      line.at("elements"), line.at("quick_tensors"),
        line.at("long_tensors"), line.at("failed"),   line.at("marginal"),
        line.at("emulated")};
    return;
  }
  if (records.empty()) line.at("a study before it");  // throws
  CalibrationRecord& record = records.back();
  if (kind == "honest") {
    HonestGroup own{line.at("operator"),
                    line.at("recipe"),
                    line.at("tensor"),
                    line.at("regime"),
                    line.at("tensors"),
                    line.at("statistics"),
                    spread_in(line.at("median")),
                    spread_in(line.at("p999")),
                    spread_in(line.at("max")),
                    {},
                    line.at("failed"),
                    line.at("marginal"),
                    tallies_in(line.at("rules")),
                    line.value("worst", "")};
    for (std::size_t i = 0; i < own.ratios.size(); ++i) own.ratios[i] = line.at("ratios").at(i);
    record.honest.push_back(std::move(own));
  } else if (kind == "size") {
    record.sizes.push_back({line.at("operator"), line.at("recipe"), line.at("shape"),
                            line.at("tensors"), line.at("largest")});
  } else if (kind == "fault") {
    FaultGroup own{line.at("fault"),
                   line.at("operator"),
                   line.at("recipe"),
                   line.at("regime"),
                   line.at("cases"),
                   line.at("active"),
                   line.at("failed"),
                   line.at("by_a"),
                   {},
                   spread_in(line.at("margin")),
                   tallies_in(line.at("rules"))};
    for (std::size_t i = 0; i < own.by_clause.size(); ++i)
      own.by_clause[i] = line.at("clauses").at(i);
    record.faults.push_back(std::move(own));
  } else if (kind == "power") {
    record.powers.push_back({line.at("operator"), line.at("regime"), line.at("shape"),
                             line.at("cases"), spread_in(line.at("carry")),
                             spread_in(line.at("gate"))});
  } else if (kind == "state") {
    record.states.push_back({line.at("fault"), line.at("recipe"), line.at("from"), line.at("to"),
                             line.at("cases"), line.at("by_a"), line.at("failed")});
  } else {
    line.at("a line of a calibration");  // throws
  }
}

std::vector<CalibrationRecord> read_calibrations(const std::vector<std::string>& files) {
  std::vector<CalibrationRecord> records;
  for (const std::string& name : files) {
    std::ifstream file(name);
    if (!file) throw UsageError(fmt::format("{}: cannot be read", name));
    std::string text;
    for (int number = 1; std::getline(file, text); ++number) {
      try {
        add_line(json::parse(text), records);
      } catch (const json::exception&) {
        throw UsageError(fmt::format("{}:{}: is no line of a calibration", name, number));
      }
    }
  }
  return records;
}

}  // namespace groundstate::harness
