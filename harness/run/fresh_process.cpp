#include "harness/run/fresh_process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <vector>

#include "harness/case/error.hpp"
#include "harness/fixture/match.hpp"
#include "harness/fixture/read.hpp"

extern char** environ;  // NOLINT(readability-redundant-declaration): POSIX has it in no header

namespace groundstate::harness {
namespace {

// A folder that is there as long as this object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "groundstate-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr)
      throw ResourceError(fmt::format("{}: cannot be created: {}", name, std::strerror(errno)));
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string file(const char* name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

// Its exit status, or 128 and the signal. What it prints is of no interest.
int run_program(std::vector<std::string> words) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const int error =
      posix_spawn(&child, arguments.front(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0)
    throw ResourceError(
        fmt::format("{} cannot be started: {}", words.front(), std::strerror(error)));
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

Tensors in_fresh_process(const std::string& program, const std::string& case_text,
                         const std::string& variant, const Tensors& expected) {
  const TemporaryFolder folder;
  const std::string file = folder.file("outputs.h5");
  const int status =
      run_program({program, "run", case_text, "--path", variant, "--save", file, "--no-contracts",
                   "--pairs", "1", "--max-cost", "1e300", "--max-memory", "1e6"});
  if (!std::filesystem::exists(file))
    throw ResourceError(fmt::format("a fresh process ended with {} and saved nothing", status));
  Tensors result;
  const std::vector<FixtureCase> saved = read_fixture(file);
  for (const FixtureDataset& dataset : saved.front().outputs.front().tensors.datasets) {
    const Tensor* const own = find(expected, dataset.name);
    if (own != nullptr)
      result.push_back(to_tensor(dataset, Tensor::borrow(own->name(), own->type(), own->axes(),
                                                         nullptr, nullptr, own->storage_order())));
  }
  return result;
}

}  // namespace groundstate::harness
