#include "harness/generate/tensor_bytes.hpp"

#include <cstring>

#include "harness/generate/tensor_spec.hpp"

namespace groundstate::harness {
namespace {

std::byte* address(Tensor& tensor, Index offset) {
  return static_cast<std::byte*>(tensor.data()) +
         offset * static_cast<Index>(size_of(tensor.type()));
}
const std::byte* address(const Tensor& tensor, Index offset) {
  return static_cast<const std::byte*>(tensor.data()) +
         offset * static_cast<Index>(size_of(tensor.type()));
}

// Whether two tensors of the same extents are of one type, laid out alike and without gaps: their
// bytes are then one run, which is copied and compared at once.
bool is_one_run(const Tensor& left, const Tensor& right) {
  if (left.type() != right.type()) return false;
  // Strides of a slice are never below those without gaps, so the last element tells.
  Index last = 0;
  for (std::size_t a = 0; a < left.axes().size(); ++a) {
    const AxisExtent &own = left.axes()[a], &other = right.axes()[a];
    if (own.extent > 1 && own.stride != other.stride) return false;
    last += (own.extent - 1) * own.stride;
  }
  return last + 1 == left.elements();
}

}  // namespace

void copy_bytes(const Tensor& from, Tensor to) {
  if (is_one_run(to, from)) {
    std::memcpy(to.data(), from.data(), to.bytes());
    return;
  }
  for_each_pair(to, from, [&](Index, Index own, Index other) {
    std::memcpy(address(to, own), address(from, other), size_of(to.type()));
  });
}

bool same_bytes(const Tensor& left, const Tensor& right) {
  if (is_one_run(left, right)) return std::memcmp(left.data(), right.data(), left.bytes()) == 0;
  bool same = true;
  for_each_pair(left, right, [&](Index, Index own, Index other) {
    same =
        same && std::memcmp(address(left, own), address(right, other), size_of(left.type())) == 0;
  });
  return same;
}

}  // namespace groundstate::harness
