#include "harness/golden/clean_tree.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "harness/case/error.hpp"
#include "harness/case/text.hpp"

namespace groundstate::harness {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t listed = 5;  // files named one by one

// What a child prints, kept in memory: it can never wait for a reader.
class Captured {
 public:
  Captured() : descriptor_(memfd_create("captured", MFD_CLOEXEC)) {
    if (descriptor_ < 0)
      throw ResourceError(fmt::format("git cannot be run: {}", std::strerror(errno)));
  }
  Captured(const Captured&) = delete;
  Captured& operator=(const Captured&) = delete;
  ~Captured() { close(descriptor_); }

  int descriptor() const { return descriptor_; }
  std::string text() const {
    std::string result;
    std::array<char, 4096> buffer;
    for (ssize_t count; (count = pread(descriptor_, buffer.data(), buffer.size(),
                                       static_cast<off_t>(result.size()))) > 0;)
      result.append(buffer.data(), static_cast<std::size_t>(count));
    return result;
  }

 private:
  int descriptor_;
};

// A caller that is itself run by git (a hook) has variables that mean another tree or index.
std::vector<char*> environment_without_git() {
  std::vector<char*> result;
  for (char** variable = environ; *variable != nullptr; ++variable)
    if (!std::string_view(*variable).starts_with("GIT_")) result.push_back(*variable);
  result.push_back(nullptr);
  return result;
}

// Standard output of git in that folder. No shell is involved, so names are what they are.
std::string git(const fs::path& folder, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"git", "--no-optional-locks", "-C", folder.string()});
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);

  const Captured output, errors;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output.descriptor(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors.descriptor(), STDERR_FILENO);
  pid_t child = 0;
  const int error =
      posix_spawnp(&child, "git", &actions, nullptr, argv.data(), environment_without_git().data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw UsageError(fmt::format("git cannot be run: {}", std::strerror(error)));
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    const std::string text = errors.text();
    throw UsageError(fmt::format("git says: {}", shown(text.substr(0, text.find('\n')), 300)));
  }
  return output.text();
}

// The names in `git status --porcelain -z`: "XY name\0", after a rename also "old name\0".
std::vector<std::string> changed_files(const std::string& status) {
  std::vector<std::string> names;
  for (std::size_t begin = 0, end; begin < status.size(); begin = end + 1) {
    end = std::min(status.find('\0', begin), status.size());
    const std::string entry = status.substr(begin, end - begin);
    if (entry.size() < 4) continue;
    names.push_back(entry.substr(3));
    if (entry.find_first_of("RC") < 2) end = std::min(status.find('\0', end + 1), status.size());
  }
  return names;
}

}  // namespace

void require_clean_tree(const fs::path& file) {
  std::vector<std::string> names;
  try {
    std::error_code error;
    const fs::path absolute = fs::weakly_canonical(file, error), folder = absolute.parent_path();
    if (error) throw UsageError(error.message());
    std::string own = git(folder, {"rev-parse", "--show-prefix"});
    if (own.ends_with('\n')) own.pop_back();
    own += absolute.filename().string();
    names = changed_files(git(folder, {"status", "--porcelain", "--untracked-files=no", "-z"}));
    std::erase(names, own);
  } catch (const UsageError& error) {
    throw UsageError(fmt::format("{}: is not in a git tree that is known to be clean: {}",
                                 file.string(), error.what()));
  }
  if (names.empty()) return;
  std::string list;
  for (std::size_t i = 0; i < std::min(names.size(), listed); ++i)
    list += fmt::format("{}{}", i == 0 ? "" : ", ", shown(names[i]));
  if (names.size() > listed) list += fmt::format(" and {} more", names.size() - listed);
  throw UsageError(
      fmt::format("{}: is only updated in a clean tree; not committed: {}", file.string(), list));
}

}  // namespace groundstate::harness
