#include "harness/mutants/edit.hpp"

#include <cmath>

namespace groundstate::harness {

void edit(Tensor& tensor, const Edit& edit) {
  At at(tensor.axes().size());
  for_each_element(tensor, [&](Index i, Index offset) {
    for (std::size_t a = at.size(); a-- > 0;) {
      at[a] = i % tensor.axes()[a].extent;
      i /= tensor.axes()[a].extent;
    }
    const double before = tensor.load(offset), after = edit(before, at);
    if (!(after == before)) tensor.store(offset, after);
  });
}
Tensor edited(const Tensor& tensor, const Edit& how) {
  Tensor result = copy_of(tensor);
  edit(result, how);
  return result;
}
Tensors edited(const Tensors& tensors, std::string_view name, const Edit& how) {
  const Tensor* const tensor = find(tensors, name);
  return tensor == nullptr ? tensors : with(tensors, edited(*tensor, how));
}

Tensor moved(const Tensor& tensor, std::string_view axis, const std::function<Index(Index)>& from,
             Index extent) {
  Tensor result = empty_like(tensor, axis, extent > 0 ? extent : tensor.extent(axis));
  for (Index i = 0; i < result.extent(axis); ++i)
    if (const Index source = from(i); source >= 0)
      copy_bytes(tensor.slice(axis, source, 1), result.slice(axis, i, 1));
  return result;
}
Tensors moved(const Tensors& tensors, std::initializer_list<std::string_view> names,
              std::string_view axis, const std::function<Index(Index)>& from, Index extent) {
  Tensors result = tensors;
  for (const std::string_view name : names)
    if (const Tensor* const tensor = find(tensors, name))
      result = with(std::move(result), moved(*tensor, axis, from, extent));
  return result;
}

Tensor transposed_bytes(const Tensor& tensor) {
  const std::size_t rank = tensor.axes().size();
  const Index rows = tensor.axes()[rank - 2].extent, columns = tensor.axes()[rank - 1].extent;
  const Index size = rows * columns;
  const Tensor dense = copy_of(tensor);
  Tensor result = empty_like(tensor);
  for (Index i = 0; i < dense.elements(); ++i) {
    const Index at = i % size;
    result.store(i, dense.load(i - at + at % columns * rows + at / columns));
  }
  return result;
}

Tensor as_type(const Tensor& tensor, ElementType type) {
  Tensor result = Tensor::allocate(tensor.name(), type, tensor.axes());
  for_each_pair(result, tensor,
                [&](Index, Index to, Index from) { result.store(to, tensor.load(from)); });
  return result;
}

double rounded(ElementType type, double x) {
  alignas(8) std::byte element[8];
  store_element(type, element, 0, x);
  return load_element(type, element, 0);
}
double truncated(ElementType type, double x) {
  const int bits = type == ElementType::bfloat16  ? 8
                   : type == ElementType::float16 ? 11
                   : type == ElementType::float32 ? 24
                                                  : 53;
  if (x == 0 || !std::isfinite(x)) return x;
  const double ulp = std::ldexp(1.0, std::ilogb(x) - (bits - 1));
  return std::trunc(x / ulp) * ulp;
}

Defect on_inputs(InputEdit edit) {
  return [edit = std::move(edit)](const RightPath& right, const Case& c, const Tensors& inputs,
                                  Tensors& outputs) { right(c, edit(c, inputs), outputs); };
}
Defect on_outputs(OutputEdit edit) {
  return [edit = std::move(edit)](const RightPath& right, const Case& c, const Tensors& inputs,
                                  Tensors& outputs) {
    right(c, inputs, outputs);
    edit(c, inputs, outputs);
  };
}
Defect another_variant(std::string variant) {
  return
      [variant = std::move(variant)](const RightPath& right, const Case& c, const Tensors& inputs,
                                     Tensors& outputs) { right.as(variant, c, inputs, outputs); };
}
Defect another_option(std::string key, std::function<std::string(const Case&)> value) {
  return [key = std::move(key), value = std::move(value)](const RightPath& right, const Case& c,
                                                          const Tensors& inputs, Tensors& outputs) {
    right(c.with(key, value(c)), inputs, outputs);
  };
}
Defect stored_by(double (*store)(ElementType, double)) {
  return [store](const RightPath& right, const Case& c, const Tensors& inputs, Tensors& outputs) {
    Tensors wide;
    for (const Tensor& tensor : outputs)
      wide.push_back(Tensor::allocate(tensor.name(), ElementType::float32, tensor.axes()));
    right(c, inputs, wide);
    for (std::size_t i = 0; i < wide.size(); ++i)
      for_each_pair(outputs[i], wide[i], [&](Index, Index to, Index from) {
        outputs[i].store(to, store(outputs[i].type(), wide[i].load(from)));
      });
  };
}

}  // namespace groundstate::harness
