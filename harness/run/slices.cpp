#include "harness/run/slices.hpp"

#include <algorithm>

namespace groundstate::harness {
namespace {

// A resumed exact path carries fp64 whatever the case's state type is.
bool carries_other_type(const Operator& op, const Tensors& original, const Tensors& inputs) {
  for (const Operator::CarriedState& state : op.carried_states()) {
    const Tensor *const own = find(inputs, state.input), *const given = find(original, state.input);
    if (own != nullptr && (given == nullptr || own->type() != given->type())) return true;
  }
  return false;
}

}  // namespace

Tensors cut_axis(const Tensors& tensors, std::string_view axis, Index begin, Index extent) {
  Tensors result;
  for (const Tensor& tensor : tensors)
    result.push_back(tensor.has_axis(axis) ? tensor.slice(axis, begin, extent) : tensor);
  return result;
}

Tensors without_tensor(Tensors tensors, std::string_view name) {
  std::erase_if(tensors, [&](const Tensor& tensor) { return tensor.name() == name; });
  return tensors;
}

bool declares_key(const Case& c, std::string_view key) {
  const auto& keys = c.grammar().keys;
  return std::any_of(keys.begin(), keys.end(),
                     [&](const harness::Key& own) { return own.name == key; });
}

Case sliced_case(const Operator& op, const Case& c, const Tensors& original,
                 const Tensors& inputs) {
  Case bare(op.grammar());
  for (const char* const key :
       {"scale", "reverse", "state_layout", "state_out", "dtype", "gate_dtype", "state_dtype"})
    if (declares_key(bare, key) && declares_key(c, key) && c.is_explicit(key) &&
        !(std::string_view(key) == "state_dtype" && carries_other_type(op, original, inputs)))
      bare = bare.with(key, c.get(key));
  return op.infer(bare, inputs);
}

}  // namespace groundstate::harness
