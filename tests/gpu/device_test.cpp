#include "gpu/core/device.hpp"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <vector>

#include "gpu/core/check.hpp"
#include "gpu/core/generate.hpp"
#include "reference/core/philox.hpp"

namespace groundstate {
namespace {

TEST(Check, NamesTheFailureAndThePlaceOfTheCall) {
  EXPECT_NO_THROW(gpu::check(cudaSuccess));
  try {
    gpu::check(cudaErrorInvalidValue);
    FAIL() << "nothing was thrown";
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find("cudaErrorInvalidValue"), std::string::npos)
        << error.what();
    EXPECT_NE(std::string(error.what()).find("device_test.cpp"), std::string::npos) << error.what();
  }
}

TEST(Device, MayBeAbsentWithoutAnError) {
  const auto name = gpu::device_name();
  EXPECT_TRUE(!name || !name->empty());
}

// Every second element is written, so that the strides are seen to be honoured.
template <class T>
void expect_host_bits() {
  constexpr Index elements = 100'003, stride = 2;
  void* device = nullptr;
  std::vector<T> got(elements * stride);
  gpu::check(cudaMalloc(&device, got.size() * sizeof(T)));
  gpu::check(cudaMemset(device, 0, got.size() * sizeof(T)));
  gpu::fill_normal<T>({static_cast<T*>(device), {elements}, {stride}}, 7, "q");
  gpu::check(cudaMemcpy(got.data(), device, got.size() * sizeof(T), cudaMemcpyDeviceToHost));
  gpu::check(cudaFree(device));
  const RandomStream stream(7, "q");
  for (Index i = 0; i < elements; ++i) {
    ASSERT_EQ(static_cast<double>(got[i * stride]),
              static_cast<double>(T(stream.normal(static_cast<std::uint64_t>(i)))))
        << i;
    ASSERT_EQ(static_cast<double>(got[i * stride + 1]), 0) << i;
  }
}

TEST(Generate, DeviceMakesTheBitsOfTheHost) {
  if (!gpu::device_name()) GTEST_SKIP() << "no device";
  expect_host_bits<double>();
  expect_host_bits<float>();
  expect_host_bits<bf16>();
  expect_host_bits<fp16>();
}

TEST(Generate, NothingIsLaunchedForAnEmptyTensor) {
  EXPECT_NO_THROW(gpu::fill_normal<float>({nullptr, {0}}, 7, "q"));
}

}  // namespace
}  // namespace groundstate
