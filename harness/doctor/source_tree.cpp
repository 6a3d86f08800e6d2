#include "harness/doctor/source_tree.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <system_error>

namespace groundstate::harness {

namespace fs = std::filesystem;

SourceTree::SourceTree(fs::path root) : root_(std::move(root)) {
  const std::optional<std::string> build = text("CMakeLists.txt");
  if (build && build->find("project(groundstate ") != build->npos) return;
  std::error_code ignored;
  throw NoSourceTree(fmt::format("{} is not the root of a source tree of groundstate",
                                 (root_.empty() ? fs::current_path(ignored) : root_).string()));
}

bool SourceTree::has(std::string_view name) const {
  std::error_code ignored;
  return fs::is_regular_file(path(name), ignored);
}

std::optional<std::string> SourceTree::text(std::string_view name) const {
  if (!has(name)) return std::nullopt;
  std::ifstream file(path(name), std::ios::binary);
  std::string content{std::istreambuf_iterator<char>(file), {}};
  if (!file) return std::nullopt;
  return content;
}

std::vector<std::string> SourceTree::files(std::string_view folder) const {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(path(folder), error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_regular_file(ignored)) names.push_back(entry->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace groundstate::harness
