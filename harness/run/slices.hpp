// Parts of the tensors of a case, and the case that they belong to.
#pragma once

#include <string_view>

#include "harness/operators/operator.hpp"

namespace groundstate::harness {

// The part of those tensors that have the axis.
Tensors cut_axis(const Tensors& tensors, std::string_view axis, Index begin, Index extent);
Tensors without_tensor(Tensors tensors, std::string_view name);

// The case with the shape of these inputs, which are slices of the `original` ones of `c`.
Case sliced_case(const Operator& op, const Case& c, const Tensors& original, const Tensors& inputs);

bool declares_key(const Case& c, std::string_view key);

}  // namespace groundstate::harness
