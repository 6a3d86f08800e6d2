// Output tensors that notice what is done to them: poisoned with NaN before a run (an element that
// nobody writes stays NaN and cannot pass), and with guard bytes on both sides.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "harness/generate/tensor_spec.hpp"

namespace groundstate::harness {

class GuardedTensors {
 public:
  // `fill` is the byte of the poison: 0xff is a NaN in every floating type. Throws ResourceError
  // when the memory cannot be had.
  explicit GuardedTensors(const std::vector<TensorSpec>& specs, unsigned char fill = 0xff);

  Tensors& tensors() { return tensors_; }
  const Tensors& tensors() const { return tensors_; }
  // The first tensor whose guard bytes were changed, in words.
  std::optional<std::string> violation() const;

 private:
  static constexpr std::size_t guard_bytes = 256;
  static constexpr unsigned char guard = 0xa5;
  Tensors tensors_;
};

// FNV-1a of all bytes of all tensors: inputs must be what they were.
std::uint64_t digest(const Tensors& tensors);

}  // namespace groundstate::harness
