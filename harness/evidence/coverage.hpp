// What evidence there is of one path, in any number of files.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "harness/evidence/evidence.hpp"

namespace groundstate::harness {

inline constexpr const char* evidence_folder = "data/evidence";  // of a source tree

// Every *.h5 of a folder, in the order of their names; none where there is no such folder.
struct EvidenceFolder {
  std::vector<Evidence> files;
  std::vector<std::string> unreadable;  // why, naming the file
};
EvidenceFolder read_evidence_folder(const std::filesystem::path& folder);

struct Coverage {
  std::set<std::string> devices;             // of evidence that holds
  std::set<std::string> cases;               // their ids, where some evidence holds
  std::map<std::string, std::string> stale;  // of other cases: id -> why

  // "evidence H100", "STALE", "no evidence"
  std::string mark() const;
};
Coverage coverage(const std::vector<Evidence>& evidence, const std::string& operator_name,
                  const Path& path);

// "NVIDIA H100 80GB HBM3" -> "H100"
std::string short_device_name(const std::string& device);

}  // namespace groundstate::harness
