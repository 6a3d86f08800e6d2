// The files of a source tree of groundstate, by their names from its root.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "harness/case/error.hpp"

namespace groundstate::harness {

struct NoSourceTree : UsageError {
  using UsageError::UsageError;
};

class SourceTree {
 public:
  // An empty root is the working directory. Throws NoSourceTree when there is no CMakeLists.txt of
  // groundstate in it.
  explicit SourceTree(std::filesystem::path root = {});

  std::filesystem::path path(std::string_view name) const { return root_ / name; }
  bool has(std::string_view name) const;
  // The content of a file; nothing when it cannot be read.
  std::optional<std::string> text(std::string_view name) const;
  // The names of the files directly in a folder, sorted; none where there is no such folder.
  std::vector<std::string> files(std::string_view folder) const;

 private:
  std::filesystem::path root_;
};

}  // namespace groundstate::harness
