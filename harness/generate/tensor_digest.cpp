#include "harness/generate/tensor_digest.hpp"

#include <fmt/format.h>

#include <cstring>

#include "harness/case/sha256.hpp"
#include "harness/generate/tensor_spec.hpp"

namespace groundstate::harness {

std::string sha256_of(const Tensor& tensor) {
  const std::size_t size = size_of(tensor.type());
  std::string bytes(tensor.bytes(), '\0');
  const auto* const data = static_cast<const std::byte*>(tensor.data());
  for_each_element(tensor, [&](Index i, Index offset) {
    std::memcpy(bytes.data() + static_cast<std::size_t>(i) * size,
                data + static_cast<std::size_t>(offset) * size, size);
  });
  return sha256_of(bytes);
}

std::string shape_of(const std::vector<AxisExtent>& axes) {
  std::string text;
  for (const AxisExtent& axis : axes)
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", axis.name, axis.extent);
  return text;
}

}  // namespace groundstate::harness
