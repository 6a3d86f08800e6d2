// Device memory that notices what is done to it: it starts as one byte all over, and has guard
// bytes on both sides.
//
// Copies wait until they are done. Everything throws std::runtime_error naming the buffer where the
// device has too little memory, and check()'s words where CUDA fails.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace groundstate::gpu {

class Buffer {
 public:
  Buffer() = default;
  // Filled with `fill`; 0xff is a NaN in every floating type. Aligned to 256 bytes.
  Buffer(std::string name, std::size_t bytes, unsigned char fill = 0xff);
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();

  const std::string& name() const { return name_; }
  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

  // Of the first `bytes` bytes.
  void upload(const void* host, std::size_t bytes) const;
  void download(void* host, std::size_t bytes) const;

  // "bytes behind o were overwritten", if the guards were. Waits for the whole device.
  std::optional<std::string> violation() const;

 private:
  std::string name_;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// Waits until all that was queued on the device is done.
void synchronize();

}  // namespace groundstate::gpu
