// The name of one way to compute an operator: path, path keys, recipe.
//
//   recurrent    gpu.fused    chunked[chunk=128,num_steps=4]:single
//
// Path keys choose a variant of the same function and are no part of a case: oracle and scale are
// shared. Without a recipe the path is computed exactly (in double).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "harness/case/key.hpp"

namespace groundstate::harness {

struct PathVariant {
  std::string path;
  std::map<std::string, std::string, std::less<>> keys;  // as given; after parsing without defaults
  std::string recipe;

  // What it computes, wherever it does: the path without the prefix of a device.
  std::string_view form() const;
  bool exact() const { return recipe.empty() || recipe == "exact"; }

  // The value of a declared path key, given or default. Throws std::logic_error when it is not
  // declared (or, the second, is not an integer).
  std::string get(std::string_view key, std::span<const Key> declared) const;
  std::int64_t integer(std::string_view key, std::span<const Key> declared) const;

  // Canonical text: declared order, defaults omitted. Throws UsageError for a key that is not
  // declared or a value that is not accepted.
  std::string text(std::span<const Key> declared) const;

  friend bool operator==(const PathVariant&, const PathVariant&) = default;
};

// Throws UsageError naming the part at fault, what is accepted and the nearest known key. Whether
// there is such a path and such a recipe is for the operator to say.
PathVariant parse_path_variant(std::string_view text, std::span<const Key> declared);

// The same where the keys are not known yet: only the form is checked.
PathVariant split_path_variant(std::string_view text);

}  // namespace groundstate::harness
