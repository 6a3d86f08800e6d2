#include "harness/operators/operator.hpp"

#include <algorithm>
#include <cmath>

namespace groundstate::harness {

Tensors Operator::size_inputs(const Case& /*c*/, const Tensors& inputs) const {
  const std::vector<std::string> gates = gate_inputs();
  Tensors result;
  for (const Tensor& tensor : inputs) {
    if (is_integer(tensor.type()) ||
        std::find(gates.begin(), gates.end(), tensor.name()) != gates.end()) {
      result.push_back(tensor);
      continue;
    }
    Tensor own =
        Tensor::allocate(tensor.name(), tensor.type(), tensor.axes(), tensor.storage_order());
    for_each_pair(own, tensor,
                  [&](Index, Index to, Index from) { own.store(to, std::abs(tensor.load(from))); });
    result.push_back(std::move(own));
  }
  return result;
}

}  // namespace groundstate::harness
