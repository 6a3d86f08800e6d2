// From a contract's one list of tensors to the harness: specifications, labels and typed views.
//
// A contract (reference/<operator>/contract.hpp) visits its tensors as visit(name, view, element
// class, presence); axes come from the type of the view. Nothing is listed a second time.
#pragma once

#include <fmt/format.h>

#include <array>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "harness/case/case_line.hpp"
#include "harness/case/error.hpp"
#include "harness/case/text.hpp"
#include "harness/generate/regime.hpp"
#include "harness/generate/tensor_spec.hpp"
#include "harness/operators/operator.hpp"
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

// A view of no memory with these extents, for a contract's check of shapes.
template <class T, class... Axes>
HostView<T, Axes...> shaped_like(const HostView<T, Axes...>&, ElementType type,
                                 const std::vector<AxisExtent>& axes) {
  std::array<Index, sizeof...(Axes)> extents{};
  for (std::size_t i = 0; i < extents.size(); ++i) extents[i] = axes[i].extent;
  return {type, nullptr, extents, {}};
}

// The element type that a tensor type key names.
inline ElementType element_type(std::string_view word) {
  for (const ElementType type : {ElementType::float64, ElementType::float32, ElementType::bfloat16,
                                 ElementType::float16, ElementType::int64, ElementType::int32,
                                 ElementType::int16, ElementType::int8, ElementType::float8})
    if (name_of(type) == word) return type;
  throw UsageError(fmt::format("no such element type: {}", word));
}

// The type that the key names. Absent, it is the type that gates and states have beside
// activations of `dtype`: fp32, and fp64 with dtype=fp64.
inline std::string default_type_word(const Case& c) {
  return c.get("dtype") == "fp64" ? "fp64" : "fp32";
}
inline ElementType keyed_type(const Case& c, std::string_view key) {
  return element_type(c.get(key).empty() ? default_type_word(c) : c.get(key));
}

inline void append_regimes(std::vector<KeyValueHelp>& list, std::string_view key,
                           std::span<const Regime> table) {
  for (const Regime& r : table)
    list.push_back({std::string(key), std::string(r.name), std::string(r.shows)});
}

// Element i of a [batch, time, heads, channels] tensor that follows a regime; channels = 1 where
// there is no such axis.
inline std::function<double(Index)> regime_element(const Regime& r, const RandomStream& stream,
                                                   Index time, Index heads, Index channels) {
  return [=, value = r.value](Index i) {
    return value(stream, {i, i / (heads * channels) % time, i / channels % heads, i % channels,
                          channels, heads * channels, time});
  };
}
// Element i of an initial state or of its gradient: state=zero|random|huge.
inline std::function<double(Index)> state_element(std::string_view word,
                                                  const RandomStream& stream) {
  const double size = word == "huge" ? 1e4 : word == "zero" ? 0.0 : 1.0;
  return [=](Index i) { return size * stream.normal(static_cast<std::uint64_t>(i)); };
}

inline const Tensor& require_input(const Tensors& inputs, std::string_view name,
                                   std::string_view operator_name) {
  const Tensor* const tensor = find(inputs, name);
  if (tensor == nullptr)
    throw UsageError(fmt::format("inputs/{} is missing; {} needs it", name, operator_name));
  return *tensor;
}

// Collects what somebody's tensors say of a key, and refuses what contradicts an explicit value.
class Inference {
 public:
  explicit Inference(const Case& c) : case_(c) {}
  void set(std::string_view key, const std::string& value, std::string_view because) {
    if (case_.is_explicit(key) && case_.get(key) != value)
      throw UsageError(fmt::format("the case says {}={}, but {} says {}={}", key,
                                   shown(case_.get(key)), because, key, shown(value)));
    case_ = case_.with(key, value);
  }
  void set(std::string_view key, Index value, std::string_view because) {
    set(key, std::to_string(value), because);
  }
  // The type of a gate or state, written only where it is not the default.
  void set_type(std::string_view key, const Tensor& tensor) {
    const std::string word(name_of(tensor.type()));
    if (case_.is_explicit(key) || word != default_type_word(case_))
      set(key, word, "inputs/" + tensor.name());
  }
  // An optional tensor that `key` (none: absent; random: anything) makes present.
  void set_presence(std::string_view key, const Tensors& inputs, std::string_view name) {
    const bool given = find(inputs, name) != nullptr, expected = case_.get(key) != "none";
    if (expected && !given)
      throw UsageError(
          fmt::format("the case says {}={}, but inputs/{} is missing", key, case_.get(key), name));
    if (given && !expected) set(key, "random", fmt::format("inputs/{}", name));
  }
  const Case& result() const { return case_; }

 private:
  Case case_;
};

}  // namespace groundstate::harness
