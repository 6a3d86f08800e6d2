// Copies of tensors and lists of tensors with one of them changed: what contracts compare and pools
// start from.
#pragma once

#include <initializer_list>
#include <string_view>

#include "harness/generate/tensor_bytes.hpp"
#include "harness/generate/tensor_spec.hpp"

namespace groundstate::harness {

// Fresh memory of the same name, type and axes; one of them may have another extent.
Tensor empty_like(const Tensor& tensor, std::string_view axis = {}, Index extent = 0);
Tensor copy_of(const Tensor& tensor);
// The positions of an axis from the last to the first.
Tensor reversed(const Tensor& tensor, std::string_view axis);
// Bytes where the types are the same, values where they are not.
void copy_elements(const Tensor& from, Tensor& to);
void fill(Tensor tensor, double value);

// The tensors with another of the same name in the place of one.
Tensors with(Tensors tensors, const Tensor& own);
Tensors without(Tensors tensors, std::initializer_list<std::string_view> names);
// The part of those tensors that have more than one position of the axis.
Tensors cut(const Tensors& tensors, std::string_view axis, Index begin, Index extent);

}  // namespace groundstate::harness
