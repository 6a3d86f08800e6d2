// In which types a path's outputs are stored: an exact path keeps fp64, any other the types of the
// case.
#pragma once

#include <vector>

#include "harness/generate/tensor_spec.hpp"
#include "harness/operators/operator.hpp"

namespace groundstate::harness {

inline std::string recipe_of(const PathVariant& v) { return v.exact() ? "exact" : v.recipe; }

inline std::vector<TensorSpec> stored(std::vector<TensorSpec> specs, const PathVariant& v) {
  if (v.exact())
    for (TensorSpec& spec : specs) spec.type = ElementType::float64;
  return specs;
}
inline std::vector<TensorSpec> stored_outputs(const Operator& op, const Case& c,
                                              const PathVariant& v) {
  return stored(op.outputs(c), v);
}
// The same as the judge sees them.
inline std::vector<TensorSpec> stored_judged_outputs(const Operator& op, const Case& c,
                                                     const PathVariant& v) {
  return stored(op.judged_outputs(c), v);
}

// The path exists and has this recipe.
bool recipe_exists(const Operator& op, const PathVariant& v);
// Throws UsageError naming the path or recipe, what there is, and the nearest name.
PathVariant checked_variant(const Operator& op, std::string_view text);
// The same for a form and a recipe that are given apart.
PathVariant checked_variant(const Operator& op, std::string_view form, std::string_view recipe);

}  // namespace groundstate::harness
