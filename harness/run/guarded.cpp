#include "harness/run/guarded.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "harness/case/error.hpp"

namespace groundstate::harness {

GuardedTensors::GuardedTensors(const std::vector<TensorSpec>& specs, unsigned char fill) {
  for (const TensorSpec& spec : specs) {
    std::vector<Index> extents;
    for (const AxisExtent& axis : spec.axes) extents.push_back(axis.extent);
    const auto bytes =
        static_cast<std::size_t>(checked_elements(extents, spec.name)) * size_of(spec.type);
    auto* const memory = static_cast<unsigned char*>(std::malloc(bytes + 2 * guard_bytes));
    if (memory == nullptr)
      throw ResourceError(fmt::format("{}: {} bytes of memory could not be had", spec.name, bytes));
    std::memset(memory, guard, guard_bytes);
    std::memset(memory + guard_bytes, fill, bytes);
    std::memset(memory + guard_bytes + bytes, guard, guard_bytes);
    tensors_.push_back(Tensor::borrow(
        spec.name, spec.type, spec.axes, memory + guard_bytes,
        std::shared_ptr<const void>(memory, [](const void* p) { std::free(const_cast<void*>(p)); }),
        spec.storage_order));
  }
}

std::optional<std::string> GuardedTensors::violation() const {
  for (const Tensor& tensor : tensors_) {
    const auto* const data = static_cast<const unsigned char*>(tensor.data());
    const auto intact = [](const unsigned char* p) {
      return std::all_of(p, p + guard_bytes, [](unsigned char byte) { return byte == guard; });
    };
    if (!intact(data - guard_bytes))
      return fmt::format("bytes before {} were overwritten", tensor.name());
    if (!intact(data + tensor.bytes()))
      return fmt::format("bytes behind {} were overwritten", tensor.name());
  }
  return std::nullopt;
}

std::uint64_t digest(const Tensors& tensors) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  const auto mix = [&](std::uint64_t word) { hash = (hash ^ word) * 0x100000001b3u; };
  for (const Tensor& tensor : tensors) {
    const auto* const bytes = static_cast<const unsigned char*>(tensor.data());
    std::size_t i = 0;
    for (; i + 8 <= tensor.bytes(); i += 8) {
      std::uint64_t word;
      std::memcpy(&word, bytes + i, 8);
      mix(word);
    }
    for (; i < tensor.bytes(); ++i) mix(bytes[i]);
  }
  return hash;
}

}  // namespace groundstate::harness
