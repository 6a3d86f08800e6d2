#pragma once
#include "reference/core/view.hpp"
#include <cuda_fp16.h>
#include <cuda_bf16.h>
namespace groundstate {
template <class... Axes>
class View<Space::device, const Any, Axes...> : public Layout<Axes...> {
 public:
  using Extents = std::array<Index, sizeof...(Axes)>;
  constexpr View() = default;
  constexpr View(ElementType type, const void* data, const Extents& extents, const Extents& strides)
      : Layout<Axes...>(extents, strides), data_(data), type_(type) {}
  constexpr ElementType type() const { return type_; }
  constexpr const void* data() const { return data_; }
 private:
  const void* data_ = nullptr;
  ElementType type_ = ElementType::float64;
};
template <class... Axes>
class View<Space::device, Any, Axes...> : public Layout<Axes...> {
 public:
  using Extents = std::array<Index, sizeof...(Axes)>;
  constexpr View() = default;
  constexpr View(ElementType type, void* data, const Extents& extents, const Extents& strides)
      : Layout<Axes...>(extents, strides), data_(data), type_(type) {}
  constexpr ElementType type() const { return type_; }
  constexpr void* data() const { return data_; }
 private:
  void* data_ = nullptr;
  ElementType type_ = ElementType::float64;
};
template <class View, class... At>
__device__ inline float load_float(const View& v, At... at) {
  const Index i = v.offset(at...);
  switch (v.type()) {
    case ElementType::float64: return float(static_cast<const double*>(v.data())[i]);
    case ElementType::float32: return static_cast<const float*>(v.data())[i];
    case ElementType::bfloat16: return __bfloat162float(static_cast<const __nv_bfloat16*>(v.data())[i]);
    case ElementType::float16: return __half2float(static_cast<const __half*>(v.data())[i]);
    default: return 0;
  }
}
template <class View, class... At>
__device__ inline void store_float(const View& v, float x, At... at) {
  const Index i = v.offset(at...);
  switch (v.type()) {
    case ElementType::float64: static_cast<double*>(v.data())[i] = x; break;
    case ElementType::float32: static_cast<float*>(v.data())[i] = x; break;
    case ElementType::bfloat16: static_cast<__nv_bfloat16*>(v.data())[i] = __float2bfloat16(x); break;
    case ElementType::float16: static_cast<__half*>(v.data())[i] = __float2half(x); break;
    default: break;
  }
}
template <class View, class... At>
__device__ inline Index load_index(const View& v, At... at) {
  const Index i = v.offset(at...);
  return v.type() == ElementType::int64 ? static_cast<const std::int64_t*>(v.data())[i] : static_cast<const std::int32_t*>(v.data())[i];
}
}
