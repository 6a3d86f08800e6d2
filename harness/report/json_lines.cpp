#include "harness/report/json_lines.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <system_error>

#include "harness/case/error.hpp"

namespace groundstate::harness {

JsonLines::JsonLines(const std::filesystem::path& path, long long keep) : path_(path), size_(keep) {
  if (path == "-") {
    file_ = STDOUT_FILENO;
    return;
  }
  std::error_code ignored;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), ignored);
  const int truncate = keep > 0 ? 0 : O_TRUNC;
  file_ = open(path.c_str(), O_WRONLY | O_CREAT | truncate | O_CLOEXEC, 0666);
  if (file_ < 0 || (keep > 0 && (ftruncate(file_, keep) != 0 || lseek(file_, keep, SEEK_SET) < 0)))
    throw UsageError(fmt::format("{}: cannot be written: {}", path.string(), std::strerror(errno)));
}

JsonLines::~JsonLines() {
  if (file_ > STDOUT_FILENO) close(file_);
}

void JsonLines::write(const nlohmann::json& object) {
  // Text from a hostile file may not be UTF-8; what is not is replaced.
  const std::string line =
      object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  for (std::size_t done = 0; done < line.size();) {
    const ssize_t count = ::write(file_, line.data() + done, line.size() - done);
    if (count > 0) {
      done += static_cast<std::size_t>(count);
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    const int reason = errno;
    if (file_ == STDOUT_FILENO) throw std::system_error(reason, std::generic_category());
    if (ftruncate(file_, size_) != 0) {
      // A device, not a file: there is nothing to take back.
    }
    throw ResourceError(
        fmt::format("{}: writing failed: {}", path_.string(), std::strerror(reason)));
  }
  size_ += static_cast<long long>(line.size());
}

}  // namespace groundstate::harness
