#include "harness/case/key.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>

#include "harness/case/error.hpp"
#include "harness/case/nearest.hpp"
#include "harness/case/text.hpp"

namespace groundstate::harness {
namespace {

// The normalised value, or nothing when it is outside the domain.
struct Normalise {
  std::string_view value;

  std::optional<std::string> operator()(const Key::Integer& domain) const {
    const auto number = integer_of(value);
    if (!number || *number < domain.minimum || *number > domain.maximum) return std::nullopt;
    return std::to_string(*number);
  }
  std::optional<std::string> operator()(const Key::Real& domain) const {
    const auto number = real_of(value);
    if (!number || *number < domain.minimum || *number > domain.maximum) return std::nullopt;
    return text_of(*number);
  }
  std::optional<std::string> operator()(const Key::Word& domain) const {
    if (std::ranges::find(domain.words, value) == domain.words.end()) return std::nullopt;
    return std::string(value);
  }
  std::optional<std::string> operator()(const Key::WordOrReal& domain) const {
    if (std::ranges::find(domain.words, value) != domain.words.end()) return std::string(value);
    return (*this)(domain.real);
  }
  std::optional<std::string> operator()(const Key::IntegerList& domain) const {
    std::string list;
    for (const std::string_view item : split(value, '+')) {
      const auto number = Normalise{item}(static_cast<const Key::Integer&>(domain));
      if (!number) return std::nullopt;
      if (!list.empty()) list += '+';
      list += *number;
    }
    return list;
  }
};

// " in [0, 7]", " >= 0" or nothing: a bound that every number keeps is not worth a word.
template <class Number>
std::string bounds(Number minimum, Number maximum) {
  using Limits = std::numeric_limits<Number>;
  if (maximum != Limits::max()) return fmt::format(" in [{}, {}]", minimum, maximum);
  return minimum == Limits::lowest() ? "" : fmt::format(" >= {}", minimum);
}

struct Accepted {
  std::string operator()(const Key::Integer& domain) const {
    return "an integer" + bounds(domain.minimum, domain.maximum);
  }
  std::string operator()(const Key::Real& domain) const {
    return "a finite number" + bounds(domain.minimum, domain.maximum);
  }
  std::string operator()(const Key::Word& domain) const {
    return fmt::format("{}", fmt::join(domain.words, "|"));
  }
  std::string operator()(const Key::WordOrReal& domain) const {
    return fmt::format("{} or {}", fmt::join(domain.words, "|"), (*this)(domain.real));
  }
  std::string operator()(const Key::IntegerList& domain) const {
    return fmt::format("integers{} joined by '+'", bounds(domain.minimum, domain.maximum));
  }
};

struct WordsOf {
  template <class Domain>
  std::span<const std::string> operator()(const Domain& domain) const {
    if constexpr (requires { domain.words; }) return domain.words;
    return {};
  }
};

}  // namespace

Key::Key(std::string name_, std::string default_value_, Domain domain_, std::string help_)
    : name(std::move(name_)),
      default_value(std::move(default_value_)),
      domain(std::move(domain_)),
      help(std::move(help_)) {
  if (!is_word(name)) throw std::logic_error(fmt::format("'{}' cannot be the name of a key", name));
  for (const std::string& word : std::visit(WordsOf{}, domain))
    if (!is_word(word)) throw std::logic_error(fmt::format("{}: '{}' is not a word", name, word));
  if (default_value.empty()) return;
  try {
    default_value = check(default_value);
  } catch (const UsageError& error) {
    throw std::logic_error(fmt::format("default of a key: {}", error.what()));
  }
}

std::string Key::check(std::string_view value) const {
  if (auto normal = std::visit(Normalise{value}, domain)) return *std::move(normal);
  throw UsageError(fmt::format("{}={}: expected {}{}", name, shown(value), accepted(),
                               did_you_mean(value, std::visit(WordsOf{}, domain))));
}

std::string Key::accepted() const { return std::visit(Accepted{}, domain); }

}  // namespace groundstate::harness
