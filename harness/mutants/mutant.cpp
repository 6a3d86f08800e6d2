#include "harness/mutants/mutant.hpp"

#include <map>

#include "harness/case/path_variant.hpp"

namespace groundstate::harness {

Tensors RightPath::fresh(const Case& c, const Tensors& inputs, const Tensors& like) const {
  Tensors outputs;
  for (const Tensor& tensor : like)
    outputs.push_back(
        Tensor::allocate(tensor.name(), tensor.type(), tensor.axes(), tensor.storage_order()));
  op_.start(c, inputs, outputs);
  (*this)(c, inputs, outputs);
  return outputs;
}

void RightPath::as(std::string_view variant, const Case& c, const Tensors& inputs,
                   Tensors& outputs) const {
  op_.run(c, parse_path_variant(variant, op_.path_keys()), inputs, outputs);
}

const std::vector<Mutant>& mutants_of(std::string_view operator_name) {
  static const std::map<std::string, std::vector<Mutant>, std::less<>> table{
      {"simple_gla", simple_gla_mutants()},
      {"simple_gla.backward", simple_gla_backward_mutants()},
      {"selective_state_update", selective_state_update_mutants()},
      {"mamba3_step", mamba3_step_mutants()},
      {"decayed_sum", decayed_sum_mutants()},
      {"decayed_sum.backward", decayed_sum_backward_mutants()},
  };
  static const std::vector<Mutant> none;
  const auto found = table.find(operator_name);
  return found == table.end() ? none : found->second;
}

}  // namespace groundstate::harness
