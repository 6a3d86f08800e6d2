// Device 0, where gpu/ is compiled.
#include <fmt/format.h>

#include "gpu/core/device.hpp"
#include "gpu/core/telemetry.hpp"
#include "gpu/core/timing.hpp"
#include "harness/clock/clock.hpp"

namespace groundstate::harness {
namespace {

class DeviceClock final : public Clock {
 public:
  explicit DeviceClock(std::string name) : name_(std::move(name)), facts_(gpu::device_facts()) {}

  std::string device() const override { return name_; }
  std::string driver() const override { return gpu::telemetry().driver; }
  std::map<std::string, double> clocks() const override {
    std::map<std::string, double> result{{"highest_sm_mhz", 1e-6 * facts_.highest_clock}};
    const gpu::Telemetry now = gpu::telemetry();
    if (now.sm_clock) result["sm_mhz"] = 1e-6 * *now.sm_clock;
    if (now.temperature) result["temperature"] = *now.temperature;
    return result;
  }
  double cache() const override { return facts_.l2_bytes; }

  Timed timed(const Launch& launch, bool cold) override { return gpu::timed(launch, cold); }
  Launch empty() const override { return gpu::empty_launch(); }
  std::vector<Launch> copies(double bytes) const override {
    const auto count = static_cast<std::size_t>(bytes);
    return {gpu::copy_launch(count, gpu::Copier::driver),
            gpu::copy_launch(count, gpu::Copier::kernel)};
  }

  // What the multiprocessors of sm_90 could do at their highest clock (CUDA C++ Programming Guide,
  // "Arithmetic instructions", and the H100 white paper), dense: nobody reaches it.
  Peak peak(Arithmetic arithmetic, const Protocol&) override {
    const auto nominal = [&](double flops_per_clock, std::string_view units) -> Peak {
      return {facts_.multiprocessors * facts_.highest_clock * flops_per_clock,
              fmt::format("{}, nominal", units)};
    };
    switch (arithmetic) {
      case Arithmetic::fp64:
        return nominal(128, "fp64 multiply-add");
      case Arithmetic::fp32:
        return nominal(256, "fp32 multiply-add");
      case Arithmetic::tf32:
        return nominal(2048, "tf32 tensor cores");
      case Arithmetic::half:
        break;
    }
    return nominal(4096, "bf16 tensor cores");
  }

 private:
  std::string name_;
  gpu::DeviceFacts facts_;
};

}  // namespace

std::unique_ptr<Clock> make_device_clock() {
  const auto name = gpu::device_name();
  return name ? std::make_unique<DeviceClock>(*name) : nullptr;
}

}  // namespace groundstate::harness
