#include "harness/report/gnuplot.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string_view>
#include <system_error>

#include "harness/case/error.hpp"

namespace groundstate::harness {
namespace {

namespace fs = std::filesystem;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::error_code error;
    std::string pattern = (fs::temp_directory_path(error) / "groundstate-report-XXXXXX").string();
    if (error || mkdtemp(pattern.data()) == nullptr)
      throw ResourceError(
          fmt::format("{}: a temporary folder cannot be made: {}", pattern, std::strerror(errno)));
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// Why gnuplot did not run the script in that folder to its end; empty when it did. -d: whoever runs
// this has start-up files of gnuplot that are not ours.
std::string run_gnuplot(const fs::path& folder) {
  std::array<std::string, 3> words = {"gnuplot", "-d", "plots.gp"};
  std::array<char*, 4> argv = {words[0].data(), words[1].data(), words[2].data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const int error = posix_spawnp(&child, "gnuplot", &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error == ENOENT) return "gnuplot is not installed";
  if (error != 0) return fmt::format("gnuplot cannot be run: {}", std::strerror(error));
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127) return "gnuplot is not installed";
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? "" : "gnuplot failed";
}

std::string replaced(std::string text, std::string_view word, std::string_view by) {
  for (std::size_t at = 0; (at = text.find(word, at)) != text.npos; at += by.size())
    text.replace(at, word.size(), by);
  return text;
}

std::string without(std::string text, std::string_view begin, std::string_view end) {
  for (std::size_t at = 0; (at = text.find(begin, at)) != text.npos;) {
    const std::size_t last = text.find(end, at + begin.size());
    if (last == text.npos) return text;
    text.erase(at, last + end.size() - at);
  }
  return text;
}

std::string for_a_page(std::string svg) {
  svg.erase(0, svg.find("<svg"));
  svg = without(svg, "<title>", "</title>");
  svg = without(svg, "<desc>", "</desc>");
  svg = without(svg, "<defs>", "</defs>");
  svg = without(svg, " id=\"", "\"");
  svg = without(svg, " font-family=\"", "\"");
  svg = without(svg, "xmlns:xlink=\"", "\"");
  for (const char quote : {'\'', '"'})
    svg = replaced(svg, fmt::format("{0}black{0}", quote), "\"currentColor\"");
  const std::array<const char*, 5> names = {"path", "peak", "emulation", "limit", "faint"};
  // Lines and texts write a colour in two ways.
  for (std::size_t i = 0; i < names.size(); ++i)
    for (const bool padded : {false, true})
      svg = replaced(svg,
                     padded ? fmt::format("rgb({:3}, {:3}, {:3})", i + 1, 0, 0)
                            : fmt::format("rgb({},0,0)", i + 1),
                     fmt::format("var(--{})", names[i]));
  // Half of a picture is white space and empty groups.
  static const std::regex empty_group("<g [^>]*>\\s*</g>"), space("\\s*\\n\\s*");
  return std::regex_replace(std::regex_replace(svg, empty_group, ""), space, "\n");
}

}  // namespace

Drawings draw_with_gnuplot(const std::vector<std::string>& scripts) {
  if (scripts.empty()) return {};
  const TemporaryFolder folder;
  {
    std::ofstream file(folder.path() / "plots.gp", std::ios::binary);
    file << "set encoding utf8\n"
            "set terminal svg size 460,250 dynamic font 'sans-serif,13'\n";
    for (std::size_t i = 0; i < scripts.size(); ++i)
      file << fmt::format("set output '{}.svg'\n{}\nunset output\nreset\n", i, scripts[i]);
    file.flush();
    if (!file) throw ResourceError(fmt::format("{}: writing failed", folder.path().string()));
  }
  Drawings result;
  result.missing = run_gnuplot(folder.path());
  if (!result.missing.empty()) return result;
  for (std::size_t i = 0; i < scripts.size(); ++i) {
    std::ifstream file(folder.path() / fmt::format("{}.svg", i), std::ios::binary);
    std::string svg{std::istreambuf_iterator<char>(file), {}};
    if (svg.find("</svg>") == svg.npos) return {{}, "gnuplot failed"};
    result.svg.push_back(for_a_page(std::move(svg)));
  }
  return result;
}

}  // namespace groundstate::harness
