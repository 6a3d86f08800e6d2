#include "harness/report/recorded_run.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>
#include <utility>

#include "harness/case/error.hpp"
#include "harness/case/text.hpp"

namespace groundstate::harness {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

// How every record begins: keys are written in the order of the alphabet.
constexpr std::string_view first_bytes = R"({"case":")";

struct Record {
  std::string case_text, id, request;
  Index records = 0;  // of its case
  Status status = Status::passed;
  enum class Kind : std::uint8_t {
    result,
    contract,
    observation,
    raised_limit
  } kind = Kind::result;
  Json environment;  // of a result
};

std::optional<Status> status_named(std::string_view name) {
  for (const Status status : {Status::passed, Status::marginal, Status::failed, Status::mistrusted,
                              Status::unavailable, Status::unsupported})
    if (name_of(status) == name) return status;
  return {};
}

std::optional<std::string> text_at(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) return {};
  return found->get<std::string>();
}

std::optional<Record> read_record(const std::string& line) {
  const Json object = Json::parse(line, nullptr, false);
  if (!object.is_object()) return {};
  const auto case_text = text_at(object, "case"), id = text_at(object, "id"),
             request = text_at(object, "request");
  const std::optional<Status> status = status_named(text_at(object, "status").value_or(""));
  const auto records = object.find("records");
  if (!case_text || !id || !request || !status || records == object.end() ||
      !records->is_number_integer())
    return {};
  Record record{*case_text,           *id, *request, records->get<Index>(), *status,
                Record::Kind::result, {}};
  if (object.contains("equality")) {
    record.kind = Record::Kind::contract;
  } else if (object.contains("observation")) {
    record.kind = Record::Kind::observation;
  } else if (object.contains("raised_limit_problem")) {
    record.kind = Record::Kind::raised_limit;
  } else {
    if (!object.contains("path") || !object.contains("environment")) return {};
    record.environment = object["environment"];
  }
  return record.records > 0 ? std::optional(std::move(record)) : std::nullopt;
}

void count(const Record& record, Tally& tally) {
  switch (record.kind) {
    case Record::Kind::result:
      tally.add(record.status);
      break;
    case Record::Kind::contract:
      ++tally.equalities;
      tally.broken_equalities += record.status == Status::failed;
      break;
    case Record::Kind::observation:
      break;
    case Record::Kind::raised_limit:
      ++tally.raised_limit_problems;
      break;
  }
}

// What differs between two environments, empty when they are of one program.
std::string difference(Json recorded, Json now) {
  if (!recorded.is_object()) return "names no environment";
  recorded.erase("threads");
  now.erase("threads");
  for (const auto& [key, value] : now.items())
    if (!recorded.contains(key) || recorded[key] != value)
      return fmt::format("was written by another program: its {} is {}, here it is {}", key,
                         recorded.contains(key) ? shown(recorded[key].dump()) : "not given",
                         shown(value.dump()));
  return recorded == now ? "" : "was written by another program: its environment says more";
}

class Reader {
 public:
  Reader(const std::string& path, const std::vector<RequestedCase>& requested)
      : path_(path), requested_(requested), now_(environment()) {
    run_.cases.resize(requested.size());
    for (std::size_t i = requested.size(); i-- > 0;) places_[requested[i].id].push_back(i);
  }

  RecordedRun read() {
    std::ifstream file(path_, std::ios::binary);
    if (!file) throw UsageError(fmt::format("{}: {}", path_, std::strerror(errno)));
    long long begin = 0;
    for (std::string line; std::getline(file, line);) {
      const bool ended = !file.eof();  // a last line without its end was cut off
      ++number_;
      const std::optional<Record> record = ended ? read_record(line) : std::nullopt;
      const long long end = begin + static_cast<long long>(line.size()) + (ended ? 1 : 0);
      if (!record) {
        const bool last = !ended || file.peek() == std::ifstream::traits_type::eof();
        if (last && (is_ours_ || looks_cut_off(line))) break;
        refuse("is no result of `groundstate run`");
      }
      is_ours_ = true;
      add(*record, {begin, end});
      begin = end;
    }
    if (file.bad()) throw ResourceError(fmt::format("{}: reading failed", path_));
    return std::move(run_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw UsageError(
        fmt::format("{}: line {} {}; without --resume the file is replaced", path_, number_, what));
  }

  static bool looks_cut_off(std::string_view line) {
    return line.starts_with(first_bytes) || first_bytes.starts_with(line);
  }

  void add(const Record& record, const FilePart& line) {
    if (left_ == 0) begin_case(record, line.begin);
    if (record.id != id_ || record.records != records_)
      refuse(fmt::format("is of another case, and {} of {} records of the case before are missing",
                         left_, records_));
    if (record.request != requested_[place_].request)
      refuse("is of a run with other options, paths or raised limits");
    if (record.kind == Record::Kind::result)
      if (const std::string other = difference(record.environment, now_); !other.empty())
        refuse(other);
    count(record, current_.tally);
    if (--left_ > 0) return;
    current_.lines.end = line.end;
    run_.cases[place_] = current_;
    run_.size = line.end;
    places_[id_].pop_back();
  }

  void begin_case(const Record& record, long long begin) {
    const auto found = places_.find(record.id);
    if (found == places_.end())
      refuse(fmt::format("is of the case '{}', which this run does not have",
                         shown(record.case_text)));
    if (found->second.empty())
      refuse(fmt::format("is of the case '{}' once more than this run has it",
                         shown(record.case_text)));
    id_ = record.id;
    place_ = found->second.back();
    left_ = records_ = record.records;
    current_ = {};
    current_.lines.begin = begin;
    current_.tally.cases = 1;
  }

  const std::string& path_;
  const std::vector<RequestedCase>& requested_;
  Json now_;
  RecordedRun run_;
  std::map<std::string, std::vector<std::size_t>>
      places_;            // of requested cases, the first one last
  Index number_ = 0;      // of the line
  bool is_ours_ = false;  // one of the lines was
  // The case that is being read.
  std::string id_;
  std::size_t place_ = 0;
  Index left_ = 0, records_ = 0;
  RecordedCase current_;
};

}  // namespace

RecordedRun read_recorded_run(const std::string& path,
                              const std::vector<RequestedCase>& requested) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found)
    return {std::vector<std::optional<RecordedCase>>(requested.size()), 0};
  if (status.type() != fs::file_type::regular)
    throw UsageError(fmt::format("{}: not a file that a run can be resumed from", path));
  return Reader(path, requested).read();
}

std::vector<std::string> lines_of(const std::string& path, const FilePart& part) {
  std::ifstream file(path, std::ios::binary);
  file.seekg(part.begin);
  std::vector<std::string> lines;
  for (std::string line; file.tellg() < part.end && std::getline(file, line);)
    lines.push_back(line);
  if (!file) throw ResourceError(fmt::format("{}: reading failed", path));
  return lines;
}

void put_in_order(const std::string& path, const std::vector<FilePart>& parts) {
  long long end = 0;
  const bool in_order = std::all_of(parts.begin(), parts.end(), [&](const FilePart& part) {
    return part.begin == std::exchange(end, part.end);
  });
  if (in_order) return;
  const std::string real = fs::canonical(path).string();  // a link stays a link
  std::string name = real + ".XXXXXX";
  const int descriptor = mkstemp(name.data());
  const auto failed = [&](const char* reason) {
    if (descriptor >= 0) unlink(name.c_str());
    return ResourceError(fmt::format("{}: putting it in order failed: {}", path, reason));
  };
  if (descriptor < 0) throw failed(std::strerror(errno));
  struct stat status {};
  if (stat(real.c_str(), &status) == 0 && fchmod(descriptor, status.st_mode & 07777) != 0) {
    // It is then readable by its owner alone, as temporary files are.
  }
  close(descriptor);
  std::ofstream file(name, std::ios::binary);
  for (const FilePart& part : parts)
    for (const std::string& line : lines_of(real, part)) file << line << '\n';
  file.close();
  if (!file) throw failed("the disk is full or fails");
  if (rename(name.c_str(), real.c_str()) != 0) throw failed(std::strerror(errno));
}

}  // namespace groundstate::harness
