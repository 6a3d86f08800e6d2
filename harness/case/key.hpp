// One key of a case line or of a path variant: its name, its default and the values it accepts.
//
//   Key{"T", "64", Key::Integer{0, 1 << 20}, "tokens of a sequence"}
//   Key{"HV", "", Key::Integer{1, 4096}, "value heads; H when absent"}
//   Key{"lengths", "", Key::IntegerList{0, 1 << 20}, "lengths of packed sequences"}
//   Key{"gate", "normal", Key::Word{{"open", "slow", "normal"}}, "regime of g"}
//   Key{"gamma", "retnet", Key::WordOrReal{{"retnet", "alibi"}}, "decay per head"}
//
// An empty default means absent, or derived from other keys; no value that somebody writes is
// empty. (The axis of the same name is groundstate::Key.)
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace groundstate::harness {

struct Key {
  struct Integer {
    std::int64_t minimum = 0;
    std::int64_t maximum = std::numeric_limits<std::int64_t>::max();
  };
  struct Real {
    double minimum = std::numeric_limits<double>::lowest();
    double maximum = std::numeric_limits<double>::max();
  };
  struct Word {
    std::vector<std::string> words;
  };
  struct WordOrReal {
    std::vector<std::string> words;
    Real real = {};
  };
  // One or more integers joined by '+', because ',' separates the values of a sweep.
  struct IntegerList : Integer {};
  using Domain = std::variant<Integer, Real, Word, WordOrReal, IntegerList>;

  // Throws std::logic_error when the name or a word could not stand in a case line, or when the
  // default is neither empty nor in the domain.
  Key(std::string name, std::string default_value, Domain domain, std::string help);

  // The one text of the value (007 is 7, 1e0 is 1). Throws UsageError naming key, value and what is
  // accepted when the value is outside the domain.
  std::string check(std::string_view value) const;
  // What is accepted, as text: "an integer in [0, 4096]", "open|slow|normal".
  std::string accepted() const;

  std::string name;
  std::string default_value;
  Domain domain;
  std::string help;
};

}  // namespace groundstate::harness
