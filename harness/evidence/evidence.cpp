#include "harness/evidence/evidence.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "harness/case/error.hpp"
#include "harness/case/sha256.hpp"
#include "harness/case/text.hpp"
#include "harness/fixture/read.hpp"
#include "harness/generate/tensor_digest.hpp"
#include "harness/judge/json_number.hpp"

namespace groundstate::harness {
namespace {

using nlohmann::json;

// ---- reading

[[noreturn]] void refuse(std::string_view location, std::string_view reason) {
  throw UsageError(fmt::format("{}: {}", location, reason));
}

Index count_attribute(const Attributes& attributes, std::string_view name,
                      std::string_view location) {
  const auto found = attributes.find(name);
  const auto* const count =
      found == attributes.end() ? nullptr : std::get_if<std::int64_t>(&found->second);
  if (count == nullptr || *count < 1)
    refuse(location, fmt::format("the attribute {} is missing or no count", name));
  return *count;
}

// Empty where the text is the one that was written.
std::vector<std::string> damage_of(std::string_view name, const std::string& text,
                                   const std::string& digest) {
  const std::string own = sha256_of(text);
  if (own == digest) return {};
  return {fmt::format("its {} is not the one that was written: SHA-256 was {}, is {}", name,
                      shown(digest, 64), own)};
}

double number_in(const json& value) {
  if (value == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (value == "inf") return std::numeric_limits<double>::infinity();
  if (value == "-inf") return -std::numeric_limits<double>::infinity();
  return value.get<double>();
}

Status status_in(const json& record) {
  const auto& text = record.at("status").get_ref<const std::string&>();
  for (const Status status : {Status::passed, Status::marginal, Status::failed, Status::mistrusted})
    if (text == name_of(status)) return status;
  throw UsageError(fmt::format("'{}' is no status of a judged result", shown(text)));
}

EvidenceResult::Tensor tensor_in(const json& record) {
  EvidenceResult::Tensor tensor{status_in(record), {}, record.value("finding", "")};
  for (const auto& [name, clause] : record.at("clauses").items()) {
    if (!clause.at("applicable").get<bool>()) continue;
    tensor.clauses[name] = {number_in(clause.at("value")), number_in(clause.at("limit")),
                            clause.value("raised", 1.0), clause.at("passed").get<bool>()};
  }
  return tensor;
}

// The elements that a fixture keeps of an output.
void add_elements(const FixtureGroup& group, const std::string& digest, RecordedOutput& output,
                  std::vector<std::string>& damage) {
  const FixtureDataset* const dataset = group.find(output.name);
  if (dataset == nullptr || dataset->extents.size() != 1 || dataset->type != output.type) {
    damage.push_back(fmt::format("{}: there is no list of {} elements of it", shown(output.name),
                                 name_of(output.type)));
    return;
  }
  const auto count = static_cast<std::size_t>(dataset->extents[0]);
  const std::string own =
      sha256_of({static_cast<const char*>(dataset->data), count * size_of(dataset->type)});
  if (own != digest)
    damage.push_back(
        fmt::format("{}: its elements are not those that were recorded: SHA-256 was {}, is {}",
                    shown(output.name), shown(digest, 64), own));
  for (std::size_t i = 0; i < count; ++i)
    output.elements.push_back(load_element(dataset->type, dataset->data, static_cast<Index>(i)));
}

ElementType type_in(const json& record) {
  const auto& text = record.at("type").get_ref<const std::string&>();
  for (const ElementType type :
       {ElementType::float64, ElementType::float32, ElementType::bfloat16, ElementType::float16})
    if (text == name_of(type)) return type;
  throw UsageError(fmt::format("'{}' is no type of an output", shown(text)));
}

EvidenceResult result_in(const json& record, const FixtureCase& fixture) {
  EvidenceResult result;
  result.path = record.at("path").get<std::string>();
  result.device = record.at("device").get<std::string>();
  result.note = record.value("note", "");
  result.status = status_in(record);
  for (const auto& [name, tensor] : record.at("tensors").items())
    result.tensors[name] = tensor_in(tensor);
  if (!record.contains("outputs")) return result;
  const auto own = std::ranges::find(fixture.outputs, result.path, &FixtureOutput::path);
  const FixtureGroup none;
  for (const auto& [name, output] : record.at("outputs").items()) {
    RecordedOutput& recorded = result.outputs.emplace_back();
    recorded.name = name;
    recorded.type = type_in(output);
    recorded.shape = output.at("shape").get<std::string>();
    recorded.sha256 = output.at("sha256").get<std::string>();
    for (const json& pair : output.at("moments")) {
      std::vector<WindowMoments>& windows = recorded.moments.emplace_back();
      for (const json& window : pair)
        windows.push_back({number_in(window.at(0)), number_in(window.at(1))});
    }
    add_elements(own == fixture.outputs.end() ? none : own->tensors,
                 output.at("kept_sha256").get<std::string>(), recorded, result.damage);
  }
  return result;
}

void add_record(const json& record, const FixtureCase& fixture, EvidenceCase& result) {
  if (record.contains("path")) {
    result.results.push_back(result_in(record, fixture));
  } else if (record.contains("equality")) {
    EvidenceContract contract{record.at("equality").get<std::string>(), std::nullopt};
    if (record.at("status") != name_of(Status::passed))
      contract.violation = record.value("violation", "");
    result.contracts.push_back(std::move(contract));
  } else {
    result.problems.push_back(record.at("raised_limit_problem").get<std::string>());
  }
}

EvidenceCase case_in(const std::string& location, const FixtureCase& fixture) {
  EvidenceCase result;
  result.id = fixture.group.substr(1);
  result.text = text_attribute(fixture.attributes, "case", location);
  result.operator_name = text_attribute(fixture.attributes, "operator", location);
  result.elements = count_attribute(fixture.attributes, "elements", location);
  result.record = text_attribute(fixture.attributes, "record", location);
  result.damage =
      damage_of("record", result.record, text_attribute(fixture.attributes, "sha256", location));
  for (const std::string_view line : split(result.record, '\n')) {
    if (line.empty()) continue;
    try {
      add_record(json::parse(line), fixture, result);
    } catch (const json::exception& error) {
      refuse(location, fmt::format("its record makes no sense: {}", shown(error.what(), 200)));
    } catch (const UsageError& error) {
      refuse(location, fmt::format("its record makes no sense: {}", error.what()));
    }
  }
  if (result.results.empty()) refuse(location, "its record holds no result");
  return result;
}

Origin origin_in(const std::string& text) {
  const json record = json::parse(text);
  Origin origin{record.at("date").get<std::string>(),
                record.at("driver").get<std::string>(),
                record.at("toolkit").get<std::string>(),
                {}};
  for (const auto& [key, source] : record.at("sources").items())
    for (const auto& [name, file] : source.at("files").items())
      origin.sources[key].files[name] = {file.at("code").get<std::string>(),
                                         file.value("flags", "")};
  return origin;
}

// ---- writing

json to_record(const Origin& origin) {
  json record = {{"date", origin.date},
                 {"driver", origin.driver},
                 {"toolkit", origin.toolkit},
                 {"sources", json::object()}};
  for (const auto& [key, source] : origin.sources) {
    json& own = record["sources"][key] = {{"sha256", source.sha256()}, {"files", json::object()}};
    for (const auto& [name, file] : source.files) {
      own["files"][name] = {{"code", file.code}};
      if (!file.flags.empty()) own["files"][name]["flags"] = file.flags;
    }
  }
  return record;
}

bool is_recorded(const Result& result) {
  return result.status != Status::unsupported && result.status != Status::unavailable;
}

Tensor elements_tensor(const RecordedOutput& output) {
  Tensor tensor = Tensor::allocate(output.name, output.type,
                                   {{"kept", static_cast<Index>(output.elements.size()), 0}});
  for (std::size_t i = 0; i < output.elements.size(); ++i)
    tensor.store(static_cast<Index>(i), output.elements[i]);
  return tensor;
}

json to_record(const RecordedOutput& output) {
  json record = {{"type", name_of(output.type)},
                 {"shape", output.shape},
                 {"sha256", output.sha256},
                 {"kept_sha256", sha256_of(elements_tensor(output))},
                 {"moments", json::array()}};
  for (const std::vector<WindowMoments>& pair : output.moments) {
    json windows = json::array();
    for (const WindowMoments& window : pair)
      windows.push_back({json_number(window.mean), json_number(window.rms)});
    record["moments"].push_back(std::move(windows));
  }
  return record;
}

// A line a record, those of the results with their outputs.
std::string record_of(const CaseReport& report, bool pictures) {
  std::string text;
  auto result = report.results.begin();
  for (json& record : to_records(report)) {
    if (record.contains("path")) {
      for (const RecordedOutput& output : result->recorded)
        record["outputs"][output.name] = to_record(output);
      if (!pictures)
        for (json& tensor : record["tensors"]) tensor.erase("picture");
      ++result;
    }
    // Of the request nobody asks any more.
    for (const char* const key : {"request", "records"}) record.erase(key);
    text += record.dump(-1, ' ', false, json::error_handler_t::replace) + '\n';
  }
  return text;
}

void write_outputs(FixtureWriter& writer, const CaseReport& report) {
  std::map<std::pair<std::string, std::string>, std::string> written;  // name and bits -> dataset
  for (const Result& result : report.results)
    for (const RecordedOutput& output : result.recorded) {
      const std::string group = fmt::format("outputs/{}", result.path);
      const auto [place, is_new] = written.try_emplace(
          {fmt::format("{} {}", name_of(output.type), output.name), output.sha256},
          fmt::format("{}/{}", group, output.name));
      if (is_new)
        writer.write(group, elements_tensor(output));
      else
        writer.link(place->second, group, output.name);
    }
}

}  // namespace

std::string source_key(const std::string& operator_name, const std::string& path) {
  return fmt::format("{} {}", operator_name, path);
}

std::string Evidence::device() const {
  std::set<std::string> devices;
  for (const EvidenceCase& own : cases)
    for (const EvidenceResult& result : own.results) devices.insert(result.device);
  return devices.empty() ? "-" : fmt::format("{}", fmt::join(devices, ", "));
}

std::string Evidence::staleness(const std::string& operator_name, const Path& path) const {
  const auto recorded = origin.sources.find(source_key(operator_name, path.name));
  if (recorded == origin.sources.end()) return "nothing is known of its source";
  return harness::staleness(recorded->second, source_of(operator_name, path));
}

Evidence read_evidence(const std::string& file) {
  const std::vector<FixtureCase> fixtures = read_fixture(file);
  const Attributes& root = fixtures.front().file_attributes;
  const auto version = root.find("evidence");
  if (version == root.end())
    refuse(file, "not a file of evidence, whose root has the attribute evidence");
  if (version->second != Attribute(std::int64_t{evidence_version}))
    refuse(file, fmt::format("this program reads evidence of version {}", evidence_version));
  Evidence evidence;
  evidence.file = file;
  const std::string origin = text_attribute(root, "origin", file);
  evidence.damage = damage_of("origin", origin, text_attribute(root, "sha256", file));
  try {
    evidence.origin = origin_in(origin);
  } catch (const json::exception& error) {
    refuse(file, fmt::format("its origin makes no sense: {}", shown(error.what(), 200)));
  }
  for (const FixtureCase& fixture : fixtures) {
    if (fixture.group == "/") refuse(file, "holds no evidence: there are no groups of cases");
    evidence.cases.push_back(case_in(fmt::format("{}: {}", file, fixture.group), fixture));
  }
  return evidence;
}

void EvidenceWriter::add(CaseReport report) {
  std::erase_if(report.results, [](const Result& own) { return !is_recorded(own); });
  if (report.results.empty()) return;
  const std::string record = record_of(report, pictures_);
  writer_.begin_case(fmt::format("/{}", report.id), report.case_text, report.operator_name);
  writer_.attribute("", "elements", std::int64_t{elements_});
  writer_.attribute("", "sha256", sha256_of(record));
  writer_.text("", "record", record);
  write_outputs(writer_, report);
  results_ += static_cast<Index>(report.results.size());
}

void EvidenceWriter::commit(const Origin& origin) {
  const std::string text = to_record(origin).dump(-1, ' ', false, json::error_handler_t::replace);
  writer_.attribute("/", "schema", std::int64_t{fixture_schema});
  writer_.attribute("/", "evidence", std::int64_t{evidence_version});
  writer_.attribute("/", "sha256", sha256_of(text));
  writer_.text("/", "origin", text);
  writer_.commit();
}

}  // namespace groundstate::harness
