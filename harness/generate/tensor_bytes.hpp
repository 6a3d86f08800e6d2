// Bytes of two tensors of one type and of the same extents, whatever their strides are.
#pragma once

#include "harness/case/tensor.hpp"

namespace groundstate::harness {

void copy_bytes(const Tensor& from, Tensor to);
bool same_bytes(const Tensor& left, const Tensor& right);

}  // namespace groundstate::harness
