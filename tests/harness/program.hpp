// The program under test, from outside: the environment variable GROUNDSTATE names it.
#pragma once

#include <fmt/format.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace groundstate::harness {

struct Ended {
  int code = -1;     // -1: ended by a signal
  std::string text;  // standard output and standard error
};

inline Ended shell(const std::string& command) {
  Ended result;
  FILE* const pipe = popen(fmt::format("{{ {}\n}} 2>&1", command).c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("no shell");
  std::array<char, 4096> buffer;
  for (std::size_t count; (count = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    result.text.append(buffer.data(), count);
  const int status = pclose(pipe);
  if (WIFEXITED(status)) result.code = WEXITSTATUS(status);
  return result;
}

inline std::string program() {
  const char* const path = std::getenv("GROUNDSTATE");
  return std::filesystem::absolute(path != nullptr ? path : "build/cpu/groundstate").string();
}

// `before` is what the shell is to do or to know first: "cd somewhere &&", "NAME=value".
inline Ended groundstate(const std::string& arguments, const std::string& before = "") {
  return shell(fmt::format("{} '{}' {}", before, program(), arguments));
}

}  // namespace groundstate::harness
