// Edits of tensors that defects are made of, and defects that are nothing but an edit.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "harness/mutants/mutant.hpp"
#include "harness/operators/binding.hpp"
#include "harness/operators/tensor_edit.hpp"

namespace groundstate::harness {

// Coordinates in the order of the axes.
using At = std::vector<Index>;
using Edit = std::function<double(double value, const At& at)>;

void edit(Tensor& tensor, const Edit& edit);
Tensor edited(const Tensor& tensor, const Edit& edit);
// The same of one of several; as they are where it is missing.
Tensors edited(const Tensors& tensors, std::string_view name, const Edit& edit);
// Position i of the axis is position `from(i)` of the tensor's, below zero: 0. `extent`: of the
// axis, as it is where that is 0.
Tensor moved(const Tensor& tensor, std::string_view axis, const std::function<Index(Index)>& from,
             Index extent = 0);
Tensors moved(const Tensors& tensors, std::initializer_list<std::string_view> names,
              std::string_view axis, const std::function<Index(Index)>& from, Index extent = 0);
// An offset with two axes exchanged, as if the bytes were of the other order.
Tensor transposed_bytes(const Tensor& tensor);
// The same values in another type.
Tensor as_type(const Tensor& tensor, ElementType type);
double rounded(ElementType type, double x);
// Towards zero.
double truncated(ElementType type, double x);

// ---- defects

// The right path on edited inputs.
using InputEdit = std::function<Tensors(const Case&, const Tensors&)>;
Defect on_inputs(InputEdit edit);
// The right path, and its outputs edited; the defect may look at the inputs.
using OutputEdit = std::function<void(const Case&, const Tensors& inputs, Tensors& outputs)>;
Defect on_outputs(OutputEdit edit);
// Another variant, or the same with other options.
Defect another_variant(std::string variant);
Defect another_option(std::string key, std::function<std::string(const Case&)> value);
// The outputs as fp32, stored in their types by `store`.
Defect stored_by(double (*store)(ElementType, double));

// The views of an operator's tensors.
template <class In>
In bound_inputs(const Tensors& tensors) {
  In x;
  input_tensors(
      x, [&](std::string_view name, auto& view, auto...) { bind(find(tensors, name), view); });
  return x;
}
template <class Out>
Out bound_outputs(Tensors& tensors) {
  Out y;
  output_tensors(
      y, [&](std::string_view name, auto& view, auto...) { bind(find(tensors, name), view); });
  return y;
}

}  // namespace groundstate::harness
