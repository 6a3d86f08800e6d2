// From a contract's one list of tensors to the harness: specifications, labels and typed views.
//
// A contract (reference/<operator>/contract.hpp) visits its tensors as visit(name, view, element
// class, presence); axes come from the type of the view. Nothing is listed a second time.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "harness/case/case_line.hpp"
#include "harness/case/error.hpp"
#include "harness/generate/tensor_spec.hpp"
#include "reference/core/view.hpp"

namespace groundstate::harness {

using Extents = std::map<std::string_view, Index>;  // by axis name

template <class... Axes>
std::vector<AxisExtent> axes_of(const Layout<Axes...>&, const Extents& extents) {
  return {AxisExtent{Axes::name, extents.at(Axes::name), 0}...};
}

template <class... Axes>
void bind(const Tensor* tensor, HostView<const Any, Axes...>& view) {
  view = tensor ? tensor->const_view<Axes...>() : HostView<const Any, Axes...>{};
}
template <class... Axes>
void bind(Tensor* tensor, HostView<Any, Axes...>& view) {
  view = tensor ? tensor->view<Axes...>() : HostView<Any, Axes...>{};
}

// The element type that a tensor type key names.
inline ElementType element_type(std::string_view word) {
  for (const ElementType type :
       {ElementType::float64, ElementType::float32, ElementType::bfloat16, ElementType::float16})
    if (name_of(type) == word) return type;
  throw UsageError(
      fmt::format("no such element type: {} (accepted: fp64, fp32, bf16, fp16)", word));
}

// Collects what somebody's tensors say of a key, and refuses what contradicts an explicit value.
class Inference {
 public:
  explicit Inference(const Case& c) : case_(c) {}
  void set(std::string_view key, const std::string& value, std::string_view because) {
    if (case_.is_explicit(key) && case_.get(key) != value)
      throw UsageError(fmt::format("the case says {}={}, but {} says {}={}", key, case_.get(key),
                                   because, key, value));
    case_ = case_.with(key, value);
  }
  void set(std::string_view key, Index value, std::string_view because) {
    set(key, std::to_string(value), because);
  }
  const Case& result() const { return case_; }

 private:
  Case case_;
};

}  // namespace groundstate::harness
