#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include "gpu/core/buffer.hpp"
#include "gpu/core/check.hpp"

namespace groundstate::gpu {
namespace {

constexpr std::size_t guard_bytes = 256;  // also the alignment
constexpr unsigned char guard = 0xa5;

bool intact(const std::byte* device) {
  std::array<unsigned char, guard_bytes> bytes;
  check(cudaMemcpy(bytes.data(), device, guard_bytes, cudaMemcpyDeviceToHost));
  return std::ranges::all_of(bytes, [](unsigned char byte) { return byte == guard; });
}

}  // namespace

Buffer::Buffer(std::string name, std::size_t bytes, unsigned char fill)
    : name_(std::move(name)), size_(bytes) {
  std::byte* memory = nullptr;
  if (cudaMalloc(&memory, bytes + 2 * guard_bytes) == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    throw std::runtime_error(name_ + ": " + std::to_string(bytes) +
                             " bytes of device memory could not be had");
  }
  check(cudaGetLastError());
  data_ = memory + guard_bytes;
  check(cudaMemset(memory, guard, bytes + 2 * guard_bytes));
  check(cudaMemset(data_, fill, bytes));
  synchronize();  // other streams do not wait for the default one
}

Buffer::Buffer(Buffer&& other) noexcept
    : name_(std::move(other.name_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(name_, other.name_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Buffer::~Buffer() {
  if (data_ != nullptr) static_cast<void>(cudaFree(data_ - guard_bytes));
}

void Buffer::upload(const void* host, std::size_t bytes) const {
  check(cudaMemcpy(data_, host, bytes, cudaMemcpyHostToDevice));
  synchronize();
}

void Buffer::download(void* host, std::size_t bytes) const {
  check(cudaMemcpy(host, data_, bytes, cudaMemcpyDeviceToHost));
}

std::optional<std::string> Buffer::violation() const {
  if (data_ == nullptr) return std::nullopt;
  synchronize();
  if (!intact(data_ - guard_bytes)) return "bytes before " + name_ + " were overwritten";
  if (!intact(data_ + size_)) return "bytes behind " + name_ + " were overwritten";
  return std::nullopt;
}

void synchronize() { check(cudaDeviceSynchronize()); }

}  // namespace groundstate::gpu
