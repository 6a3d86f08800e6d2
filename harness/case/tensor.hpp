// A named tensor of a case at run time: element type, axes in the order of the equation, storage.
//
// Axis order is meaning, stride is storage: a state stored [value, key] keeps its axes (key, value)
// and has other strides. Copying a Tensor shares the storage. Extents are checked before they get
// here; checked_elements() is what does it.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "reference/core/axis.hpp"
#include "reference/core/scalar.hpp"
#include "reference/core/view.hpp"

namespace groundstate::harness {

struct AxisExtent {
  std::string_view name;  // Time::name and so on
  Index extent = 0;
  Index stride = 0;  // in elements
};

// The number of elements of a shape. Throws UsageError (error.hpp) naming `what` when the product,
// in bytes of 8, leaves 63 bits; so does that of the others when one is 0, as strides are products.
Index checked_elements(const std::vector<Index>& extents, std::string_view what);

// Of a row-major element, by the names of the axes: "batch=0 time=5".
std::string coordinate(const std::vector<AxisExtent>& axes, Index element);

class Tensor {
 public:
  Tensor() = default;

  // Fresh zeroed storage. `storage_order` lists axis positions from outermost to innermost; empty
  // means the order of `axes`. The strides in `axes` are ignored and computed.
  static Tensor allocate(std::string name, ElementType type, std::vector<AxisExtent> axes,
                         std::vector<std::size_t> storage_order = {});
  // Storage that somebody else made (a mapped file); `owner` keeps it alive.
  static Tensor borrow(std::string name, ElementType type, std::vector<AxisExtent> axes, void* data,
                       std::shared_ptr<const void> owner,
                       std::vector<std::size_t> storage_order = {});

  bool present() const { return present_; }
  const std::string& name() const { return name_; }
  ElementType type() const { return type_; }
  const std::vector<AxisExtent>& axes() const { return axes_; }
  const std::vector<std::size_t>& storage_order() const { return storage_order_; }
  Index elements() const;
  std::size_t bytes() const { return static_cast<std::size_t>(elements()) * size_of(type_); }
  Index extent(std::string_view axis) const;  // throws std::logic_error when there is no such axis
  bool has_axis(std::string_view axis) const;

  void* data() { return data_; }
  const void* data() const { return data_; }
  double load(Index offset) const { return load_element(type_, data_, offset); }
  void store(Index offset, double x) { store_element(type_, data_, offset, x); }

  // The part [begin, begin + extent) of one axis, sharing the storage.
  Tensor slice(std::string_view axis, Index begin, Index extent) const;

  // As a typed view; throws std::logic_error when the axes are not `Axes...` in this order.
  template <class... Axes>
  HostView<const Any, Axes...> const_view() const {
    const auto [extents, strides] = geometry<sizeof...(Axes)>({Axes::name...});
    return {type_, data_, extents, strides};
  }
  template <class... Axes>
  HostView<Any, Axes...> view() {
    const auto [extents, strides] = geometry<sizeof...(Axes)>({Axes::name...});
    return {type_, data_, extents, strides};
  }

 private:
  template <std::size_t rank>
  std::pair<std::array<Index, rank>, std::array<Index, rank>> geometry(
      const std::array<std::string_view, rank>& names) const {
    check_axes({names.begin(), names.end()});
    std::array<Index, rank> extents{}, strides{};
    for (std::size_t i = 0; i < rank; ++i) {
      extents[i] = axes_[i].extent;
      strides[i] = axes_[i].stride;
    }
    return {extents, strides};
  }
  void check_axes(const std::vector<std::string_view>& names) const;

  std::string name_;
  ElementType type_ = ElementType::float64;
  std::vector<AxisExtent> axes_;
  std::vector<std::size_t> storage_order_;
  void* data_ = nullptr;
  std::shared_ptr<const void> owner_;
  bool present_ = false;
};

}  // namespace groundstate::harness
