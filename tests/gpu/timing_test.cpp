// gpu/core/timing: each timing is one launch, and no launch costs less than nothing.
#include "gpu/core/timing.hpp"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

#include "gpu/core/check.hpp"
#include "gpu/core/device.hpp"
#include "gpu/core/telemetry.hpp"

namespace groundstate {
namespace {

TEST(DeviceTiming, ThrowsWhereThereIsNoDevice) {
  if (gpu::device_name()) GTEST_SKIP() << "there is a device";
  EXPECT_THROW(gpu::timed(gpu::empty_launch(), true), std::runtime_error);
  EXPECT_THROW(gpu::device_facts(), std::runtime_error);
  EXPECT_NO_THROW(gpu::telemetry());
}

TEST(DeviceTiming, TakesTimeAndMoreOfItForMoreBytes) {
  if (!gpu::device_name()) GTEST_SKIP() << "no device";
  for (const bool cold : {false, true}) {
    const double nothing = gpu::timed(gpu::empty_launch(), cold)();
    const double copy = gpu::timed(gpu::copy_launch(std::size_t{1} << 30, gpu::Copier::driver), cold)();
    EXPECT_GT(nothing, 0);
    EXPECT_LT(nothing, copy);
    // 1 GiB in less than 50 us would be 20 TB/s, which no memory of a device reaches.
    EXPECT_GT(copy, 50e-6);
  }
}

// Copies the first half of a buffer onto the second; the first byte is another one each time.
TEST(DeviceTiming, LaunchesOnceATiming) {
  if (!gpu::device_name()) GTEST_SKIP() << "no device";
  unsigned char* data = nullptr;
  gpu::check(cudaMalloc(reinterpret_cast<void**>(&data), 2));
  const auto put = [&](unsigned char byte) {
    gpu::check(cudaMemcpy(data, &byte, 1, cudaMemcpyHostToDevice));
  };
  const auto copied = [&] {
    unsigned char byte = 0;
    gpu::check(cudaMemcpy(&byte, data + 1, 1, cudaMemcpyDeviceToHost));
    return static_cast<int>(byte);
  };
  int queued = 0;
  put(1);
  const auto timing = gpu::timed(
      [&](gpu::Stream stream) {
        ++queued;
        gpu::check(cudaMemcpyAsync(data + 1, data, 1, cudaMemcpyDeviceToDevice,
                                   static_cast<cudaStream_t>(stream.handle)));
      },
      true);
  EXPECT_EQ(queued, 2) << "once as it is, once into the graph";
  EXPECT_EQ(copied(), 1);
  for (const int byte : {2, 3, 4}) {
    put(static_cast<unsigned char>(byte));
    timing();
    EXPECT_EQ(copied(), byte);
  }
  EXPECT_EQ(queued, 2);
  gpu::check(cudaFree(data));
}

TEST(DeviceTiming, AFailureWhileCapturingIsHandedOn) {
  if (!gpu::device_name()) GTEST_SKIP() << "no device";
  int queued = 0;
  EXPECT_THROW(gpu::timed(
                   [&](gpu::Stream) {
                     if (++queued == 2) throw std::runtime_error("no");
                   },
                   true),
               std::runtime_error);
  EXPECT_GT(gpu::timed(gpu::empty_launch(), true)(), 0) << "the next one works";
}

TEST(Device, HasClocksAndACache) {
  if (!gpu::device_name()) GTEST_SKIP() << "no device";
  const gpu::DeviceFacts facts = gpu::device_facts();
  EXPECT_GT(facts.multiprocessors, 0);
  EXPECT_GT(facts.highest_clock, 1e8);
  EXPECT_GT(facts.l2_bytes, 1e6);
  const gpu::Telemetry now = gpu::telemetry();
  if (now.sm_clock) {
    EXPECT_GT(*now.sm_clock, 1e8);
    EXPECT_LE(*now.sm_clock, 1.01 * facts.highest_clock);
  }
  EXPECT_LT(now.temperature.value_or(0), 150);
}

}  // namespace
}  // namespace groundstate
