// What a fuzz target demands of its input's way through the harness. A demand that is not met is a
// finding, as a crash is: libFuzzer keeps the input.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "harness/case/text.hpp"

namespace groundstate::fuzz {

inline void demand(bool met, std::string_view what, std::string_view text) {
  if (met) return;
  std::fprintf(stderr, "not met: %s\n%s\n", std::string(what).c_str(), std::string(text).c_str());
  std::abort();
}

// An error is one line, which a terminal shows as it is.
inline void demand_one_line(std::string_view message) {
  constexpr std::size_t longest = 4096;
  demand(!message.empty() && message.size() <= longest &&
             harness::readable_prefix(message) == message.size() &&
             message.find_first_of("\t\r\n") == message.npos,
         "an error is one line of readable text", message);
}

}  // namespace groundstate::fuzz
