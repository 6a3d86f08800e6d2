// What a call refuses, by the words of its exception.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <stdexcept>
#include <string>

namespace groundstate {

inline constexpr const char* accepted = "accepted";

inline std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return accepted;
}
inline void expect_refused(const std::function<void()>& call, const std::string& words) {
  const std::string message = refusal(call);
  EXPECT_NE(message, accepted) << "expected: " << words;
  EXPECT_NE(message.find(words), std::string::npos) << message << "\nexpected: " << words;
}

}  // namespace groundstate
