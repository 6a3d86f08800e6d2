// Paths that run on a device, as the harness sees them: one variant of one case, ready to be
// launched; whether there is a device; and the byte that its fresh memory is filled with.
//
// A program without CUDA has all of this and finds no device.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>

#include "gpu/core/stream.hpp"
#include "harness/generate/tensor_spec.hpp"

namespace groundstate::harness {

// A variant of a case with its tensors in device memory, ready to be launched any number of times.
// Everything throws std::runtime_error where the device fails.
class DeviceRun {
 public:
  DeviceRun() = default;
  DeviceRun(const DeviceRun&) = delete;
  DeviceRun& operator=(const DeviceRun&) = delete;
  virtual ~DeviceRun() = default;
  // Asynchronous; can be captured in a graph.
  virtual void launch(gpu::Stream stream) = 0;
  // Waits for the device; the outputs are those of one launch on the inputs. Throws
  // std::runtime_error, too, where a kernel wrote outside its buffers or to an input.
  virtual void read(Tensors& outputs) = 0;
  // The outputs of a launch that was captured in a graph, by the graph.
  virtual void read_replayed(Tensors& /*outputs*/) {
    throw std::logic_error("what runs on no device cannot be captured");
  }
  // "num_steps 4 -> 3 (shared memory)", often empty.
  virtual std::string note() const = 0;
};

// One launch and its outputs; returns the note.
std::string run_once(DeviceRun& run, Tensors& outputs);

// True where gpu/ is part of this program.
inline constexpr bool built_with_cuda = GROUNDSTATE_CUDA;

struct Device {
  std::string name;     // "NVIDIA H100 80GB HBM3"; empty where there is none
  std::string missing;  // why there is none
};
// Starts CUDA in this process: a process that forks later must not ask (harness/run/device.hpp).
Device find_device();

// Fills every fresh buffer on the device with a byte while it lives; otherwise that is 0xff, a NaN.
class PoisonedDevice {
 public:
  explicit PoisonedDevice(unsigned char byte);
  ~PoisonedDevice();
  PoisonedDevice(const PoisonedDevice&) = delete;
  PoisonedDevice& operator=(const PoisonedDevice&) = delete;
};
unsigned char fresh_device_byte();

}  // namespace groundstate::harness
