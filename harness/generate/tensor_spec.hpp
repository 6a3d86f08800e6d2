// What a case says of one tensor: name, element type, axes, storage order, domain, and for an input
// the value of each of its elements.
//
// `element(i)` is a pure function of the row-major index in the declared axis order, whatever the
// storage order, so a tensor has the same values for any layout and any number of threads. It is
// computed in double with + - * / sqrt and fma only (host and device agree bit for bit) and rounded
// once.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "harness/case/tensor.hpp"

namespace groundstate::harness {

struct TensorSpec {
  std::string name;
  ElementType type = ElementType::float64;
  std::vector<AxisExtent> axes;
  std::vector<std::size_t> storage_order;  // axis positions, outermost first; empty: as declared
  bool required = true;
  std::string domain;  // accepted values, in words
  bool finite = true;  // NaN and infinities are outside the domain
  std::function<double(Index)> element;

  Tensor allocate() const { return Tensor::allocate(name, type, axes, storage_order); }
};

// Bytes of all tensors. Throws UsageError where a shape overflows.
double total_bytes(const std::vector<TensorSpec>& specs);

using Tensors = std::vector<Tensor>;

// The tensor of that name; nullptr when there is none.
Tensor* find(Tensors& tensors, std::string_view name);
const Tensor* find(const Tensors& tensors, std::string_view name);

// Allocates and fills, in parallel. Throws ResourceError when the memory cannot be had.
Tensor generate(const TensorSpec& spec);
Tensors generate(const std::vector<TensorSpec>& specs);

// Calls visit(row-major index in declared axis order, offset in elements) for every element.
template <class Visit>
void for_each_element(const Tensor& tensor, Visit&& visit) {
  const auto& axes = tensor.axes();
  const Index elements = tensor.elements();
  std::vector<Index> at(axes.size(), 0);
  Index offset = 0;
  for (Index i = 0; i < elements; ++i) {
    visit(i, offset);
    for (std::size_t a = axes.size(); a-- > 0;) {
      offset += axes[a].stride;
      if (++at[a] < axes[a].extent) break;
      offset -= at[a] * axes[a].stride;
      at[a] = 0;
    }
  }
}

// The same for two tensors of the same extents: visit(index, offset in left, offset in right).
template <class Visit>
void for_each_pair(const Tensor& left, const Tensor& right, Visit&& visit) {
  const auto &axes = left.axes(), &others = right.axes();
  std::vector<Index> at(axes.size(), 0);
  Index other = 0, index = 0, offset = 0;
  for (const Index elements = left.elements(); index < elements; ++index) {
    visit(index, offset, other);
    for (std::size_t a = axes.size(); a-- > 0;) {
      offset += axes[a].stride;
      other += others[a].stride;
      if (++at[a] < axes[a].extent) break;
      offset -= at[a] * axes[a].stride;
      other -= at[a] * others[a].stride;
      at[a] = 0;
    }
  }
}

}  // namespace groundstate::harness
