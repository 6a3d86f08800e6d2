// Random inputs made on the device, the same bits as the host makes.
//
//   x[i] = round_to<T>(RandomStream(seed, name).normal(i))
//
// RandomStream is integer arithmetic and + * in double, compiled here without contraction; the
// rounding is that of reference/core/scalar.hpp, once, from double.
#pragma once

#include <cstdint>
#include <string_view>

#include "reference/core/axis.hpp"
#include "reference/core/view.hpp"

namespace groundstate::gpu {

// T is double, float, bf16 or fp16. Queued on the default stream. Throws std::runtime_error when
// the launch fails.
template <class T>
void fill_normal(const DeviceView<T, Offset>& x, std::uint64_t seed, std::string_view name);

}  // namespace groundstate::gpu
