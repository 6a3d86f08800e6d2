// The errors that end a command, by exit code (README, "Exit codes").
#pragma once

#include <stdexcept>

namespace groundstate::harness {

// Wrong usage or bad input: exit code 2. The message names the thing and the accepted range.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Device, memory or disk failed: exit code 4.
struct ResourceError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Ctrl-C: exit code 130.
struct Interrupted : std::runtime_error {
  Interrupted() : std::runtime_error("interrupted") {}
};

}  // namespace groundstate::harness
