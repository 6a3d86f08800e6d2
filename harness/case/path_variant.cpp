#include "harness/case/path_variant.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "harness/case/error.hpp"
#include "harness/case/nearest.hpp"
#include "harness/case/text.hpp"

namespace groundstate::harness {
namespace {

// The given keys, checked; those at their default are left out.
std::map<std::string, std::string, std::less<>> checked(const PathVariant& variant,
                                                        std::span<const Key> declared) {
  std::map<std::string, std::string, std::less<>> result;
  for (const auto& [name, value] : variant.keys) {
    const auto key = std::ranges::find(declared, name, &Key::name);
    if (key == declared.end()) {
      std::vector<std::string> names;
      for (const Key& each : declared) names.push_back(each.name);
      throw UsageError(
          names.empty()
              ? fmt::format("path {} has no keys, not '{}'", shown(variant.path), shown(name))
              : fmt::format("path {} has no key '{}', only {}{}", shown(variant.path), shown(name),
                            fmt::join(names, " "), did_you_mean(name, names)));
    }
    std::string normal = key->check(value);
    if (normal != key->default_value) result.emplace(name, std::move(normal));
  }
  return result;
}

}  // namespace

std::string_view PathVariant::form() const {
  constexpr std::string_view device = "gpu.";
  return std::string_view(path).substr(path.starts_with(device) ? device.size() : 0);
}

std::string PathVariant::get(std::string_view key, std::span<const Key> declared) const {
  const auto declaration = std::ranges::find(declared, key, &Key::name);
  if (declaration == declared.end())
    throw std::logic_error(fmt::format("path {} declares no key {}", path, key));
  const auto given = keys.find(key);
  return given != keys.end() ? given->second : declaration->default_value;
}

std::int64_t PathVariant::integer(std::string_view key, std::span<const Key> declared) const {
  const std::string value = get(key, declared);
  const auto number = integer_of(value);
  if (!number)
    throw std::logic_error(fmt::format("path {}: {}='{}' is no integer", path, key, value));
  return *number;
}

std::string PathVariant::text(std::span<const Key> declared) const {
  const auto given = checked(*this, declared);
  std::vector<std::string> pairs;
  for (const Key& key : declared)
    if (const auto found = given.find(key.name); found != given.end())
      pairs.push_back(fmt::format("{}={}", found->first, found->second));
  return fmt::format("{}{}{}", path,
                     pairs.empty() ? "" : fmt::format("[{}]", fmt::join(pairs, ",")),
                     recipe.empty() ? "" : ":" + recipe);
}

PathVariant split_path_variant(std::string_view text) {
  const auto fail = [text](std::string_view reason) {
    throw UsageError(
        fmt::format("path '{}': {}; the form is path[key=value,...]:recipe", shown(text), reason));
  };
  PathVariant result;
  std::string_view rest = text;
  // Keys first: a value may hold what separates the recipe.
  const std::size_t name_end = std::min(rest.find_first_of("[:"), rest.size());
  if (!is_word(rest.substr(0, name_end))) fail("no name of a path");
  result.path = rest.substr(0, name_end);
  rest.remove_prefix(name_end);
  if (rest.starts_with('[')) {
    const std::size_t close = rest.find(']');
    if (close == rest.npos) fail("'[' without ']'");
    for (const std::string_view pair : split(rest.substr(1, close - 1), ',')) {
      const std::size_t equals = pair.find('=');
      if (equals == pair.npos) fail(fmt::format("'{}' is not key=value", shown(pair)));
      const std::string name(pair.substr(0, equals));
      if (!result.keys.emplace(name, pair.substr(equals + 1)).second)
        fail(fmt::format("{} is given twice", shown(name)));
    }
    rest.remove_prefix(close + 1);
  }
  if (rest.empty()) return result;
  if (!rest.starts_with(':') || !is_word(rest.substr(1)))
    fail(fmt::format("'{}' is not ':' and the name of a recipe", shown(rest)));
  result.recipe = rest.substr(1);
  return result;
}

PathVariant parse_path_variant(std::string_view text, std::span<const Key> declared) {
  PathVariant result = split_path_variant(text);
  result.keys = checked(result, declared);
  return result;
}

}  // namespace groundstate::harness
