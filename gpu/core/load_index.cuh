// Elements of index tensors, for lane() and destination() of reference/core/lane.hpp.
#pragma once

#include "gpu/core/element.cuh"

namespace groundstate::gpu {

struct LoadIndex {
  template <class View, class... Axes>
  __device__ Index operator()(const View& view, Axes... at) const {
    return load_integer(view, at...);
  }
};

}  // namespace groundstate::gpu
