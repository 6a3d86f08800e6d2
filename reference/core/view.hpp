// Typed strided views: what an operator's interface is made of.
//
//   View<Space, T, Axes...>   pointer, extents and strides (64 bit, in elements) for a tensor whose
//   axes
//                             are `Axes...` in the order of the equation.
//
// Storage order is stride, not type: a state stored [value, key], a slice of a fused qkv, a strided
// pool and a broadcast (stride 0) are all the same type. A default-constructed view is an absent
// tensor (an optional input that is not given); a tensor without elements is present. A view
// neither owns nor checks bounds. With `Any` as the element type the type is known at run time
// only; on the host load() widens exactly and store() rounds once (on a device gpu/core/element.cuh
// does). The reference is written against such views, so that no storage type reaches its maths.
#pragma once

#include <array>
#include <cstddef>
#include <type_traits>

#include "reference/core/axis.hpp"
#include "reference/core/scalar.hpp"

namespace groundstate {

enum class Space { host, device };
struct Any {};

template <std::size_t rank>
constexpr std::array<Index, rank> row_major_strides(const std::array<Index, rank>& extents) {
  std::array<Index, rank> strides{};
  Index stride = 1;
  for (std::size_t i = rank; i-- > 0;) {
    strides[i] = stride;
    stride *= extents[i];
  }
  return strides;
}

// What every view has: extents, strides, presence.
template <class... Axes>
class Layout {
 public:
  static constexpr std::size_t rank = sizeof...(Axes);
  constexpr Layout() = default;
  constexpr Layout(const std::array<Index, rank>& extents, const std::array<Index, rank>& strides)
      : extents_(extents), strides_(strides), present_(true) {}

  constexpr explicit operator bool() const { return present_; }
  template <class Axis>
  constexpr Index extent() const {
    return extents_[position<Axis>()];
  }
  template <class Axis>
  constexpr Index stride() const {
    return strides_[position<Axis>()];
  }
  constexpr const std::array<Index, rank>& extents() const { return extents_; }
  constexpr const std::array<Index, rank>& strides() const { return strides_; }
  constexpr Index offset(Axes... at) const {
    std::size_t i = 0;
    Index result = 0;
    ((result += at.index * strides_[i++]), ...);
    return result;
  }

 private:
  template <class Axis>
  static constexpr std::size_t position() {
    static_assert((std::is_same_v<Axis, Axes> || ...), "the tensor has no such axis");
    std::size_t i = 0;
    static_cast<void>(((std::is_same_v<Axis, Axes> ? true : (++i, false)) || ...));
    return i;
  }
  std::array<Index, rank> extents_{}, strides_{};
  bool present_ = false;
};

template <Space space, class T, class... Axes>
class View : public Layout<Axes...> {
 public:
  using Extents = std::array<Index, sizeof...(Axes)>;
  constexpr View() = default;
  constexpr View(T* data, const Extents& extents)
      : View(data, extents, row_major_strides(extents)) {}
  constexpr View(T* data, const Extents& extents, const Extents& strides)
      : Layout<Axes...>(extents, strides), data_(data) {}

  template <class Mutable>
  requires(std::is_same_v<const Mutable, T>) constexpr View(
      const View<space, Mutable, Axes...>& other)
      : Layout<Axes...>(other), data_(other.data()) {}
  // The memory space, the element type and the axes in their order are part of the type.
  template <Space other_space, class other_element, class... other_axes_or_order>
  constexpr View(const View<other_space, other_element, other_axes_or_order...>&) = delete;

  constexpr T& operator()(Axes... at) const { return data_[this->offset(at...)]; }
  constexpr T* data() const { return data_; }

 private:
  T* data_ = nullptr;
};

template <Space space, class... Axes>
class View<space, const Any, Axes...> : public Layout<Axes...> {
 public:
  using Extents = std::array<Index, sizeof...(Axes)>;
  constexpr View() = default;
  constexpr View(ElementType type, const void* data, const Extents& extents, const Extents& strides)
      : Layout<Axes...>(extents, strides), data_(data), type_(type) {}

  template <class T>
  requires(!std::is_same_v<std::remove_const_t<T>, Any>) constexpr View(
      const View<space, T, Axes...>& other)
      : Layout<Axes...>(other),
        data_(other.data()),
        type_(element_type_of<std::remove_const_t<T>>::value) {}
  constexpr View(const View<space, Any, Axes...>& other)
      : Layout<Axes...>(other), data_(other.data()), type_(other.type()) {}
  template <Space other_space, class other_element, class... other_axes_or_order>
  constexpr View(const View<other_space, other_element, other_axes_or_order...>&) = delete;

  double load(Axes... at) const requires(space == Space::host) {
    return load_element(type_, data_, this->offset(at...));
  }
  constexpr ElementType type() const { return type_; }
  constexpr const void* data() const { return data_; }

 private:
  const void* data_ = nullptr;
  ElementType type_ = ElementType::float64;
};

template <Space space, class... Axes>
class View<space, Any, Axes...> : public Layout<Axes...> {
 public:
  using Extents = std::array<Index, sizeof...(Axes)>;
  constexpr View() = default;
  constexpr View(ElementType type, void* data, const Extents& extents, const Extents& strides)
      : Layout<Axes...>(extents, strides), data_(data), type_(type) {}

  template <class T>
  requires(!std::is_const_v<T> &&
           !std::is_same_v<T, Any>) constexpr View(const View<space, T, Axes...>& other)
      : Layout<Axes...>(other), data_(other.data()), type_(element_type_of<T>::value) {}
  template <Space other_space, class other_element, class... other_axes_or_order>
  constexpr View(const View<other_space, other_element, other_axes_or_order...>&) = delete;

  double load(Axes... at) const requires(space == Space::host) {
    return load_element(type_, data_, this->offset(at...));
  }
  void store(double x, Axes... at) const requires(space == Space::host) {
    store_element(type_, data_, this->offset(at...), x);
  }
  constexpr ElementType type() const { return type_; }
  constexpr void* data() const { return data_; }

 private:
  void* data_ = nullptr;
  ElementType type_ = ElementType::float64;
};

template <class T, class... Axes>
using HostView = View<Space::host, T, Axes...>;
template <class T, class... Axes>
using DeviceView = View<Space::device, T, Axes...>;

}  // namespace groundstate
