// What a path runs on, as a measurement sees it: how to time a launch there, and what to hold its
// time against.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gpu/core/stream.hpp"
#include "harness/clock/protocol.hpp"

namespace groundstate::harness {

// Work, always the same. On a device it is queued on the stream and can be captured in a graph; on
// the host it is done when the call returns.
using Launch = std::function<void(gpu::Stream)>;

// What multiplies and adds in a recipe: the units whose peak bounds it.
enum class Arithmetic : std::uint8_t { fp64, fp32, tf32, half };

struct Peak {
  double flops_per_second = 0;
  std::string of;  // "fp64 multiply-add", "bf16 tensor cores, nominal"
};

class Clock {
 public:
  virtual ~Clock() = default;

  virtual std::string device() const = 0;
  virtual std::string driver() const = 0;  // version; empty where there is none
  // Of this moment, by name: "sm_mhz", "temperature". What is not known is not there.
  virtual std::map<std::string, double> clocks() const = 0;
  // Bytes of the cache before memory.
  virtual double cache() const = 0;

  // Each call of the result is one launch; cold, nothing of its tensors is in a cache, and what
  // makes it so is not timed.
  virtual Timed timed(const Launch& launch, bool cold) = 0;
  // Nothing: what a launch costs.
  virtual Launch empty() const = 0;
  // Ways to read and write so many bytes of memory in all, half each.
  virtual std::vector<Launch> copies(double bytes) const = 0;
  // Measured under the protocol once, or nominal, and says so.
  virtual Peak peak(Arithmetic arithmetic, const Protocol& protocol) = 0;
};

std::unique_ptr<Clock> make_cpu_clock();
// Null where there is no device, or the program was built without CUDA.
std::unique_ptr<Clock> make_device_clock();

}  // namespace groundstate::harness
