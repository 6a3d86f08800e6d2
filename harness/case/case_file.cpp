#include "harness/case/case_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <map>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "harness/case/error.hpp"
#include "harness/case/path_variant.hpp"
#include "harness/case/sweep.hpp"
#include "harness/case/text.hpp"

namespace groundstate::harness {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t longest_file = 16 << 20, longest_entry = 64 << 10, longest_path = 4096;
// Every case of a sweep carries the text of its entry.
constexpr std::size_t most_text = 256 << 20;
constexpr int deepest_include = 8;

// Names file and line already.
struct LocatedError : UsageError {
  using UsageError::UsageError;
};

// An entry with the lines that continue it, or an include.
struct Statement {
  std::size_t line;
  std::string text;
};

std::string read_text(const fs::path& path) {
  const auto fail = [&](std::string_view reason) {
    throw UsageError(fmt::format("cannot read {}: {}", shown(path.string(), longest_path), reason));
  };
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) fail("it is a directory");
  errno = 0;
  std::ifstream stream(path, std::ios::binary);
  if (!stream) fail(std::strerror(errno));
  std::string text;
  std::array<char, 1 << 16> block;
  while (stream) {
    stream.read(block.data(), block.size());
    text.append(block.data(), static_cast<std::size_t>(stream.gcount()));
    if (text.size() > longest_file) fail("more than 16 MiB is no list of cases");
  }
  if (stream.bad()) fail("it cannot be read to its end");
  return text;
}

std::vector<Statement> statements(const std::string& name, std::string_view text) {
  const auto fail = [&](std::size_t line, const std::string& reason) {
    throw LocatedError(fmt::format("{}:{}: {}", name, line, reason));
  };
  if (text.starts_with("\xef\xbb\xbf"))
    text.remove_prefix(3);  // what some editors put before UTF-8
  if (const std::size_t readable = readable_prefix(text); readable < text.size()) {
    const auto before = text.substr(0, readable);
    fail(1 + static_cast<std::size_t>(std::ranges::count(before, '\n')),
         fmt::format("not text: byte 0x{:02x}", static_cast<unsigned char>(text[readable])));
  }
  std::vector<Statement> result;
  std::size_t number = 0;
  bool open = false;  // the statement above may be continued
  for (const std::string_view line : split(text, '\n')) {
    ++number;
    const std::string_view content = trim(line);
    if (content.empty() || content.starts_with('#')) continue;
    if (content.starts_with('|')) {
      if (!open) fail(number, "'|' continues the entry above, and there is none");
      result.back().text += fmt::format(" {}", content);
    } else {
      result.push_back({number, std::string(content)});
      open = !content.starts_with('@');
    }
    if (result.back().text.size() > longest_entry) fail(number, "more than 64 KiB is no entry");
  }
  return result;
}

// The parts between bars that stand alone; those of |g| > 80 belong to the text.
std::vector<std::string_view> fields(std::string_view text) {
  const auto blank = [&](std::size_t at) {
    return at >= text.size() || trim(text.substr(at, 1)).empty();
  };
  std::vector<std::string_view> result;
  std::size_t begin = 0;
  for (std::size_t bar = 0; (bar = text.find('|', bar)) != text.npos; ++bar) {
    if (!blank(bar + 1) || (bar > 0 && !blank(bar - 1))) continue;
    result.push_back(trim(text.substr(begin, bar - begin)));
    begin = bar + 1;
  }
  result.push_back(trim(text.substr(begin)));
  return result;
}

std::optional<std::chrono::year_month_day> date_of(std::string_view text) {
  const std::vector<std::string_view> parts = split(text, '-');
  if (parts.size() != 3 || parts[0].size() != 4 || parts[1].size() != 2 || parts[2].size() != 2)
    return std::nullopt;
  const auto part = [&](int i) { return static_cast<unsigned>(integer_of(parts[i]).value_or(0)); };
  const std::chrono::year_month_day date{std::chrono::year(static_cast<int>(part(0))),
                                         std::chrono::month(part(1)), std::chrono::day(part(2))};
  return date.ok() ? std::optional(date) : std::nullopt;
}

RaisedLimit parse_raised_limit(std::string_view field, const std::string& source) {
  const auto fail = [&](std::string_view reason) {
    throw UsageError(fmt::format(
        "'{}': {}; the form is 'raise <path>/<clause> x<factor> until <year-month-day>: <reason>'",
        shown(field), reason));
  };
  const std::vector<std::string_view> parts = words(field);
  if (parts.size() < 6 || parts[0] != "raise" || parts[3] != "until" || !parts[4].ends_with(':'))
    fail("not a raised limit");
  const std::size_t slash = std::min(parts[1].find('/'), parts[1].size());
  const std::string_view path = parts[1].substr(0, slash);
  split_path_variant(path);
  const std::string_view clause = parts[1].substr(std::min(slash + 1, parts[1].size()));
  const std::size_t percent = clause.ends_with('%') ? 1 : 0;  // A.99.9%
  if (!is_word(clause.substr(0, clause.size() - percent))) fail("no clause after the path");
  const auto factor = parts[2].starts_with('x') ? real_of(parts[2].substr(1)) : std::nullopt;
  if (!factor || *factor <= 1) fail(fmt::format("{} is not x and a number > 1", shown(parts[2])));
  const std::string_view day = parts[4].substr(0, parts[4].size() - 1);
  const auto expires = date_of(day);
  if (!expires) fail(fmt::format("{} is no day like 2027-06-01", shown(day)));
  const auto reason = field.substr(static_cast<std::size_t>(parts[5].data() - field.data()));
  return {std::string(path), std::string(clause), *factor, *expires, std::string(reason), source};
}

class Reader {
 public:
  explicit Reader(std::span<const Grammar> grammars) : grammars_(grammars) {}

  void read(const fs::path& path, int depth) {
    const std::string name = shown(path.string(), longest_path);
    std::error_code unresolved;  // reading the file says what is wrong with it
    const auto [file, first_time] =
        files_.try_emplace(fs::weakly_canonical(path, unresolved), Progress::open);
    if (!first_time) {
      if (file->second == Progress::open) throw UsageError(fmt::format("{} includes itself", name));
      return;
    }
    if (depth > deepest_include)
      throw UsageError(
          fmt::format("{}: files include each other more than {} deep", name, deepest_include));
    for (const Statement& statement : statements(name, read_text(path))) {
      const std::string source = fmt::format("{}:{}", name, statement.line);
      try {
        if (statement.text.starts_with('@')) {
          const fs::path relative(trim(std::string_view(statement.text).substr(1)));
          read((path.parent_path() / relative).lexically_normal(), depth + 1);
        } else {
          add(statement.text, source);
        }
      } catch (const LocatedError&) {
        throw;
      } catch (const UsageError& error) {
        throw LocatedError(fmt::format("{}: {}", source, error.what()));
      }
    }
    file->second = Progress::done;
  }

  std::vector<CaseEntry> take() { return std::move(entries_); }

 private:
  enum class Progress { open, done };

  void add(std::string_view text, const std::string& source) {
    const std::vector<std::string_view> parts = fields(text);
    if (parts.size() < 2 || parts[1].empty() || parts[1].starts_with("raise "))
      throw UsageError("an entry says why it is here: <case line> | <reason>");
    std::vector<RaisedLimit> raised;
    for (const std::string_view field : std::span(parts).subspan(2))
      raised.push_back(parse_raised_limit(field, source));
    std::vector<Case> cases = expand(parts[0], grammars_);
    expanded_ += cases.size();
    expanded_text_ += cases.size() * text.size();
    if (expanded_ > most_cases)
      throw UsageError(fmt::format("more than {} cases in all", most_cases));
    if (expanded_text_ > most_text) throw UsageError("too long a text for so many cases");
    for (Case& each : cases) {
      const std::string line = each.canonical();
      const auto [place, first_time] = places_.try_emplace(line, entries_.size());
      if (first_time) {
        entries_.push_back({std::move(each), std::string(parts[1]), {}, source});
      } else {
        entries_[place->second].reason += fmt::format("; {}", parts[1]);
      }
      for (const RaisedLimit& limit : raised) {
        const std::string what = fmt::format("{}/{} of {}", limit.path, limit.clause, line);
        const auto [other, first_raise] = raised_.try_emplace(what, source);
        if (!first_raise)
          throw UsageError(fmt::format("{} is already raised at {}",
                                       shown(what, longest_shown_line), other->second));
        entries_[place->second].raised.push_back(limit);
      }
    }
  }

  std::span<const Grammar> grammars_;
  std::vector<CaseEntry> entries_;
  std::unordered_map<std::string, std::size_t> places_;  // canonical line -> position in entries_
  std::unordered_map<std::string, std::string> raised_;  // what -> where
  std::map<fs::path, Progress> files_;
  std::size_t expanded_ = 0, expanded_text_ = 0;
};

}  // namespace

std::string RaisedLimit::last_day() const {
  return fmt::format("{}-{:02}-{:02}", static_cast<int>(expires.year()),
                     static_cast<unsigned>(expires.month()), static_cast<unsigned>(expires.day()));
}

std::vector<CaseEntry> read_case_file(const fs::path& path, std::span<const Grammar> grammars) {
  Reader reader(grammars);
  reader.read(path, 1);
  return reader.take();
}

}  // namespace groundstate::harness
