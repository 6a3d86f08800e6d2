#include "harness/run/device.hpp"

#include <fmt/format.h>

#include <chrono>
#include <exception>
#include <string_view>

#include "harness/case/error.hpp"
#include "harness/process/isolated.hpp"

namespace groundstate::harness {

const Device& device() {
  static const Device found = [] {
    if constexpr (!built_with_cuda) return find_device();
    Device answer;
    // A driver that hangs must not hang the program.
    const IsolatedEnd end = run_isolated(
        {std::chrono::milliseconds(60'000), {}},
        [](const Send& send) {
          const Device own = find_device();
          send(own.name);
          send(own.missing);
        },
        [&, messages = 0](const std::string& text) mutable {
          (messages++ == 0 ? answer.name : answer.missing) = text;
          return std::chrono::milliseconds(0);
        });
    if (answer.name.empty() && answer.missing.empty())
      answer.missing = fmt::format("asking for a CUDA device {}", end.text());
    return answer;
  }();
  return found;
}

std::string run_variant(const Operator& op, const Case& c, const PathVariant& variant,
                        const Tensors& inputs, Tensors& outputs) {
  op.start(c, inputs, outputs);
  if (!op.path(variant.path)->needs_device) return op.run(c, variant, inputs, outputs);
  const auto fail = [&](std::string_view reason) {
    throw ResourceError(
        fmt::format("{}: path {}: {}", c.canonical(), variant.text(op.path_keys()), reason));
  };
  if (device().name.empty()) fail(device().missing);
  try {
    return op.run(c, variant, inputs, outputs);
  } catch (const std::exception& error) {
    fail(error.what());
  }
  return {};
}

}  // namespace groundstate::harness
