// Tensors of a case in device memory, and what an operator makes of them: a DeviceRun.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gpu/core/buffer.hpp"
#include "gpu/core/launch.hpp"
#include "harness/operators/device_run.hpp"
#include "reference/core/view.hpp"

namespace groundstate::harness {

// Copies of host tensors with the same types, strides and bytes, each in a guarded buffer.
class DeviceTensors {
 public:
  explicit DeviceTensors(const Tensors& host);

  // The tensor of that name as a view; absent where there is none.
  template <class T, class... Axes>
  void bind(std::string_view name, DeviceView<T, Axes...>& view) const {
    view = {};
    for (const Held& held : held_)
      if (held.host.name() == name) {
        const HostView<const Any, Axes...> host = held.host.template const_view<Axes...>();
        view = {host.type(), held.memory.data(), host.extents(), host.strides()};
      }
  }

  // What the device holds, into tensors of the same names and shapes.
  void read(Tensors& host) const;
  // What the host tensors hold, once more.
  void restore() const;
  // Throws std::runtime_error naming the buffer.
  void check_guards() const;
  void check_unchanged() const;

 private:
  struct Held {
    Tensor host;
    gpu::Buffer memory;
  };
  std::vector<Held> held_;
};

// An operator's views of all its tensors, for those that the contract lists.
template <class Inputs>
Inputs bind_inputs(const DeviceTensors& tensors) {
  Inputs x;
  input_tensors(x, [&](std::string_view name, auto& view, auto...) { tensors.bind(name, view); });
  return x;
}
template <class Outputs>
Outputs bind_outputs(const DeviceTensors& tensors) {
  Outputs y;
  output_tensors(y, [&](std::string_view name, auto& view, auto...) { tensors.bind(name, view); });
  return y;
}
// The inputs that are no outputs too, as pools are, which are held once: among the outputs.
Tensors without_outputs(Tensors inputs, const Tensors& outputs);

// What `launch` queues is the run; the inputs and outputs that it has views of live as long. The
// workspace is filled with fresh_device_byte().
//
// A second launch does the same again, or it goes on from what the first one left in the outputs;
// then read() starts again, and reads what one launch makes.
enum class Repeated { same, goes_on };
std::unique_ptr<DeviceRun> make_device_run(std::shared_ptr<const DeviceTensors> inputs,
                                           std::shared_ptr<const DeviceTensors> outputs,
                                           std::size_t workspace_bytes,
                                           std::function<void(const gpu::Launch&)> launch,
                                           Repeated repeated = Repeated::same,
                                           std::string note = "");

}  // namespace groundstate::harness
