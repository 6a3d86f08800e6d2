// A workspace cut into arrays, each aligned to 256 bytes. The same cuts on no memory give its size.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

#include "gpu/core/launch.hpp"
#include "reference/core/axis.hpp"

namespace groundstate::gpu {

class Workspace {
 public:
  static constexpr std::size_t alignment = 256;

  Workspace() = default;
  explicit Workspace(const Launch& launch) : base_(launch.workspace) {}

  template <class T>
  T* take(Index elements) {
    T* const array = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + size_);
    const std::size_t bytes = static_cast<std::size_t>(elements) * sizeof(T);
    size_ += (bytes + alignment - 1) / alignment * alignment;
    return array;
  }
  std::size_t size() const { return size_; }

 private:
  std::byte* base_ = nullptr;
  std::size_t size_ = 0;
};

// Throws std::invalid_argument where the workspace of a launch is smaller than `needed` or not
// aligned.
inline void require_workspace(const Launch& launch, std::size_t needed) {
  if (launch.workspace_bytes < needed)
    throw std::invalid_argument("the workspace has " + std::to_string(launch.workspace_bytes) +
                                " bytes; " + std::to_string(needed) + " are needed");
  if (reinterpret_cast<std::size_t>(launch.workspace) % Workspace::alignment != 0)
    throw std::invalid_argument("the workspace must be aligned to 256 bytes");
}

}  // namespace groundstate::gpu
