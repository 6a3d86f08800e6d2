#include "harness/case/case_line.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <stdexcept>
#include <utility>

#include "harness/case/error.hpp"
#include "harness/case/nearest.hpp"
#include "harness/case/sha256.hpp"
#include "harness/case/text.hpp"

namespace groundstate::harness {
namespace {

std::vector<std::string> key_names(const Grammar& grammar) {
  std::vector<std::string> names;
  for (const Key& key : grammar.keys) names.push_back(key.name);
  return names;
}

// The position of a key that somebody wrote; `value` only serves the message.
std::size_t known_key(const Grammar& grammar, std::string_view name, std::string_view value) {
  const auto key = std::ranges::find(grammar.keys, name, &Key::name);
  if (key != grammar.keys.end()) return static_cast<std::size_t>(key - grammar.keys.begin());
  if (std::ranges::find(grammar.path_keys, name) != grammar.path_keys.end())
    throw UsageError(fmt::format(
        "{0} is a path key: write --path 'chunked[{0}={1}]' (or the path that is meant)", name,
        shown(value)));
  const std::vector<std::string> names = key_names(grammar);
  throw UsageError(fmt::format("{} has no key '{}', only {}{}", grammar.operator_name, shown(name),
                               fmt::join(names, " "), did_you_mean(name, names)));
}

const Grammar& known_operator(std::string_view name, std::span<const Grammar> grammars) {
  const auto grammar = std::ranges::find(grammars, name, &Grammar::operator_name);
  if (grammar != grammars.end()) return *grammar;
  std::vector<std::string> names;
  for (const Grammar& each : grammars) names.push_back(each.operator_name);
  throw UsageError(fmt::format("there is no operator '{}', only {}{}", shown(name),
                               fmt::join(names, " "), did_you_mean(name, names)));
}

template <class Number>
Number present(std::optional<Number> number, std::string_view key, std::string_view text) {
  if (!number) throw std::logic_error(fmt::format("{}='{}' is not such a number", key, text));
  return *number;
}

}  // namespace

std::size_t Case::declared(std::string_view key) const {
  const auto found = std::ranges::find(grammar_->keys, key, &Key::name);
  if (found == grammar_->keys.end())
    throw std::logic_error(fmt::format("{} declares no key {}", operator_name(), key));
  return static_cast<std::size_t>(found - grammar_->keys.begin());
}

const std::string& Case::get(std::string_view key) const {
  const std::size_t position = declared(key);
  const auto found = values_.find(position);
  return found != values_.end() ? found->second : grammar_->keys[position].default_value;
}

std::int64_t Case::integer(std::string_view key) const {
  return present(integer_of(get(key)), key, get(key));
}

double Case::real(std::string_view key) const { return present(real_of(get(key)), key, get(key)); }

std::vector<std::int64_t> Case::integers(std::string_view key) const {
  const std::string& text = get(key);
  std::vector<std::int64_t> result;
  if (text.empty()) return result;
  for (const std::string_view item : split(text, '+'))
    result.push_back(present(integer_of(item), key, text));
  return result;
}

bool Case::is_explicit(std::string_view key) const { return values_.contains(declared(key)); }

Case Case::with(std::string_view key, std::string_view value) const {
  const std::size_t position = known_key(*grammar_, key, value);
  const Key& declaration = grammar_->keys[position];
  std::string normal = declaration.check(value);
  Case result = *this;
  result.values_.erase(position);
  if (normal != declaration.default_value) result.values_.emplace(position, std::move(normal));
  return result;
}

Case Case::without(std::string_view key) const {
  Case result = *this;
  result.values_.erase(declared(key));
  return result;
}

std::string Case::canonical() const {
  std::string line = operator_name();
  for (const auto& [position, value] : values_)
    line += fmt::format(" {}={}", grammar_->keys[position].name, value);
  return line;
}

std::string Case::id() const { return sha256_of(canonical()).substr(0, 16); }

SplitLine split_case_line(std::string_view text, std::span<const Grammar> grammars) {
  const std::vector<std::string_view> parts = words(text);
  if (parts.empty()) throw UsageError("the case line is empty");
  const Grammar& grammar = known_operator(parts.front(), grammars);
  SplitLine line{&grammar, {}};
  std::set<std::string_view> seen;
  for (const std::string_view word : std::span(parts).subspan(1)) {
    const std::size_t equals = word.find('=');
    if (equals == word.npos)
      throw UsageError(fmt::format("'{}' is not key=value; keys of {}: {}", shown(word),
                                   grammar.operator_name, fmt::join(key_names(grammar), " ")));
    Assignment assignment{split(word.substr(0, equals), '/'), word.substr(equals + 1), word};
    for (const std::string_view key : assignment.keys) {
      known_key(grammar, key, assignment.values);
      if (!seen.insert(key).second) throw UsageError(fmt::format("{} is given twice", key));
    }
    line.assignments.push_back(std::move(assignment));
  }
  return line;
}

Case parse_case(std::string_view text, std::span<const Grammar> grammars) {
  const SplitLine line = split_case_line(text, grammars);
  Case result(*line.grammar);
  for (const Assignment& assignment : line.assignments) {
    if (assignment.keys.size() > 1 ||
        assignment.values.find_first_of(",:") != std::string_view::npos)
      throw UsageError(
          fmt::format("{} is a sweep; one case is expected here", shown(assignment.text)));
    result = result.with(assignment.keys[0], assignment.values);
  }
  return result;
}

}  // namespace groundstate::harness
