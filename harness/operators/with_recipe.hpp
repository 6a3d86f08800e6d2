// The recipe of a path by its name, for operators that are computed in fp64 and fp32.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string_view>

#include "reference/core/recipe.hpp"

namespace groundstate::harness {

// Calls use(recipe). Throws std::logic_error for a name that no such path has.
template <class Use>
auto with_recipe(std::string_view name, Use&& use) {
  if (name.empty() || name == "exact") return use(Exact{});
  if (name == "single") return use(Single{});
  throw std::logic_error(fmt::format("no path has the recipe {}", name));
}

}  // namespace groundstate::harness
