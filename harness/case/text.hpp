// Reading and showing pieces of text: words, separated fields, numbers.
//
// Nothing here throws; a text that is not a number is an empty optional. The pieces are views into
// the text they were cut from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace groundstate::harness {

std::string_view trim(std::string_view text);
// The parts between blanks; none is empty.
std::vector<std::string_view> words(std::string_view text);
// The parts between separators, one more than there are separators; parts may be empty.
std::vector<std::string_view> split(std::string_view text, char separator);
// At least one character, and only letters, digits, '_', '.' and '-'.
bool is_word(std::string_view text);

// The whole text as a decimal number. Reals are finite, and -0 is 0: one number has one text.
std::optional<std::int64_t> integer_of(std::string_view text);
std::optional<double> real_of(std::string_view text);
// The shortest text that reads back as the same number.
std::string text_of(double number);

// The text as it may stand in a message whatever it holds: cut after `longest` bytes, and bytes
// that are not printable ASCII as \xNN.
std::string shown(std::string_view text, std::size_t longest = 60);
inline constexpr std::size_t longest_shown_line = 200;  // where it is a case line
// The length of the part before the first byte that is not well-formed UTF-8 or is a control
// character other than tab and the ends of lines.
std::size_t readable_prefix(std::string_view text);

}  // namespace groundstate::harness
