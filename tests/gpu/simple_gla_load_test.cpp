// The kernels of simple_gla give the same bits whatever else the device does. Every path runs on
// an idle device once and then a thousand times beside copies and another kernel, which change when
// and where its blocks run.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>

#include "gpu/core/check.hpp"
#include "gpu/core/device.hpp"
#include "tests/gpu/simple_gla_problem.hpp"

namespace groundstate::gpu::simple_gla {
namespace {

// ---- what CUDA makes and takes back

template <auto destroy>
struct Destroy {
  template <class T>
  void operator()(T* handle) const {
    static_cast<void>(destroy(handle));
  }
};
using OwnedStream =
    std::unique_ptr<std::remove_pointer_t<cudaStream_t>, Destroy<cudaStreamDestroy>>;
using OwnedEvent = std::unique_ptr<std::remove_pointer_t<cudaEvent_t>, Destroy<cudaEventDestroy>>;
using HostMemory = std::unique_ptr<std::byte, Destroy<cudaFreeHost>>;

OwnedStream make_stream() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return OwnedStream(stream);
}
OwnedEvent make_event() {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  return OwnedEvent(event);
}
// Pinned: copies to it do not wait for the host.
HostMemory make_host_memory(std::size_t bytes) {
  void* data = nullptr;
  check(cudaMallocHost(&data, bytes));
  return HostMemory(static_cast<std::byte*>(data));
}

// ---- the paths

constexpr Options options{0.1};

struct Path {
  const char* name;
  ElementType type;
  Index batch, time;
  Direction direction;
  std::size_t (*workspace)(const Problem&);
  void (*launch)(const Problem&, const Launch&);
};

template <Index segments>
Path fused_path(const char* name, ElementType type, Index time) {
  static constexpr FusedForm form{4, 0, segments};
  return {name,
          type,
          1,
          time,
          Direction::forward,
          [](const Problem& p) { return fused_workspace(p.x, p.y, form); },
          [](const Problem& p, const Launch& launch) { fused(p.x, options, p.y, form, launch); }};
}

template <Index dg_chunks>
Path fused_backward_path(const char* name, ElementType type) {
  static constexpr FusedBackwardForm form{4, 0, dg_chunks};
  return {name,
          type,
          1,
          512,
          Direction::backward,
          [](const Problem& p) { return fused_backward_workspace(p.x, p.dy, form); },
          [](const Problem& p, const Launch& launch) {
            fused_backward(p.x, options, p.dy, form, launch);
          }};
}

Path chunked_backward_path(const char* name, ElementType type) {
  return {name,
          type,
          1,
          512,
          Direction::backward,
          [](const Problem& p) { return chunked_backward_workspace(p.x, p.dy, {}); },
          [](const Problem& p, const Launch& launch) {
            chunked_backward(p.x, options, p.dy, {}, launch);
          }};
}

const Path recurrent_path{
    "recurrent",
    ElementType::bfloat16,
    1,
    128,
    Direction::forward,
    [](const Problem& p) { return recurrent_workspace(p.x, p.y); },
    [](const Problem& p, const Launch& launch) { recurrent(p.x, options, p.y, launch); }};

const Path recurrent_backward_path{
    "recurrent_backward",
    ElementType::bfloat16,
    1,
    128,
    Direction::backward,
    [](const Problem& p) { return recurrent_backward_workspace(p.x, p.dy); },
    [](const Problem& p, const Launch& launch) { recurrent_backward(p.x, options, p.dy, launch); }};

// The pool is ht, and is h0 before each launch.
const Path step_path{
    "step",
    ElementType::bfloat16,
    4,
    3,
    Direction::forward,
    [](const Problem& p) { return step_workspace(without_state(p.x), pool_of(p.y.final_state)); },
    [](const Problem& p, const Launch& launch) {
      const Sizes& n = p.sizes();
      const auto elements = static_cast<std::size_t>(n.batch * n.heads * n.key * n.value);
      check(cudaMemcpyAsync(p.y.final_state.data(), p.x.initial_state.data(),
                            elements * sizeof(float), cudaMemcpyDeviceToDevice,
                            static_cast<cudaStream_t>(launch.stream.handle)));
      step(without_state(p.x), pool_of(p.y.final_state), {}, options, p.y.output, launch);
    }};

// ---- the load

// From its construction to its end two streams have work: copies of several sizes, and the sweep of
// fp32 for 64 heads.
class Load {
 public:
  Load() : thread_([this](std::stop_token stop) { run(stop); }) {}
  ~Load() {
    thread_.request_stop();
    thread_.join();
    static_cast<void>(cudaDeviceSynchronize());  // what is still queued uses this memory
  }
  // Rounds of work so far. Throws what ended it.
  int rounds() const {
    if (failed_) std::rethrow_exception(error_);
    return rounds_;
  }

 private:
  void run(std::stop_token stop) {
    try {
      // The host waits for the round before, so that there is always one queued.
      for (int i = 0; !stop.stop_requested(); ++i, ++rounds_) {
        const auto megabytes = static_cast<std::size_t>(8 + 8 * (i % 7));
        check(cudaMemcpyAsync(to_.data(), from_.data(), megabytes << 20, cudaMemcpyDeviceToDevice,
                              copies_.get()));
        check(cudaEventRecord(copied_[i % 2].get(), copies_.get()));
        fused(problem_.x, options, problem_.y, {},
              {{kernels_.get()}, workspace_.data(), workspace_.size()});
        check(cudaEventRecord(computed_[i % 2].get(), kernels_.get()));
        if (i == 0) continue;
        check(cudaEventSynchronize(copied_[(i + 1) % 2].get()));
        check(cudaEventSynchronize(computed_[(i + 1) % 2].get()));
      }
    } catch (...) {
      error_ = std::current_exception();
      failed_ = true;
    }
  }

  Buffer from_{"from", std::size_t{64} << 20}, to_{"to", std::size_t{64} << 20};
  Problem problem_{{1, 512, 64, 64, 64, true}, ElementType::float32, Direction::forward};
  Buffer workspace_{"the workspace of the load", fused_workspace(problem_.x, problem_.y, {})};
  OwnedStream copies_ = make_stream(), kernels_ = make_stream();
  std::array<OwnedEvent, 2> copied_{make_event(), make_event()},
      computed_{make_event(), make_event()};
  std::atomic<int> rounds_ = 0;
  std::atomic<bool> failed_ = false;
  std::exception_ptr error_;
  std::jthread thread_;  // last: it uses all of the above
};

// ---- the claim

// All results of one launch, one behind the other in host memory.
class Repetition {
 public:
  explicit Repetition(const Problem& problem) : problem_(problem) {
    for (const Buffer& result : problem.results()) bytes_ += result.size();
    host_ = make_host_memory(bytes_);
  }
  // Queues a launch on memory that is `poison` all over, in which nothing of the last one is left.
  void queue(const Path& path, const Buffer& workspace, int poison, cudaStream_t stream) const {
    for (const Buffer& result : problem_.results())
      check(cudaMemsetAsync(result.data(), poison, result.size(), stream));
    check(cudaMemsetAsync(workspace.data(), poison, workspace.size(), stream));
    path.launch(problem_, {{stream}, workspace.data(), workspace.size()});
    std::byte* to = host_.get();
    for (const Buffer& result : problem_.results()) {
      check(cudaMemcpyAsync(to, result.data(), result.size(), cudaMemcpyDeviceToHost, stream));
      to += result.size();
    }
    check(cudaEventRecord(done_.get(), stream));
  }
  void wait() const { check(cudaEventSynchronize(done_.get())); }
  // The results that differ, by name.
  std::string difference(const Repetition& other) const {
    std::string names;
    std::size_t at = 0;
    for (const Buffer& result : problem_.results()) {
      if (std::memcmp(host_.get() + at, other.host_.get() + at, result.size()) != 0)
        names += " " + result.name();
      at += result.size();
    }
    return names;
  }

 private:
  const Problem& problem_;
  std::size_t bytes_ = 0;
  HostMemory host_;
  OwnedEvent done_ = make_event();
};

class UnderLoad : public testing::TestWithParam<Path> {
  void SetUp() override {
    if (!device_name()) GTEST_SKIP() << "no device";
  }
};

TEST_P(UnderLoad, AThousandLaunchesHaveTheBitsOfOneOnAnIdleDevice) {
  const Path& path = GetParam();
  const Problem problem({path.batch, path.time, 16, 128, 128, true}, path.type, path.direction);
  const Buffer workspace("the workspace", path.workspace(problem));
  const OwnedStream stream = make_stream();
  // A byte that is not written, or read before it is, differs from one repetition to the next.
  const auto poison = [](int repetition) { return repetition % 2 == 0 ? 0xff : 0x00; };
  const Repetition idle(problem);
  idle.queue(path, workspace, poison(0), stream.get());
  idle.wait();

  constexpr int repetitions = 1000;
  // Two, so that the device has the next one while the host compares.
  const std::array<Repetition, 2> busy{Repetition(problem), Repetition(problem)};
  {
    const Load load;
    for (int i = 0; i <= repetitions; ++i) {
      if (i < repetitions) busy[i % 2].queue(path, workspace, poison(i + 1), stream.get());
      if (i == 0) continue;
      const Repetition& last = busy[(i - 1) % 2];
      last.wait();
      ASSERT_EQ(last.difference(idle), "") << "in repetition " << i - 1;
    }
    EXPECT_GT(load.rounds(), repetitions / 10) << "the device had little else to do";
  }
  for (const Buffer& result : problem.results()) EXPECT_EQ(result.violation(), std::nullopt);
  EXPECT_EQ(workspace.violation(), std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(
    , UnderLoad,
    testing::Values(fused_path<1>("fused_bf16", ElementType::bfloat16, 1024),
                    fused_path<4>("segmented_bf16", ElementType::bfloat16, 1024),
                    fused_path<1>("fused_fp32", ElementType::float32, 512),
                    fused_path<4>("segmented_fp32", ElementType::float32, 512), recurrent_path,
                    step_path, fused_backward_path<1>("fused_backward_bf16", ElementType::bfloat16),
                    fused_backward_path<4>("fused_backward_bf16_dg_chunks_4",
                                           ElementType::bfloat16),
                    fused_backward_path<1>("fused_backward_fp32", ElementType::float32),
                    chunked_backward_path("chunked_backward_bf16", ElementType::bfloat16),
                    chunked_backward_path("chunked_backward_fp32", ElementType::float32),
                    recurrent_backward_path),
    [](const auto& path) { return std::string(path.param.name); });

}  // namespace
}  // namespace groundstate::gpu::simple_gla
