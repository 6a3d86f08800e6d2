#include <fmt/format.h>

#include <algorithm>

#include "harness/doctor/checks.hpp"

namespace groundstate::harness {

Finding check_evidence(const SourceTree& tree, const std::string& operator_name,
                       std::span<const Path> paths) {
  Finding result{"evidence", operator_name};
  const auto devices = std::ranges::count_if(paths, &Path::needs_device);
  if (devices == 0) {
    result.note = "no GPU paths";
    return result;
  }
  std::string name = operator_name;
  std::ranges::replace(name, '.', '_');
  const std::vector<std::string> files = tree.files("data/evidence");
  const auto found = std::ranges::count_if(files, [&](const std::string& file) {
    return file.starts_with(name + ".") || file.starts_with(name + "-");
  });
  if (found == 0)
    result.missing.push_back(
        fmt::format("{} GPU paths, and no file data/evidence/{}.*", devices, name));
  result.note = fmt::format("{} files for {} GPU paths", found, devices);
  return result;
}

}  // namespace groundstate::harness
