#include "gpu/core/buffer.hpp"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "gpu/core/check.hpp"
#include "gpu/core/device.hpp"
#include "gpu/core/workspace.hpp"

namespace groundstate::gpu {
namespace {

class DeviceBuffer : public testing::Test {
  void SetUp() override {
    if (!device_name()) GTEST_SKIP() << "no device";
  }
};

TEST_F(DeviceBuffer, StartsAsOneByteAndReturnsWhatItIsGiven) {
  Buffer buffer("x", 1000, 0x7f);
  EXPECT_EQ(reinterpret_cast<std::size_t>(buffer.data()) % Workspace::alignment, 0u);
  std::vector<unsigned char> bytes(1000);
  buffer.download(bytes.data(), bytes.size());
  EXPECT_TRUE(std::ranges::all_of(bytes, [](unsigned char byte) { return byte == 0x7f; }));
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<unsigned char>(i);
  buffer.upload(bytes.data(), bytes.size());
  std::vector<unsigned char> got(1000);
  buffer.download(got.data(), got.size());
  EXPECT_EQ(got, bytes);
  EXPECT_EQ(buffer.violation(), std::nullopt);
}

TEST_F(DeviceBuffer, NamesTheSideOnWhichItWasOverrun) {
  Buffer before("o", 64), behind("o", 64), empty("ht", 0);
  check(cudaMemset(before.data() - 1, 0, 1));
  check(cudaMemset(behind.data() + 64, 0, 1));
  check(cudaMemset(empty.data(), 0, 1));
  EXPECT_EQ(before.violation(), "bytes before o were overwritten");
  EXPECT_EQ(behind.violation(), "bytes behind o were overwritten");
  EXPECT_EQ(empty.violation(), "bytes behind ht were overwritten");
}

TEST_F(DeviceBuffer, BelongsToOneOwnerAfterAMove) {
  Buffer first("x", 16);
  std::byte* const data = first.data();
  Buffer second = std::move(first);
  EXPECT_EQ(second.data(), data);
  first = Buffer("y", 8);
  EXPECT_EQ(first.name(), "y");
  EXPECT_EQ(second.violation(), std::nullopt);
}

TEST_F(DeviceBuffer, SaysWhichOneTheDeviceHasNoRoomFor) {
  try {
    const Buffer buffer("the workspace", std::size_t{1} << 50);
    FAIL() << "a petabyte was had";
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find("the workspace: 1125899906842624 bytes"),
              std::string::npos)
        << error.what();
  }
}

TEST(Workspace, HasTheSizeThatItsArraysNeed) {
  Workspace size;
  EXPECT_EQ(size.take<float>(65), nullptr);
  EXPECT_EQ(size.take<double>(0), nullptr);
  EXPECT_EQ(size.take<double>(1), nullptr);
  EXPECT_EQ(size.size(), 512u + 256u);
  alignas(256) std::byte memory[768];
  Workspace workspace({{}, memory, sizeof memory});
  EXPECT_EQ(static_cast<void*>(workspace.take<float>(65)), memory);
  EXPECT_EQ(static_cast<void*>(workspace.take<double>(1)), memory + 512);
  EXPECT_NO_THROW(require_workspace({{}, memory, 768}, 768));
  EXPECT_THROW(require_workspace({{}, memory, 767}, 768), std::invalid_argument);
  EXPECT_THROW(require_workspace({{}, memory + 8, 768}, 512), std::invalid_argument);
}

}  // namespace
}  // namespace groundstate::gpu
