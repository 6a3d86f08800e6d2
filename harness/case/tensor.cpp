#include "harness/case/tensor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <new>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "harness/case/error.hpp"

namespace groundstate::harness {
namespace {

std::vector<std::size_t> default_order(std::size_t rank) {
  std::vector<std::size_t> order(rank);
  std::iota(order.begin(), order.end(), std::size_t{0});
  return order;
}

void set_strides(std::vector<AxisExtent>& axes, const std::vector<std::size_t>& order) {
  Index stride = 1;
  for (std::size_t i = order.size(); i-- > 0;) {
    axes[order[i]].stride = stride;
    stride *= axes[order[i]].extent;
  }
}

}  // namespace

Index checked_elements(const std::vector<Index>& extents, std::string_view what) {
  constexpr Index limit = std::numeric_limits<Index>::max() / 8;
  Index product = 1;  // without the zeros, as the strides are
  for (const Index extent : extents) {
    if (extent < 0 || (extent > 0 && product > limit / extent))
      throw UsageError(fmt::format("{}: {} elements overflow; at most 2^60 are accepted", what,
                                   fmt::join(extents, " x ")));
    if (extent > 0) product *= extent;
  }
  return std::find(extents.begin(), extents.end(), 0) == extents.end() ? product : 0;
}

std::string coordinate(const std::vector<AxisExtent>& axes, Index element) {
  std::string text;
  for (std::size_t k = axes.size(); k-- > 0; element /= axes[k].extent)
    text = fmt::format("{}={}{}{}", axes[k].name, element % axes[k].extent, text.empty() ? "" : " ",
                       text);
  return text;
}

Tensor Tensor::allocate(std::string name, ElementType type, std::vector<AxisExtent> axes,
                        std::vector<std::size_t> storage_order) {
  std::vector<Index> extents;
  for (const AxisExtent& axis : axes) extents.push_back(axis.extent);
  const auto bytes = static_cast<std::size_t>(checked_elements(extents, name)) * size_of(type);
  // calloc: pages that nobody touches cost nothing, and a refusal is an error rather than a kill.
  void* const data = std::calloc(std::max<std::size_t>(bytes, 1), 1);
  if (data == nullptr)
    throw ResourceError(fmt::format("{}: {} bytes of memory could not be had", name, bytes));
  return borrow(
      std::move(name), type, std::move(axes), data,
      std::shared_ptr<const void>(data, [](const void* p) { std::free(const_cast<void*>(p)); }),
      std::move(storage_order));
}

Tensor Tensor::borrow(std::string name, ElementType type, std::vector<AxisExtent> axes, void* data,
                      std::shared_ptr<const void> owner, std::vector<std::size_t> storage_order) {
  Tensor result;
  result.storage_order_ =
      storage_order.empty() ? default_order(axes.size()) : std::move(storage_order);
  set_strides(axes, result.storage_order_);
  result.name_ = std::move(name);
  result.type_ = type;
  result.axes_ = std::move(axes);
  result.data_ = data;
  result.owner_ = std::move(owner);
  result.present_ = true;
  return result;
}

Index Tensor::elements() const {
  Index product = 1;
  for (const AxisExtent& axis : axes_) product *= axis.extent;
  return product;
}

bool Tensor::has_axis(std::string_view axis) const {
  return std::any_of(axes_.begin(), axes_.end(),
                     [&](const AxisExtent& a) { return a.name == axis; });
}

Index Tensor::extent(std::string_view axis) const {
  for (const AxisExtent& a : axes_)
    if (a.name == axis) return a.extent;
  throw std::logic_error(fmt::format("tensor {} has no axis {}", name_, axis));
}

Tensor Tensor::slice(std::string_view axis, Index begin, Index extent) const {
  Tensor result = *this;
  for (AxisExtent& a : result.axes_)
    if (a.name == axis) {
      if (begin < 0 || extent < 0 || begin + extent > a.extent)
        throw std::logic_error(fmt::format("tensor {}: slice of {} out of range", name_, axis));
      if (extent > 0)
        result.data_ =
            static_cast<std::byte*>(data_) + begin * a.stride * static_cast<Index>(size_of(type_));
      a.extent = extent;
      return result;
    }
  throw std::logic_error(fmt::format("tensor {} has no axis {}", name_, axis));
}

void Tensor::check_axes(const std::vector<std::string_view>& names) const {
  const bool same =
      std::equal(axes_.begin(), axes_.end(), names.begin(), names.end(),
                 [](const AxisExtent& a, std::string_view name) { return a.name == name; });
  if (!same)
    throw std::logic_error(fmt::format("tensor {} has other axes than the contract", name_));
}

}  // namespace groundstate::harness
