#include "harness/operators/operator.hpp"

#include <algorithm>
#include <cmath>

namespace groundstate::harness {

Matrix<bool> Operator::zeros(const Case& c, const Tensors& inputs, std::string_view tensor,
                             const Pair& pair, const Matrix<double>& oracle) const {
  if (zero_by_definition(c, tensor, pair))
    return Matrix<bool>::Constant(oracle.rows(), oracle.cols(), true);
  Matrix<bool> mask;
  for (const Index row : zero_rows(c, inputs, tensor, pair)) {
    if (mask.size() == 0) mask = Matrix<bool>::Constant(oracle.rows(), oracle.cols(), false);
    mask.row(row).setConstant(true);
  }
  return mask;
}

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
