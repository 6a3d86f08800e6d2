#include "harness/case/sweep.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <unordered_set>
#include <utility>
#include <variant>

#include "harness/case/error.hpp"
#include "harness/case/text.hpp"

namespace groundstate::harness {
namespace {

using Choice = std::vector<std::string>;  // one value for each of the keys that move together

[[noreturn]] void too_many(std::string_view where) {
  throw UsageError(fmt::format("{}: a sweep of more than {} cases", shown(where), most_cases));
}

// first:last or first:last:step.
std::vector<Choice> range(const Key& key, std::string_view text) {
  const std::vector<std::string_view> parts = split(text, ':');
  const auto fail = [&](std::string_view reason) {
    throw UsageError(fmt::format("{}={}: {}", key.name, shown(text), reason));
  };
  if (parts.size() > 3) fail("a range is first:last or first:last:step");
  const std::int64_t first = *integer_of(key.check(parts[0]));
  const std::int64_t last = *integer_of(key.check(parts[1]));
  const std::int64_t step = parts.size() == 3 ? integer_of(parts[2]).value_or(0) : 1;
  if (step < 1) fail("the step of a range is an integer >= 1");
  if (last < first) fail("a range does not run backwards");
  // Unsigned, because the distance between two integers may need all 64 bits.
  const auto distance = static_cast<std::uint64_t>(last) - static_cast<std::uint64_t>(first);
  if (distance % static_cast<std::uint64_t>(step) != 0)
    fail(fmt::format("steps of {} from {} do not reach {}", step, first, last));
  const std::uint64_t steps = distance / static_cast<std::uint64_t>(step);
  if (steps >= most_cases) too_many(fmt::format("{}={}", key.name, text));
  std::vector<Choice> result;
  auto value = static_cast<std::uint64_t>(first);
  for (std::uint64_t i = 0; i <= steps; ++i, value += static_cast<std::uint64_t>(step))
    result.push_back({std::to_string(static_cast<std::int64_t>(value))});
  return result;
}

std::vector<Choice> choices(const Grammar& grammar, const Assignment& assignment) {
  const std::size_t joined = assignment.keys.size();
  const Key& key = *std::ranges::find(grammar.keys, assignment.keys[0], &Key::name);
  const bool may_range = joined == 1 && std::holds_alternative<Key::Integer>(key.domain);
  std::vector<Choice> result;
  for (const std::string_view entry : split(assignment.values, ',')) {
    if (may_range && entry.find(':') != entry.npos) {
      for (Choice& choice : range(key, entry)) result.push_back(std::move(choice));
    } else if (joined == 1) {
      result.push_back({std::string(entry)});
    } else {
      const std::vector<std::string_view> parts = split(entry, '/');
      if (parts.size() != joined)
        throw UsageError(fmt::format("{}: '{}' is not {} values joined by '/'",
                                     shown(assignment.text), shown(entry), joined));
      result.emplace_back(parts.begin(), parts.end());
    }
    if (result.size() > most_cases) too_many(assignment.text);
  }
  return result;
}

}  // namespace

std::vector<Case> expand(std::string_view text, std::span<const Grammar> grammars) {
  const SplitLine line = split_case_line(text, grammars);
  std::vector<Case> cases = {Case(*line.grammar)};
  for (const Assignment& assignment : line.assignments) {
    const std::vector<Choice> axis = choices(*line.grammar, assignment);
    if (axis.size() > most_cases / cases.size()) too_many(text);
    std::vector<Case> product;
    product.reserve(cases.size() * axis.size());
    for (const Case& prefix : cases) {
      for (const Choice& choice : axis) {
        Case& next = product.emplace_back(prefix);
        for (std::size_t i = 0; i < choice.size(); ++i)
          next = next.with(assignment.keys[i], choice[i]);
      }
    }
    cases = std::move(product);
  }
  std::unordered_set<std::string> seen;
  std::erase_if(cases, [&](const Case& each) { return !seen.insert(each.canonical()).second; });
  return cases;
}

}  // namespace groundstate::harness
