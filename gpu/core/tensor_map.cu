#include <cudaTypedefs.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "gpu/core/check.hpp"
#include "gpu/core/tensor_map.hpp"

namespace groundstate::gpu {
namespace {

constexpr Index element_bytes = 2;

// Found at run time, so that nothing links the driver.
PFN_cuTensorMapEncodeTiled_v12000 encoder() {
  static const auto found = [] {
    void* entry = nullptr;
    cudaDriverEntryPointQueryResult result;
    check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000,
                                           cudaEnableDefault, &result));
    if (result != cudaDriverEntryPointSuccess)
      throw std::runtime_error("the driver has no cuTensorMapEncodeTiled");
    return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(entry);
  }();
  return found;
}

}  // namespace

bool copy_engine_takes(const void* data, ElementType type, const std::array<Index, 4>& extents,
                       const std::array<Index, 4>& strides) {
  constexpr Index limit = Index{1} << 40;  // bytes of a stride
  if (type != ElementType::bfloat16 && type != ElementType::float16) return false;
  if (reinterpret_cast<std::uintptr_t>(data) % 16 != 0 || (strides[3] != 1 && extents[3] > 1))
    return false;
  for (int axis = 0; axis < 3; ++axis)
    if (strides[axis] <= 0 || strides[axis] * element_bytes % 16 != 0 ||
        strides[axis] * element_bytes >= limit)
      return false;
  for (const Index extent : extents)
    if (extent < 1 || extent >= Index{1} << 32) return false;
  return true;
}

CUtensorMap block_map(const void* data, ElementType type, const std::array<Index, 4>& extents,
                      const std::array<Index, 4>& strides) {
  const std::array<cuuint64_t, 4> size{cuuint64_t(extents[3]), cuuint64_t(extents[2]),
                                       cuuint64_t(extents[1]), cuuint64_t(extents[0])};
  const std::array<cuuint64_t, 3> stride{cuuint64_t(strides[2] * element_bytes),
                                         cuuint64_t(strides[1] * element_bytes),
                                         cuuint64_t(strides[0] * element_bytes)};
  const std::array<cuuint32_t, 4> box{64, 1, 64, 1}, step{1, 1, 1, 1};
  CUtensorMap map;
  const CUresult result =
      encoder()(&map,
                type == ElementType::bfloat16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                              : CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
                4, const_cast<void*>(data), size.data(), stride.data(), box.data(), step.data(),
                CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS)
    throw std::runtime_error("the driver refuses a tensor map: error " +
                             std::to_string(static_cast<int>(result)));
  return map;
}

}  // namespace groundstate::gpu
