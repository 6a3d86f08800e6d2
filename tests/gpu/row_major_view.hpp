// A view of a tensor in row-major order; without data, of memory that nothing may touch.
#pragma once

#include "reference/core/view.hpp"

namespace groundstate::gpu {

template <class View>
View view(const typename View::Extents& extents, ElementType type = ElementType::float32,
          void* data = nullptr) {
  return {type, data, extents, row_major_strides(extents)};
}

}  // namespace groundstate::gpu
