// Host memory to a buffer of a device and back.
#pragma once

#include <cstddef>
#include <vector>

#include "gpu/core/buffer.hpp"

namespace groundstate::gpu {

template <class T>
Buffer uploaded(const char* name, const std::vector<T>& values) {
  Buffer memory(name, values.size() * sizeof(T));
  memory.upload(values.data(), memory.size());
  return memory;
}

inline std::vector<std::byte> bytes_of(const Buffer& memory) {
  std::vector<std::byte> host(memory.size());
  memory.download(host.data(), host.size());
  return host;
}

}  // namespace groundstate::gpu
