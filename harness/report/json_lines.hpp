// Writes a file of JSON objects, one a line, that is valid whenever it is looked at.
//
// A line reaches the file whole or not at all: a write that fails half-way (disk full) is taken
// back. Throws UsageError when the file cannot be created, ResourceError when writing fails. "-" is
// standard output, whose failures are a std::system_error, as those of fmt::print are.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>

namespace groundstate::harness {

class JsonLines {
 public:
  // Creates missing folders above the file. Of an existing file the first `keep` bytes stay.
  explicit JsonLines(const std::filesystem::path& path, long long keep = 0);
  ~JsonLines();
  JsonLines(const JsonLines&) = delete;
  JsonLines& operator=(const JsonLines&) = delete;

  void write(const nlohmann::json& object);
  long long size() const { return size_; }

 private:
  std::filesystem::path path_;
  int file_ = -1;
  long long size_ = 0;  // of the complete lines
};

}  // namespace groundstate::harness
