// Rows of states as a step by way of registers has them: 16 bytes a lane, whole rows in a warp.
#pragma once

#include <type_traits>

#include "reference/core/scalar.hpp"

namespace groundstate::gpu {

// Lanes that share a row: 8, 16 or 32; 0 where 16 bytes each do not make one, or where its elements
// are not fp32, bf16 or fp16.
inline int lanes_a_row(ElementType type, Index columns) {
  const bool plain =
      type == ElementType::float32 || type == ElementType::bfloat16 || type == ElementType::float16;
  const Index bytes = columns * static_cast<Index>(size_of(type));
  return plain && (bytes == 128 || bytes == 256 || bytes == 512) ? static_cast<int>(bytes / 16) : 0;
}

// use(Stored{}, std::integral_constant<int, lanes>{}) of rows that lanes can share.
template <class Use>
void with_rows(ElementType type, Index columns, Use&& use) {
  const auto of = [&](auto stored) {
    switch (lanes_a_row(type, columns)) {
      case 8:
        return use(stored, std::integral_constant<int, 8>{});
      case 16:
        return use(stored, std::integral_constant<int, 16>{});
      default:
        return use(stored, std::integral_constant<int, 32>{});
    }
  };
  switch (type) {
    case ElementType::float32:
      return of(float{});
    case ElementType::bfloat16:
      return of(bf16{});
    default:
      return of(fp16{});
  }
}

}  // namespace groundstate::gpu
