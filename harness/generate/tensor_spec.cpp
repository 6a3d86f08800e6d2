#include "harness/generate/tensor_spec.hpp"

#include <algorithm>

#include "reference/core/parallel.hpp"

namespace groundstate::harness {

double total_bytes(const std::vector<TensorSpec>& specs) {
  double bytes = 0;
  for (const TensorSpec& spec : specs) {
    std::vector<Index> extents;
    for (const AxisExtent& axis : spec.axes) extents.push_back(axis.extent);
    bytes += static_cast<double>(checked_elements(extents, spec.name)) *
             static_cast<double>(size_of(spec.type));
  }
  return bytes;
}

Tensor* find(Tensors& tensors, std::string_view name) {
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const Tensor& tensor) { return tensor.name() == name; });
  return found == tensors.end() ? nullptr : &*found;
}

const Tensor* find(const Tensors& tensors, std::string_view name) {
  return find(const_cast<Tensors&>(tensors), name);
}

Tensor generate(const TensorSpec& spec) {
  const Tensor tensor = spec.allocate();
  const Index elements = tensor.elements();
  if (elements == 0) return tensor;
  // Cut along the first axis that has more than one position: slices are contiguous in the index.
  const auto& axes = tensor.axes();
  std::size_t cut = 0;
  while (cut + 1 < axes.size() && axes[cut].extent == 1) ++cut;
  const Index extent = axes.empty() ? 1 : axes[cut].extent, inner = elements / extent;
  const Index rows = std::max<Index>(1, (Index{1} << 16) / inner);
  parallel_for((extent + rows - 1) / rows, [&](Index block) {
    const Index begin = block * rows, count = std::min(rows, extent - begin);
    Tensor part = axes.empty() ? tensor : tensor.slice(axes[cut].name, begin, count);
    for_each_element(
        part, [&](Index i, Index offset) { part.store(offset, spec.element(begin * inner + i)); });
  });
  return tensor;
}

Tensors generate(const std::vector<TensorSpec>& specs) {
  Tensors tensors;
  for (const TensorSpec& spec : specs) tensors.push_back(generate(spec));
  return tensors;
}

}  // namespace groundstate::harness
