#include "harness/operators/device_tensors.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "gpu/core/timing.hpp"

namespace groundstate::harness {
namespace {

// From the first element to the last one, gaps between them included.
std::size_t span_bytes(const Tensor& tensor) {
  if (tensor.elements() == 0) return 0;
  Index last = 0;
  for (const AxisExtent& axis : tensor.axes()) last += (axis.extent - 1) * axis.stride;
  return static_cast<std::size_t>(last + 1) * size_of(tensor.type());
}

class PreparedRun final : public DeviceRun {
 public:
  PreparedRun(std::shared_ptr<const DeviceTensors> inputs,
              std::shared_ptr<const DeviceTensors> outputs, std::size_t workspace_bytes,
              std::function<void(const gpu::Launch&)> launch, Repeated repeated, std::string note)
      : inputs_(std::move(inputs)),
        outputs_(std::move(outputs)),
        workspace_("the workspace", workspace_bytes, fresh_device_byte()),
        launch_(std::move(launch)),
        repeated_(repeated),
        note_(std::move(note)) {}

  void launch(gpu::Stream stream) override {
    launch_({stream, workspace_.data(), workspace_.size()});
  }
  void read(Tensors& outputs) override {
    if (repeated_ == Repeated::goes_on) {
      gpu::synchronize();
      outputs_->restore();
      launch({});
    }
    finish(outputs);
  }
  void read_replayed(Tensors& outputs) override {
    // Captured after a launch of its own, and launched once.
    const std::function<double()> replay =
        gpu::timed([this](gpu::Stream stream) { launch(stream); }, false);
    gpu::synchronize();
    outputs_->restore();
    replay();
    finish(outputs);
  }
  std::string note() const override { return note_; }

 private:
  void finish(Tensors& outputs) const {
    outputs_->check_guards();
    inputs_->check_guards();
    if (const auto violation = workspace_.violation()) throw std::runtime_error(*violation);
    inputs_->check_unchanged();
    outputs_->read(outputs);
  }

  std::shared_ptr<const DeviceTensors> inputs_, outputs_;
  gpu::Buffer workspace_;
  std::function<void(const gpu::Launch&)> launch_;
  Repeated repeated_;
  std::string note_;
};

}  // namespace

DeviceTensors::DeviceTensors(const Tensors& host) {
  for (const Tensor& tensor : host) {
    const std::size_t bytes = span_bytes(tensor);
    gpu::Buffer memory(tensor.name(), bytes, fresh_device_byte());
    memory.upload(tensor.data(), bytes);
    held_.push_back({tensor, std::move(memory)});
  }
}

void DeviceTensors::read(Tensors& host) const {
  for (const Held& held : held_) {
    Tensor* const tensor = find(host, held.host.name());
    const bool same = tensor != nullptr && tensor->type() == held.host.type() &&
                      std::ranges::equal(tensor->axes(), held.host.axes(), [](auto& a, auto& b) {
                        return a.extent == b.extent && a.stride == b.stride;
                      });
    if (!same)
      throw std::logic_error(held.host.name() + " is not the tensor that the run was made for");
    held.memory.download(tensor->data(), held.memory.size());
  }
}

void DeviceTensors::restore() const {
  for (const Held& held : held_) held.memory.upload(held.host.data(), held.memory.size());
}

void DeviceTensors::check_guards() const {
  for (const Held& held : held_)
    if (const auto violation = held.memory.violation()) throw std::runtime_error(*violation);
}

void DeviceTensors::check_unchanged() const {
  std::vector<std::byte> bytes;
  for (const Held& held : held_) {
    if (held.memory.size() == 0) continue;
    bytes.resize(held.memory.size());
    held.memory.download(bytes.data(), bytes.size());
    if (std::memcmp(bytes.data(), held.host.data(), bytes.size()) != 0)
      throw std::runtime_error("a kernel wrote to the input " + held.host.name());
  }
}

Tensors without_outputs(Tensors inputs, const Tensors& outputs) {
  std::erase_if(inputs, [&](const Tensor& x) { return find(outputs, x.name()) != nullptr; });
  return inputs;
}

std::unique_ptr<DeviceRun> make_device_run(std::shared_ptr<const DeviceTensors> inputs,
                                           std::shared_ptr<const DeviceTensors> outputs,
                                           std::size_t workspace_bytes,
                                           std::function<void(const gpu::Launch&)> launch,
                                           Repeated repeated, std::string note) {
  return std::make_unique<PreparedRun>(std::move(inputs), std::move(outputs), workspace_bytes,
                                       std::move(launch), repeated, std::move(note));
}

}  // namespace groundstate::harness
