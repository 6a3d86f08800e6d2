#include "harness/operators/tensor_edit.hpp"

#include <algorithm>

namespace groundstate::harness {
Tensor empty_like(const Tensor& tensor, std::string_view axis, Index extent) {
  std::vector<AxisExtent> axes = tensor.axes();
  for (AxisExtent& own : axes)
    if (own.name == axis) own.extent = extent;
  return Tensor::allocate(tensor.name(), tensor.type(), std::move(axes));
}

Tensor copy_of(const Tensor& tensor) {
  Tensor result = empty_like(tensor);
  copy_bytes(tensor, result);
  return result;
}

Tensor reversed(const Tensor& tensor, std::string_view axis) {
  Tensor result = empty_like(tensor);
  const Index extent = tensor.extent(axis);
  for (Index i = 0; i < extent; ++i)
    copy_bytes(tensor.slice(axis, extent - 1 - i, 1), result.slice(axis, i, 1));
  return result;
}

void copy_elements(const Tensor& from, Tensor& to) {
  if (to.type() == from.type()) return copy_bytes(from, to);
  for_each_pair(to, from, [&](Index, Index own, Index other) { to.store(own, from.load(other)); });
}

void fill(Tensor tensor, double value) {
  for_each_element(tensor, [&](Index, Index offset) { tensor.store(offset, value); });
}

Tensors with(Tensors tensors, const Tensor& own) {
  std::erase_if(tensors, [&](const Tensor& tensor) { return tensor.name() == own.name(); });
  tensors.push_back(own);
  return tensors;
}

Tensors without(Tensors tensors, std::initializer_list<std::string_view> names) {
  std::erase_if(tensors, [&](const Tensor& tensor) {
    return std::find(names.begin(), names.end(), tensor.name()) != names.end();
  });
  return tensors;
}

Tensors cut(const Tensors& tensors, std::string_view axis, Index begin, Index extent) {
  Tensors result;
  for (const Tensor& tensor : tensors)
    result.push_back(tensor.has_axis(axis) && tensor.extent(axis) > 1
                         ? tensor.slice(axis, begin, extent)
                         : tensor);
  return result;
}

}  // namespace groundstate::harness
