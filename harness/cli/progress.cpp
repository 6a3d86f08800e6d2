#include "harness/cli/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace groundstate::harness::cli {

using Clock = std::chrono::steady_clock;

Progress::Progress(Index total, bool forced)
    : total_(total),
      terminal_(isatty(STDERR_FILENO) != 0),
      shown_(terminal_ || forced),
      begin_(Clock::now()) {}

Progress::~Progress() { clear(); }

void Progress::start(std::string_view what) {
  current_ = what;
  draw();
}

void Progress::finish(bool failed) {
  ++done_;
  if (failed) ++failed_;
}

void Progress::clear() {
  if (shown_ && terminal_) fmt::print(stderr, "\r\x1b[K");
}

void Progress::draw() {
  // On a terminal the line is redrawn ten times a second, elsewhere written every five seconds.
  const auto now = Clock::now();
  if (!shown_ ||
      now - last_ < (terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(5000)))
    return;
  last_ = now;
  const double seconds = std::chrono::duration<double>(now - begin_).count();
  const std::string left =
      done_ > 0 ? fmt::format("{:.0f} s left", seconds / static_cast<double>(done_) *
                                                   static_cast<double>(total_ - done_))
                : "";
  fmt::print(stderr, "{}{} / {} done, {} failed, {}  {}{}", terminal_ ? "\r\x1b[K" : "", done_,
             total_, failed_, left, current_.substr(0, 80), terminal_ ? "" : "\n");
  std::fflush(stderr);
}

bool colour_wanted() { return isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr; }

}  // namespace groundstate::harness::cli
