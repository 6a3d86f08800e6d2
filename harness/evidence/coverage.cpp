#include "harness/evidence/coverage.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "harness/case/error.hpp"
#include "harness/case/path_variant.hpp"
#include "harness/case/text.hpp"

namespace groundstate::harness {
namespace {

// The path of a variant that somebody recorded; empty for what is none.
std::string path_of(const std::string& variant) {
  try {
    return split_path_variant(variant).path;
  } catch (const UsageError&) {
    return "";
  }
}

}  // namespace

EvidenceFolder read_evidence_folder(const std::filesystem::path& folder) {
  std::vector<std::string> files;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored))
    if (entry.path().extension() == ".h5") files.push_back(entry.path().string());
  std::ranges::sort(files);
  EvidenceFolder result;
  for (const std::string& file : files) {
    try {
      result.files.push_back(read_evidence(file));
    } catch (const UsageError& error) {
      result.unreadable.push_back(error.what());
    }
  }
  return result;
}

Coverage coverage(const std::vector<Evidence>& evidence, const std::string& operator_name,
                  const Path& path) {
  Coverage result;
  for (const Evidence& own : evidence) {
    const std::string staleness = own.staleness(operator_name, path);
    for (const EvidenceCase& each : own.cases) {
      if (each.operator_name != operator_name) continue;
      for (const EvidenceResult& recorded : each.results) {
        if (path_of(recorded.path) != path.name) continue;
        if (!staleness.empty()) {
          result.stale.emplace(each.id, staleness);
          continue;
        }
        result.cases.insert(each.id);
        result.devices.insert(recorded.device);
      }
    }
  }
  std::erase_if(result.stale, [&](const auto& own) { return result.cases.contains(own.first); });
  return result;
}

std::string Coverage::mark() const {
  if (!stale.empty()) return "STALE";
  if (cases.empty()) return "no evidence";
  std::set<std::string> names;
  for (const std::string& device : devices) names.insert(short_device_name(device));
  return fmt::format("evidence {}", fmt::join(names, " "));
}

std::string short_device_name(const std::string& device) {
  const std::vector<std::string_view> parts = words(device);
  const bool maker = parts.size() > 1 && parts[0] == "NVIDIA";
  return parts.empty() ? device : std::string(parts[maker ? 1 : 0]);
}

}  // namespace groundstate::harness
