#include "harness/report/records.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "harness/case/error.hpp"
#include "harness/case/text.hpp"
#include "harness/evidence/evidence.hpp"
#include "harness/operators/registry.hpp"
#include "harness/run/note.hpp"
#include "harness/run/outputs.hpp"

namespace groundstate::harness {
namespace {

using nlohmann::json;

constexpr std::size_t most_windows = 4096, most_worst = 1000;

// What is wrong with a line; the reader adds which.
struct BadRecord : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] void refuse(std::string_view name, std::string_view wanted) {
  throw BadRecord(fmt::format("'{}' is not {}", shown(name), wanted));
}

const json& member(const json& object, const char* name) {
  if (!object.is_object() || !object.contains(name))
    throw BadRecord(fmt::format("'{}' is missing", name));
  return object.at(name);
}

std::string text_in(const json& object, const char* name) {
  const json& value = member(object, name);
  if (!value.is_string()) refuse(name, "a text");
  return printable(value.get_ref<const std::string&>());
}

std::string optional_text_in(const json& object, const char* name) {
  return object.contains(name) ? text_in(object, name) : "";
}

double number_of(const json& value, std::string_view name) {
  if (value.is_number()) return value.get<double>();
  if (value == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (value == "inf") return std::numeric_limits<double>::infinity();
  if (value == "-inf") return -std::numeric_limits<double>::infinity();
  refuse(name, "a number");
}

double number_in(const json& object, const char* name) {
  return number_of(member(object, name), name);
}

// Not negative.
Index count_of(const json& value, std::string_view name) {
  if (!value.is_number_integer()) refuse(name, "a count");
  const auto count = value.get<std::int64_t>();
  if (count < 0 || count > (std::int64_t{1} << 53)) refuse(name, "a count");
  return count;
}

Index count_in(const json& object, const char* name) {
  return count_of(member(object, name), name);
}

bool truth_in(const json& object, const char* name) {
  const json& value = member(object, name);
  if (!value.is_boolean()) refuse(name, "true or false");
  return value.get<bool>();
}

const json& list_in(const json& object, const char* name, std::size_t most) {
  const json& value = member(object, name);
  if (!value.is_array() || value.size() > most)
    refuse(name, fmt::format("a list of at most {}", most));
  return value;
}

const json& object_in(const json& object, const char* name) {
  const json& value = member(object, name);
  if (!value.is_object()) refuse(name, "an object");
  return value;
}

std::vector<double> numbers_in(const json& object, const char* name) {
  std::vector<double> numbers;
  for (const json& value : list_in(object, name, most_windows))
    numbers.push_back(number_of(value, name));
  return numbers;
}

Status status_in(const json& object) {
  const std::string text = text_in(object, "status");
  for (const Status status : {Status::passed, Status::marginal, Status::failed, Status::mistrusted,
                              Status::unavailable, Status::unsupported})
    if (text == name_of(status)) return status;
  throw BadRecord(fmt::format("there is no status '{}'", shown(text)));
}

Triple triple_in(const json& object, const char* name) {
  const std::vector<double> numbers = numbers_in(object, name);
  if (numbers.size() != 3) refuse(name, "three numbers");
  return {numbers[0], numbers[1], numbers[2]};
}

Clause clause_of(const std::string& name, const json& record) {
  if (!record.is_object()) refuse(name, "a clause");
  Clause clause;
  clause.name = printable(name);
  clause.detail = text_in(record, "detail");
  clause.applicable = truth_in(record, "applicable");
  if (!clause.applicable) return clause;
  clause.value = number_in(record, "value");
  clause.limit = number_in(record, "limit");
  clause.passed = truth_in(record, "passed");
  if (record.contains("raised")) clause.raised = number_in(record, "raised");
  return clause;
}

// The order of the judge: pattern, then A to E, then median before 99.9 % before maximum.
std::string sort_key(const Clause& clause) {
  const std::string& name = clause.name;
  if (name == "pattern") return "";
  const auto point = name.ends_with(".median") ? 'a' : name.ends_with(".99.9%") ? 'b' : 'c';
  return fmt::format("{}{}{}", name.substr(0, 1), point, name);
}

TensorAxes axes_of(const json& record) {
  TensorAxes axes;
  axes.rows_are_time = truth_in(record, "time");
  axes.sequence = text_in(record, "sequence");
  axes.head = text_in(record, "head");
  axes.row = text_in(record, "row");
  axes.column = text_in(record, "column");
  axes.chunk = count_in(record, "chunk");
  return axes;
}

ErrorPicture::Histogram histogram_in(const json& object, const char* name, Index first) {
  ErrorPicture::Histogram histogram{};
  auto level = static_cast<std::size_t>(std::min<Index>(first, error_levels));
  for (const json& count : list_in(object, name, error_levels - level))
    histogram[level++] = count_of(count, name);
  return histogram;
}

ErrorPicture::Map map_of(const json& record, Index length) {
  ErrorPicture::Map map;
  map.rows = count_in(record, "rows");
  map.pairs = count_in(record, "pairs");
  for (const json& pair : list_in(record, "lines", ErrorPicture::map_lines)) {
    if (!pair.is_array() || pair.size() != 2) refuse("lines", "a list of pairs");
    map.lines.push_back({count_of(pair[0], "lines"), count_of(pair[1], "lines")});
  }
  for (const json& line : list_in(record, "cells", ErrorPicture::map_lines)) {
    if (!line.is_string()) refuse("cells", "a list of texts");
    map.cells.push_back(line.get<std::string>());
    const std::string& cells = map.cells.back();
    if (cells.size() > static_cast<std::size_t>(ErrorPicture::map_columns) ||
        cells.size() != map.cells.front().size() ||
        !std::all_of(cells.begin(), cells.end(), [](char c) { return level_of(c).has_value(); }))
      refuse("cells", "a map of error levels");
  }
  const auto columns = static_cast<Index>(map.cells.empty() ? 0 : map.cells.front().size());
  if (map.rows < 1 || map.pairs < 1 || map.lines.size() != map.cells.size() ||
      columns != (length + map.rows - 1) / map.rows)
    refuse("map", "a map of the tensor");
  return map;
}

ErrorPicture picture_of(const json& record) {
  ErrorPicture picture;
  picture.axes = axes_of(object_in(record, "axes"));
  picture.length = count_in(record, "length");
  const json& histogram = object_in(record, "histogram");
  const Index first = count_in(histogram, "first");
  picture.path = histogram_in(histogram, "path", first);
  if (histogram.contains("emulation"))
    picture.emulation = histogram_in(histogram, "emulation", first);
  if (record.contains("along")) {
    const json& along = object_in(record, "along");
    ErrorPicture::Along& own = picture.along.emplace(ErrorPicture::Along{});
    own.rows = count_in(along, "rows");
    own.maximum = numbers_in(along, "maximum");
    own.rms = numbers_in(along, "rms");
    if (along.contains("emulation_rms")) own.emulation_rms = numbers_in(along, "emulation_rms");
    const std::size_t size = own.maximum.size();
    if (own.rows < 1 || static_cast<Index>(size) != (picture.length + own.rows - 1) / own.rows ||
        own.rms.size() != size || (!own.emulation_rms.empty() && own.emulation_rms.size() != size))
      refuse("along", "one number a window");
  }
  if (record.contains("map")) picture.map = map_of(object_in(record, "map"), picture.length);
  return picture;
}

void add_where(const json& record, TensorVerdict& tensor, std::vector<std::string>& worst_at) {
  tensor.where.elements = count_in(record, "elements");
  tensor.where.bad = count_in(record, "bad");
  for (const json& element : list_in(record, "worst", most_worst)) {
    worst_at.push_back(text_in(element, "at"));
    tensor.where.worst.push_back({{count_in(element, "sequence"), count_in(element, "head")},
                                  count_in(element, "row"),
                                  count_in(element, "column"),
                                  number_in(element, "got"),
                                  number_in(element, "expected"),
                                  number_in(element, "error")});
  }
}

void add_tensor(const std::string& name, const json& record, ReportedResult& result) {
  TensorVerdict tensor;
  tensor.tensor = printable(name);
  tensor.status = status_in(record);
  for (const auto& [clause, entry] : object_in(record, "clauses").items())
    tensor.clauses.push_back(clause_of(clause, entry));
  std::ranges::sort(tensor.clauses, {}, sort_key);
  tensor.errors = triple_in(record, "errors");
  if (record.contains("emulation")) tensor.emulation = triple_in(record, "emulation");
  const json& power = object_in(record, "power");
  tensor.power = {number_in(power, "carry"), number_in(power, "gate")};
  tensor.elements = count_in(record, "elements");
  tensor.pairs = count_in(record, "pairs");
  tensor.sampled_pairs = count_in(record, "sampled_pairs");
  tensor.finding = optional_text_in(record, "finding");
  std::vector<std::string> worst_at;
  if (record.contains("where")) add_where(object_in(record, "where"), tensor, worst_at);
  result.pictured.push_back(record.contains("picture"));
  if (result.pictured.back()) tensor.picture = picture_of(object_in(record, "picture"));
  tensor.where.axes = tensor.picture.axes;
  result.result.verdict.tensors.push_back(std::move(tensor));
  result.worst_at.push_back(std::move(worst_at));
}

std::string environment_text(const json& record) {
  std::vector<std::string> parts;
  for (const auto& [name, value] : object_in(record, "environment").items())
    parts.push_back(printable(fmt::format(
        "{} {}", name,
        value.is_string() ? value.get<std::string>()
                          : value.dump(-1, ' ', false, json::error_handler_t::replace))));
  return fmt::format("{}", fmt::join(parts, ", "));
}

void add_environment(const json& record, Records& records) {
  const std::string environment = environment_text(record);
  if (std::ranges::find(records.environments, environment) == records.environments.end())
    records.environments.push_back(environment);
}

void add_result(const RecordOrigin& origin, const json& record, Records& records) {
  ReportedResult own;
  static_cast<RecordOrigin&>(own) = origin;
  own.result.path = text_in(record, "path");
  own.result.recipe = text_in(record, "recipe");
  own.result.form = text_in(record, "form");
  own.result.device = text_in(record, "device");
  own.result.status = status_in(record);
  own.result.seconds = number_in(record, "seconds");
  own.result.reproducer = text_in(record, "reproducer");
  own.result.note = optional_text_in(record, "note");
  own.reason = optional_text_in(record, "reason");
  if (record.contains("stages")) {
    const json& stages = object_in(record, "stages");
    own.stages = text_in(stages, "sentence");
    own.stage_diverges = stages.contains("first_diverging");
  }
  for (const auto& [name, tensor] : object_in(record, "tensors").items())
    add_tensor(name, tensor, own);
  own.result.verdict.status = own.result.status;
  add_environment(record, records);
  records.results.push_back(std::move(own));
}

std::array<std::string, 2> two_texts_in(const json& object, const char* name) {
  const json& list = list_in(object, name, 2);
  if (list.size() != 2 || !list[0].is_string() || !list[1].is_string()) refuse(name, "two texts");
  return {printable(list[0].get<std::string>()), printable(list[1].get<std::string>())};
}

VersusTensor compared_tensor(const std::string& name, const json& record) {
  VersusTensor own;
  own.tensor = printable(name);
  own.status = status_in(record);
  MeasuredAgreement& a = own.agreement;
  a.elements = count_in(record, "elements");
  a.measured = count_in(record, "measured");
  a.same_bits = count_in(record, "same_bits");
  const json& difference = object_in(record, "difference");
  a.difference = {number_in(difference, "median"), number_in(difference, "p999"),
                  number_in(difference, "max")};
  a.largest = number_in(record, "largest");
  const json& clauses = object_in(record, "clauses");
  if (clauses.size() > a.clauses.size()) refuse("clauses", "at most two clauses");
  for (Clause& clause : a.clauses) clause.applicable = false;
  for (std::size_t i = 0; const auto& [clause, entry] : clauses.items())
    a.clauses[i++] = {printable(clause),         number_in(entry, "value"),
                      number_in(entry, "limit"), true,
                      truth_in(entry, "passed"), ""};
  const json &nearer = list_in(record, "nearer", 2), &norms = list_in(record, "relative_norm", 2),
             &verdicts = list_in(record, "verdicts", 2);
  if (nearer.size() != 2 || norms.size() != 2 || verdicts.size() != 2)
    refuse("nearer", "one count a side");
  a.left = {count_of(nearer[0], "nearer"), number_of(norms[0], "relative_norm")};
  a.right = {count_of(nearer[1], "nearer"), number_of(norms[1], "relative_norm")};
  for (std::size_t s = 0; s < 2; ++s) {
    own.verdicts[s].status = status_in(verdicts[s]);
    own.verdicts[s].finding = optional_text_in(verdicts[s], "finding");
  }
  const json &tolerance = object_in(record, "recommended"), &reason = object_in(record, "reason");
  a.rtol = number_in(tolerance, "rtol");
  a.atol = number_in(tolerance, "atol");
  own.relative = text_in(reason, "rtol");
  own.decisive = text_in(reason, "atol");
  a.slack = number_in(record, "slack");
  for (const json& usual : list_in(record, "usual", 100))
    a.usual.push_back({text_in(usual, "name"), number_in(usual, "rtol"), number_in(usual, "atol"),
                       count_in(usual, "exceeded"), number_in(usual, "narrowest"),
                       number_in(usual, "median")});
  own.worst = optional_text_in(record, "worst");
  return own;
}

void add_comparison(const RecordOrigin& origin, const json& record, Records& records) {
  ReportedComparison own;
  static_cast<RecordOrigin&>(own) = origin;
  VersusReport& report = own.report;
  report.names = two_texts_in(record, "paths");
  report.recipes = two_texts_in(record, "recipes");
  report.forms = two_texts_in(record, "forms");
  report.status = status_in(record);
  report.pairs = count_in(record, "pairs");
  report.sampled = count_in(record, "sampled_pairs");
  report.reproducer = text_in(record, "reproducer");
  report.note = optional_text_in(record, "note");
  for (const auto& [name, tensor] : object_in(record, "tensors").items())
    report.tensors.push_back(compared_tensor(name, tensor));
  add_environment(record, records);
  records.comparisons.push_back(std::move(own));
}

// A time, or an amount of work.
double amount_in(const json& object, const char* name) {
  const double x = number_in(object, name);
  if (!(x >= 0) || std::isinf(x)) refuse(name, "a finite number that is not negative");
  return x;
}

// Another library's driver may leave out what is not known there.
void add_timing(const RecordOrigin& origin, const json& record, Records& records) {
  ReportedTiming own;
  static_cast<RecordOrigin&>(own) = origin;
  BenchRow& row = own.row;
  row.case_text = origin.case_text;
  row.id = origin.id;
  row.operator_name = origin.operator_name;
  row.path = text_in(record, "path");
  row.library = optional_text_in(record, "library");
  row.device = text_in(record, "device");
  row.driver = optional_text_in(record, "driver");
  row.status = status_in(record);
  row.flops = amount_in(record, "flops");
  row.bytes = amount_in(record, "bytes");
  row.note = optional_text_in(record, "note");
  row.reproducer = optional_text_in(record, "reproducer");
  if (record.contains("clocks"))
    for (const auto& [name, value] : object_in(record, "clocks").items())
      row.clocks[printable(name)] = number_of(value, name);
  if (record.contains("median")) {
    const std::vector<double> quartiles = numbers_in(record, "quartiles");
    if (quartiles.size() != 2) refuse("quartiles", "two numbers");
    const Quartiles seconds{quartiles[0], amount_in(record, "median"), quartiles[1]};
    if (!(seconds.median > 0 && seconds.first <= seconds.median && seconds.median <= seconds.third))
      refuse("median", "above 0 and between the quartiles");
    row.timing = Timing{seconds, count_in(record, "repetitions")};
    row.cold = truth_in(record, "cold");
    if (record.contains("overhead")) row.overhead = amount_in(record, "overhead");
  }
  if (record.contains("ceiling")) {
    const json& ceiling = object_in(record, "ceiling");
    row.ceiling = {text_in(ceiling, "of"), amount_in(ceiling, "seconds")};
  }
  if (record.contains("environment")) add_environment(record, records);
  records.timings.push_back(std::move(own));
}

void add_mutant(const std::string& source, const json& record, Records& records) {
  ReportedMutant own{source,
                     text_in(record, "operator"),
                     text_in(record, "mutant"),
                     text_in(record, "declares"),
                     text_in(record, "defect"),
                     optional_text_in(record, "needs"),
                     text_in(record, "status"),
                     {},
                     {},
                     {},
                     count_in(record, "cases"),
                     count_in(record, "seen_on"),
                     {}};
  if (own.status != "KILLED" && own.status != "SURVIVED" && own.status != "UNSHOWN")
    refuse("status", "one of a mutant");
  if (record.contains("killed_by")) {
    const json& kill = object_in(record, "killed_by");
    const std::string tensor = optional_text_in(kill, "tensor");
    own.check = text_in(kill, "check") + (tensor.empty() ? "" : " of " + tensor);
    own.case_text = text_in(kill, "case");
    own.message = text_in(kill, "message");
  }
  for (const auto& [check, cases] : object_in(record, "seen_by").items()) {
    const Index count = count_of(cases, check);
    own.seen_by.push_back(count == 1 ? printable(check)
                                     : fmt::format("{} x{}", printable(check), count));
  }
  if (record.contains("environment")) add_environment(record, records);
  records.mutants.push_back(std::move(own));
}

void add_record(const std::string& source, const std::string& line, Records& records) {
  const json record = json::parse(line, nullptr, false);
  if (record.is_discarded()) throw BadRecord("is no JSON (cut off or damaged)");
  if (!record.is_object()) throw BadRecord("is no JSON object");
  const json& schema = member(record, "schema");
  if (schema != record_schema)
    throw BadRecord(fmt::format("has schema {}; this program reads schema {}",
                                shown(schema.dump(-1, ' ', true, json::error_handler_t::replace)),
                                record_schema));
  if (record.contains("mutant")) return add_mutant(source, record, records);
  if (record.contains("calibration")) {
    try {
      add_line(record, records.calibrations);
    } catch (const json::exception&) {
      throw BadRecord("is no line of a calibration");
    }
    return;
  }
  const RecordOrigin origin{source, text_in(record, "case"), text_in(record, "id"),
                            text_in(record, "operator")};
  if (record.contains("kind")) {
    const std::string kind = text_in(record, "kind");
    if (kind == versus_kind)
      add_comparison(origin, record, records);
    else if (kind == bench_kind)
      add_timing(origin, record, records);
    else
      refuse("kind", "one that this program knows");
  } else if (record.contains("path")) {
    add_result(origin, record, records);
  } else if (record.contains("equality")) {
    ReportedContract contract;
    static_cast<RecordOrigin&>(contract) = origin;
    contract.equality = {text_in(record, "equality"), text_in(record, "why"), std::nullopt};
    if (status_in(record) != Status::passed)
      contract.equality.violation = optional_text_in(record, "violation");
    records.contracts.push_back(std::move(contract));
  } else if (record.contains("observation")) {
    ReportedContract observation;
    static_cast<RecordOrigin&>(observation) = origin;
    observation.equality = {text_in(record, "observation"), text_in(record, "why"), std::nullopt,
                            false};
    if (!truth_in(record, "same"))
      observation.equality.violation = optional_text_in(record, "difference");
    records.observations.push_back(std::move(observation));
  } else if (record.contains("raised_limit_problem")) {
    ReportedProblem problem;
    static_cast<RecordOrigin&>(problem) = origin;
    problem.text = text_in(record, "raised_limit_problem");
    records.problems.push_back(std::move(problem));
  } else {
    throw BadRecord("is no result, bitwise contract, raised limit, comparison, timing or mutant");
  }
}

void read_file(const std::string& name, Records& records) {
  const auto unreadable = [&](int reason) {
    throw UsageError(fmt::format("{}: cannot be read: {}", name, std::strerror(reason)));
  };
  std::error_code ignored;
  if (std::filesystem::is_directory(name, ignored)) unreadable(EISDIR);
  errno = 0;
  std::ifstream file(name, std::ios::binary);
  if (!file) unreadable(errno);
  std::string line;
  Index number = 0, found = 0;
  while (std::getline(file, line)) {
    ++number;
    if (trim(line).empty()) continue;
    const std::string source = fmt::format("{}:{}", name, number);
    try {
      add_record(source, line, records);
    } catch (const BadRecord& bad) {
      throw UsageError(fmt::format("{}: {}", source, bad.what()));
    }
    ++found;
  }
  if (file.bad()) unreadable(errno);
  if (found == 0) throw UsageError(fmt::format("{}: holds no result", name));
}

// ---- evidence

// Why the evidence of a variant is STALE, if it is.
std::string staleness(const Evidence& evidence, const RecordOrigin& own, const std::string& path) {
  try {
    const Operator& op = operator_of(parse_case(own.case_text, grammars()));
    return evidence.staleness(own.operator_name, *op.path(checked_variant(op, path).path));
  } catch (const UsageError& error) {
    return error.what();
  }
}

void mark(const Evidence& evidence, ReportedResult& own, ReportedEvidence& file) {
  std::string note =
      printable(fmt::format("evidence from {}, {}", own.result.device, evidence.origin.date));
  ++file.results;
  if (const std::string stale = staleness(evidence, own, own.result.path); !stale.empty()) {
    add_remark(note, fmt::format("STALE: {}", stale));
    ++file.stale;
    const std::string path = own.result.path.substr(0, own.result.path.find_first_of("[:"));
    std::string reason = fmt::format("{}: {}", path, stale);
    if (std::ranges::find(file.reasons, reason) == file.reasons.end())
      file.reasons.push_back(std::move(reason));
  }
  add_remark(own.result.note, note);
}

void read_evidence_file(const std::string& name, Records& records) {
  const Evidence evidence = read_evidence(name);
  ReportedEvidence file{name,
                        printable(evidence.device()),
                        printable(evidence.origin.date),
                        printable(evidence.origin.driver),
                        printable(evidence.origin.toolkit),
                        0,
                        0,
                        {}};
  const auto require_whole = [](const std::string& source, const std::vector<std::string>& damage) {
    if (!damage.empty()) throw UsageError(fmt::format("{}: {}", source, damage.front()));
  };
  require_whole(name, evidence.damage);
  for (const EvidenceCase& own : evidence.cases) {
    const std::string source = fmt::format("{}: /{}", name, own.id);
    require_whole(source, own.damage);
    const std::size_t before = records.results.size();
    for (const std::string_view line : split(own.record, '\n')) {
      if (line.empty()) continue;
      try {
        add_record(source, std::string(line), records);
      } catch (const BadRecord& bad) {
        throw UsageError(fmt::format("{}: {}", source, bad.what()));
      }
    }
    for (std::size_t i = before; i < records.results.size(); ++i)
      mark(evidence, records.results[i], file);
  }
  records.evidence.push_back(std::move(file));
}

}  // namespace

std::string ReportedComparison::paths() const {
  return fmt::format("{} against {}", report.names[0], report.names[1]);
}

double ReportedResult::ratio() const {
  const TensorVerdict* const tensor = result.verdict.worst();
  const Clause* const clause = tensor != nullptr ? tensor->worst() : nullptr;
  return clause != nullptr ? clause->ratio() : 0;
}

std::string ReportedResult::worst_clause() const {
  const TensorVerdict* const tensor = result.verdict.worst();
  const Clause* const clause = tensor != nullptr ? tensor->worst() : nullptr;
  if (clause == nullptr) return "";
  return fmt::format("{} {} / {} ({})", clause->name, short_number(clause->value),
                     short_number(clause->limit), tensor->tensor);
}

std::string ReportedResult::finding() const {
  std::vector<std::string> parts;
  if (stage_diverges) parts.push_back(stages);
  for (const TensorVerdict& tensor : result.verdict.tensors)
    if (!tensor.finding.empty())
      parts.push_back(fmt::format("{}: {}", tensor.tensor, tensor.finding));
  if (!result.note.empty()) parts.push_back(result.note);
  return fmt::format("{}", fmt::join(parts, "; "));
}

Records read_records(const std::vector<std::string>& files) {
  Records records;
  records.files = files;
  for (const std::string& file : files)
    if (file.ends_with(".h5"))
      read_evidence_file(file, records);
    else
      read_file(file, records);
  return records;
}

bool is_failure(Status status) { return status == Status::failed || status == Status::mistrusted; }

bool is_judged(Status status) {
  return status != Status::unsupported && status != Status::unavailable;
}

std::string short_number(double x) {
  if (std::isnan(x)) return "NaN";
  if (std::isinf(x)) return x > 0 ? "infinite" : "-infinite";
  return fmt::format("{:.3g}", x);
}

std::string printable(std::string_view text) {
  constexpr std::string_view replacement = "\xEF\xBF\xBD";
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if ((byte < 0x20 && byte != '\t' && byte != '\n') || byte == 0x7f) {
      result += replacement;
    } else if (text.substr(i).starts_with("\xEF\xBF\xBE") ||
               text.substr(i).starts_with("\xEF\xBF\xBF")) {
      result += replacement;
      i += 2;
    } else {
      result += text[i];
    }
  }
  return result;
}

}  // namespace groundstate::harness
