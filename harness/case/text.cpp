#include "harness/case/text.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace groundstate::harness {
namespace {

constexpr std::string_view blanks = " \t\r\n";

// from_chars knows no locale, skips no blanks and reports what it did not read.
template <class Number>
std::optional<Number> number_of(std::string_view text) {
  Number number{};
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || rest != end) return std::nullopt;
  return number;
}

}  // namespace

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(blanks);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> result;
  for (std::size_t begin = 0; (begin = text.find_first_not_of(blanks, begin)) != text.npos;) {
    const std::size_t end = std::min(text.find_first_of(blanks, begin), text.size());
    result.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return result;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> result;
  std::size_t begin = 0;
  for (std::size_t end; (end = text.find(separator, begin)) != text.npos; begin = end + 1)
    result.push_back(text.substr(begin, end - begin));
  result.push_back(text.substr(begin));
  return result;
}

bool is_word(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
  });
}

std::optional<std::int64_t> integer_of(std::string_view text) {
  return number_of<std::int64_t>(text);
}

std::optional<double> real_of(std::string_view text) {
  const std::optional<double> number = number_of<double>(text);
  if (!number || !std::isfinite(*number)) return std::nullopt;
  return *number == 0 ? 0 : *number;
}

std::string text_of(double number) {
  std::array<char, 32> buffer;
  return {buffer.data(), std::to_chars(buffer.begin(), buffer.end(), number).ptr};
}

std::string shown(std::string_view text, std::size_t longest) {
  std::string result;
  for (const char c : text.substr(0, longest)) {
    if (c >= ' ' && c <= '~') {
      result += c;
    } else {
      result += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return text.size() > longest ? result + "..." : result;
}

std::size_t readable_prefix(std::string_view text) {
  // By number of continuation bytes: anything smaller is an overlong form or (U+0080 to U+009F) a
  // control character.
  constexpr std::array<std::uint32_t, 4> smallest = {0, 0xa0, 0x800, 0x10000};
  std::size_t at = 0;
  while (at < text.size()) {
    const auto lead = static_cast<unsigned char>(text[at]);
    if (lead < 0x80) {
      if ((lead < ' ' && lead != '\t' && lead != '\r' && lead != '\n') || lead == 0x7f) break;
      ++at;
      continue;
    }
    const std::size_t more = lead >> 5 == 0b110     ? 1
                             : lead >> 4 == 0b1110  ? 2
                             : lead >> 3 == 0b11110 ? 3
                                                    : 0;
    if (more == 0 || text.size() - at <= more) break;
    std::uint32_t code = lead & (0x3fu >> more);
    bool continued = true;
    for (std::size_t i = 1; i <= more; ++i) {
      const auto byte = static_cast<unsigned char>(text[at + i]);
      continued = continued && (byte & 0xc0) == 0x80;
      code = code << 6 | (byte & 0x3fu);
    }
    const bool surrogate = code >= 0xd800 && code <= 0xdfff;
    if (!continued || surrogate || code < smallest[more] || code > 0x10ffff) break;
    at += 1 + more;
  }
  return at;
}

}  // namespace groundstate::harness
