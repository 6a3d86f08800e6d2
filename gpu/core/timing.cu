#include <algorithm>
#include <memory>

#include "gpu/core/check.hpp"
#include "gpu/core/timing.hpp"

namespace groundstate::gpu {
namespace {

constexpr std::size_t flushed_bytes = std::size_t{256} << 20;
constexpr long long idle_cycles = 200'000;  // some 100 us: longer than three calls of CUDA take

__global__ void nothing() {}

__global__ void idle(long long cycles) {
  const long long begin = clock64();
  while (clock64() - begin < cycles) {
  }
}

__global__ void copy(const uint4* from, uint4* to, std::size_t count) {
  const std::size_t step = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step)
    to[i] = from[i];
}

using Memory = std::unique_ptr<void, void (*)(void*)>;
Memory allocate(std::size_t bytes) {
  void* data = nullptr;
  check(cudaMalloc(&data, bytes));
  return {data, [](void* p) { static_cast<void>(cudaFree(p)); }};
}

// What CUDA makes and takes back.
template <class Handle, cudaError_t (*destroy)(Handle)>
class Owned {
 public:
  Owned() = default;
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() {
    if (handle_ != nullptr) static_cast<void>(destroy(handle_));
  }
  Handle* made() { return &handle_; }
  Handle get() const { return handle_; }

 private:
  Handle handle_ = nullptr;
};

class Timing {
 public:
  Timing(const Work& work, bool cold)
      : flushed_(cold ? allocate(flushed_bytes) : Memory(nullptr, [](void*) {})) {
    check(cudaDeviceSynchronize());  // whatever prepared the work, on another stream
    check(cudaStreamCreateWithFlags(stream_.made(), cudaStreamNonBlocking));
    check(cudaEventCreate(begin_.made()));
    check(cudaEventCreate(end_.made()));
    const cudaStream_t stream = stream_.get();
    work({stream});
    check(cudaStreamSynchronize(stream));
    Owned<cudaGraph_t, cudaGraphDestroy> graph;
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    try {
      work({stream});
    } catch (...) {
      static_cast<void>(cudaStreamEndCapture(stream, graph.made()));
      throw;
    }
    check(cudaStreamEndCapture(stream, graph.made()));
    check(cudaGraphInstantiate(graph_.made(), graph.get(), 0));
    check(cudaGraphUpload(graph_.get(), stream));
    check(cudaStreamSynchronize(stream));
  }

  double seconds() {
    const cudaStream_t stream = stream_.get();
    if (flushed_)
      check(cudaMemsetAsync(flushed_.get(), ++byte_, flushed_bytes, stream));
    else
      idle<<<1, 1, 0, stream>>>(idle_cycles);
    check(cudaGetLastError());
    check(cudaEventRecord(begin_.get(), stream));
    check(cudaGraphLaunch(graph_.get(), stream));
    check(cudaEventRecord(end_.get(), stream));
    check(cudaEventSynchronize(end_.get()));
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin_.get(), end_.get()));
    return 1e-3 * static_cast<double>(milliseconds);
  }

 private:
  Memory flushed_;
  unsigned char byte_ = 0;
  Owned<cudaStream_t, cudaStreamDestroy> stream_;
  Owned<cudaEvent_t, cudaEventDestroy> begin_, end_;
  Owned<cudaGraphExec_t, cudaGraphExecDestroy> graph_;
};

cudaStream_t of(Stream stream) { return static_cast<cudaStream_t>(stream.handle); }

}  // namespace

std::function<double()> timed(const Work& work, bool cold) {
  const auto timing = std::make_shared<Timing>(work, cold);
  return [timing] { return timing->seconds(); };
}

Work empty_launch() {
  return [](Stream stream) {
    nothing<<<1, 1, 0, of(stream)>>>();
    check(cudaGetLastError());
  };
}

Work copy_launch(std::size_t bytes, Copier copier) {
  const std::size_t half = std::max<std::size_t>(bytes / 2, 1);
  // cudaMalloc aligns to more than any access needs; two buffers have no line in common.
  const std::shared_ptr<void> from(allocate(half)), to(allocate(half));
  check(cudaMemset(from.get(), 1, half));  // pages that are there, and no zeros
  if (copier == Copier::kernel)
    return [from, to, half](Stream stream) {
      constexpr unsigned threads = 512, blocks = 132 * 16;
      copy<<<blocks, threads, 0, of(stream)>>>(static_cast<const uint4*>(from.get()),
                                               static_cast<uint4*>(to.get()), half / sizeof(uint4));
      check(cudaGetLastError());
    };
  return [from, to, half](Stream stream) {
    check(cudaMemcpyAsync(to.get(), from.get(), half, cudaMemcpyDeviceToDevice, of(stream)));
  };
}

}  // namespace groundstate::gpu
