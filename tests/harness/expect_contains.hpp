// A text has a part, and a failure shows both.
#pragma once

#include <gtest/gtest.h>

#include <string>

namespace groundstate::harness {

inline void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), text.npos) << "'" << part << "' is not in: " << text.substr(0, 2000);
}

}  // namespace groundstate::harness
