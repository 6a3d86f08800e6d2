#include <fmt/format.h>

#include <algorithm>

#include "harness/doctor/checks.hpp"

namespace groundstate::harness {

Finding check_tests(const SourceTree& tree, const std::string& operator_name) {
  constexpr const char* folder = "tests/reference";
  Finding result{"tests", operator_name};
  const std::size_t point = operator_name.find('.');
  const std::string base = operator_name.substr(0, point);
  std::vector<std::string> files = tree.files(folder);
  std::erase_if(files, [&](const std::string& file) {
    return !file.starts_with(base + "_") || !file.ends_with("_test.cpp");
  });
  if (files.empty())
    result.missing.push_back(fmt::format("there is no {}/{}_*test.cpp", folder, base));
  if (point == operator_name.npos || files.empty()) {
    result.note = fmt::format("{} files", files.size());
    return result;
  }
  const std::string direction = operator_name.substr(point + 1);
  std::erase_if(files, [&](const std::string& file) {
    return tree.text(fmt::format("{}/{}", folder, file)).value_or("").find(direction) ==
           std::string::npos;
  });
  if (files.empty())
    result.missing.push_back(
        fmt::format("no {}/{}_*test.cpp speaks of its {}", folder, base, direction));
  result.note = fmt::format("{} files", files.size());
  return result;
}

}  // namespace groundstate::harness
