// What identifies a tensor in a file that does not hold all of it.
#pragma once

#include <string>
#include <vector>

#include "harness/case/tensor.hpp"

namespace groundstate::harness {

// SHA-256 of all elements in their own type, little endian, row-major in the declared order of the
// axes, whatever the storage.
std::string sha256_of(const Tensor& tensor);

// "batch=2 time=300 head=4 key=64"
std::string shape_of(const std::vector<AxisExtent>& axes);

}  // namespace groundstate::harness
