// Whether two tensors of the same extents are the same run of bytes: of one type, laid out alike
// and without gaps. What compares or copies them then does so at once, instead of element by
// element.
#pragma once

#include "harness/case/tensor.hpp"

namespace groundstate::harness {

bool one_run(const Tensor& left, const Tensor& right);

}  // namespace groundstate::harness
