#include "harness/report/write_files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <utility>

#include "harness/case/error.hpp"

namespace groundstate::harness {
namespace {

namespace fs = std::filesystem;

// A file under a temporary name beside its target; removed unless it is renamed.
class TemporaryFile {
 public:
  TemporaryFile(const fs::path& target, const std::string& content)
      : target_(target), pattern_(target.string() + ".XXXXXX") {
    const int descriptor = mkostemp(pattern_.data(), O_CLOEXEC);
    if (descriptor < 0)
      throw UsageError(
          fmt::format("{}: cannot be written: {}", target.string(), std::strerror(errno)));
    int error = 0;
    for (std::size_t done = 0; error == 0 && done < content.size();) {
      const ssize_t count = ::write(descriptor, content.data() + done, content.size() - done);
      if (count > 0)
        done += static_cast<std::size_t>(count);
      else if (errno != EINTR)
        error = errno;
    }
    if (error == 0 && (fchmod_as_usual(descriptor) != 0 || fsync(descriptor) != 0)) error = errno;
    if (close(descriptor) != 0 && error == 0) error = errno;
    if (error == 0) return;
    std::remove(pattern_.c_str());
    throw ResourceError(
        fmt::format("{}: writing failed: {}", target.string(), std::strerror(error)));
  }
  ~TemporaryFile() {
    if (!pattern_.empty()) std::remove(pattern_.c_str());
  }
  TemporaryFile(TemporaryFile&& other) noexcept
      : target_(std::move(other.target_)), pattern_(std::exchange(other.pattern_, {})) {}
  TemporaryFile& operator=(TemporaryFile&&) = delete;

  void commit() {
    if (std::rename(pattern_.c_str(), target_.c_str()) != 0)
      throw UsageError(
          fmt::format("{}: cannot be written: {}", target_.string(), std::strerror(errno)));
    pattern_.clear();
  }

 private:
  // mkostemp makes a file for its owner only.
  static int fchmod_as_usual(int descriptor) {
    const mode_t mask = umask(0);
    umask(mask);
    return fchmod(descriptor, 0666 & ~mask);
  }

  fs::path target_;
  std::string pattern_;
};

}  // namespace

void write_files(const fs::path& folder, const std::vector<NamedFile>& files) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error || !fs::is_directory(folder, error))
    throw UsageError(fmt::format("{}: is no folder and cannot be made one{}", folder.string(),
                                 error ? ": " + error.message() : ""));
  std::vector<TemporaryFile> temporary;
  temporary.reserve(files.size());
  for (const NamedFile& file : files) temporary.emplace_back(folder / file.name, file.content);
  for (TemporaryFile& file : temporary) file.commit();
}

}  // namespace groundstate::harness
