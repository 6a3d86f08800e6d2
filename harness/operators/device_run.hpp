// A variant of a case with its tensors in device memory, ready to be launched any number of times.
#pragma once

#include <string>

#include "gpu/core/stream.hpp"
#include "harness/generate/tensor_spec.hpp"

namespace groundstate::harness {

class DeviceRun {
 public:
  virtual ~DeviceRun() = default;
  virtual void launch(gpu::Stream stream) = 0;  // asynchronous, can be captured in a graph
  virtual void read(Tensors& outputs) = 0;      // waits for the stream
  virtual std::string note() const = 0;         // "num_steps 4 -> 3 (shared memory)", often empty
};

}  // namespace groundstate::harness
