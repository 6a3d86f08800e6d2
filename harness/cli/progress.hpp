// Progress on standard error: done, failed, time left. Only on a terminal or when asked for.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "reference/core/axis.hpp"

namespace groundstate::harness::cli {

class Progress {
 public:
  Progress(Index total, bool forced);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Before a case: printed first, so that a hang has a name.
  void start(std::string_view what);
  void finish(bool failed);
  void clear();  // before a result is printed

 private:
  void draw();
  Index total_, done_ = 0, failed_ = 0;
  bool terminal_, shown_;
  std::string current_;
  std::chrono::steady_clock::time_point begin_, last_{};
};

// Colour on standard output: a terminal, and NO_COLOR not set.
bool colour_wanted();

}  // namespace groundstate::harness::cli
