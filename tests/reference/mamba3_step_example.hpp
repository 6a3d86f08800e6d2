// A call of mamba3_step with tensors of its own, for its tests. Views can be replaced by others
// before run().
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <deque>
#include <limits>
#include <string>
#include <vector>

#include "harness/operators/binding.hpp"
#include "reference/core/philox.hpp"
#include "reference/mamba3_step/rotating.hpp"
#include "reference/mamba3_step/separate.hpp"
#include "tests/refusal.hpp"

namespace groundstate::mamba3_step {

using harness::Tensor;

inline constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

struct Sizes {
  Index lanes = 3, time = 1, heads = 2, groups = 1, ranks = 3, value = 5, state = 12;
  Index frequencies = 6, slots = 3;
};

struct Form {
  bool prologue = false, norm = false, gate = true, outproj = true, xproj = true, D = true;
};

struct Types {
  ElementType state = ElementType::float64, activation = ElementType::float64,
              parameter = ElementType::float64;
};
inline constexpr Types fp32_types{ElementType::float32, ElementType::float32, ElementType::float32};

inline Types types_of(ElementType state, ElementType activation) {
  return {state, activation, ElementType::float32};
}

class Call {
 public:
  explicit Call(const Sizes& sizes, const Form& own_form = {}, const Types& own_types = {})
      : n(sizes), form(own_form), types(own_types) {
    const harness::Extents extents{{Batch::name, n.lanes},     {Time::name, n.time},
                                   {Head::name, n.heads},      {Group::name, n.groups},
                                   {Rank::name, n.ranks},      {Value::name, n.value},
                                   {State::name, n.state},     {Frequency::name, n.frequencies},
                                   {Sequence::name, n.lanes},  {Slot::name, n.slots},
                                   {Offset::name, n.lanes + 1}};
    const auto allocate = [&](std::string_view name, auto& view, ElementClass kind, Presence) {
      if (!wanted(name)) return;
      held.push_back(
          Tensor::allocate(std::string(name), type_of(kind), harness::axes_of(view, extents)));
      fill(held.back());
      harness::bind(&held.back(), view);
    };
    input_tensors(x, allocate);
    output_tensors(y, allocate);
    y.rotation = options.rotation;
  }
  Call(const Call&) = delete;

  template <class Recipe = Exact>
  void run() {
    recurrent<Recipe>(x, options, y);
  }
  void rotate_as(Rotation rotation) { options.rotation = y.rotation = rotation; }

  Tensor& at(std::string_view name) {
    for (Tensor& own : held)
      if (own.name() == name) return own;
    throw std::logic_error("no tensor " + std::string(name));
  }
  void set(std::string_view name, double value) {
    Tensor& own = at(name);
    for (Index i = 0; i < own.elements(); ++i) own.store(i, value);
  }
  std::vector<std::byte> bytes(std::string_view name) {
    const auto* const data = static_cast<const std::byte*>(at(name).data());
    return {data, data + at(name).bytes()};
  }
  // All outputs, one after the other.
  std::vector<std::byte> outputs() {
    std::vector<std::byte> all;
    for (const char* const name : {"out", "rank_out", "state", "k_state", "x_state", "angle_state"})
      for (const Tensor& own : held)
        if (own.name() == name)
          for (const std::byte b : bytes(name)) all.push_back(b);
    return all;
  }
  // An index tensor of [lanes, columns].
  HostView<const Any, Sequence, Time> indices(const std::vector<Index>& values, Index columns = 1) {
    const auto lanes = static_cast<Index>(values.size()) / columns;
    held.push_back(Tensor::allocate("indices", ElementType::int64,
                                    {{Sequence::name, lanes, 0}, {Time::name, columns, 0}}));
    for (std::size_t i = 0; i < values.size(); ++i)
      held.back().store(static_cast<Index>(i), static_cast<double>(values[i]));
    return held.back().const_view<Sequence, Time>();
  }
  template <class Axis>
  HostView<const Any, Axis> list(const std::vector<Index>& values) {
    const auto two = indices(values);
    return {two.type(), two.data(), {static_cast<Index>(values.size())}, {1}};
  }
  // A tensor beside those of the constructor, filled with NaN.
  template <class... Axes>
  HostView<Any, Axes...> buffer(const std::string& name, ElementType type,
                                const std::vector<harness::AxisExtent>& axes) {
    held.push_back(Tensor::allocate(name, type, axes));
    set(name, not_a_number);
    return held.back().view<Axes...>();
  }
  // Tokens [begin, begin + count) of all lanes.
  void keep_tokens(Index begin, Index count) {
    const auto cut = [&](auto& view) {
      if (!view) return;
      auto extents = view.extents();
      extents[1] = count;
      using View = std::remove_reference_t<decltype(view)>;
      using Data = std::remove_const_t<std::remove_pointer_t<decltype(view.data())>>;
      auto* const data = const_cast<std::byte*>(
                             static_cast<const std::byte*>(static_cast<const Data*>(view.data()))) +
                         begin * view.strides()[1] * static_cast<Index>(size_of(view.type()));
      view = View(view.type(), data, extents, view.strides());
    };
    cut(x.x), cut(x.A), cut(x.dt), cut(x.trap), cut(x.B), cut(x.C), cut(x.z), cut(x.theta);
    cut(y.out), cut(y.rank_out);
  }

  Sizes n;
  Form form;
  Types types;
  HostInputs x;
  HostOutputs y;
  Options options;
  std::deque<Tensor> held;

 private:
  bool wanted(std::string_view name) const {
    if (name == "D") return form.D;
    if (name == "xproj") return form.xproj;
    if (name == "outproj" || name == "out") return form.outproj;
    if (name == "rank_out") return !form.outproj;
    if (name == "z" || name == "zproj") return form.gate && form.outproj;
    if (name == "theta" || name.ends_with("_bias") || name == "angle_state") return form.prologue;
    if (name.ends_with("_norm")) return form.prologue && form.norm;
    static constexpr std::string_view required[] = {"x", "A",       "dt",      "trap", "B",
                                                    "C", "k_state", "x_state", "state"};
    return std::find(std::begin(required), std::end(required), name) != std::end(required);
  }
  ElementType type_of(ElementClass kind) const {
    if (kind == ElementClass::activation) return types.activation;
    if (kind == ElementClass::state) return types.state;
    return types.parameter;
  }
  static void fill(Tensor& own) {
    const RandomStream stream(7, own.name());
    const std::string& name = own.name();
    for (Index i = 0; i < own.elements(); ++i) {
      const auto at = static_cast<std::uint64_t>(i);
      const double u = stream.uniform(at, 0), g = stream.normal(at);
      own.store(i, name == "A"                                         ? -0.5 - u
                   : name == "dt"                                      ? 0.05 + 0.4 * u
                   : name == "trap"                                    ? u
                   : name == "angle_state"                             ? 6 * u
                   : name.ends_with("proj") || name.ends_with("_norm") ? 1 + 0.3 * g
                                                                       : g);
    }
  }
};

}  // namespace groundstate::mamba3_step
