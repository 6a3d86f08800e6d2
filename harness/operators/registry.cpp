#include "harness/operators/registry.hpp"

#include <stdexcept>

namespace groundstate::harness {

const std::vector<std::unique_ptr<Operator>>& operators() {
  static const auto table = [] {
    std::vector<std::unique_ptr<Operator>> list;
    list.push_back(make_simple_gla());
    list.push_back(make_simple_gla_backward());
    list.push_back(make_selective_state_update());
    list.push_back(make_mamba3_step());
    list.push_back(make_decayed_sum());
    list.push_back(make_decayed_sum_backward());
    return list;
  }();
  return table;
}

std::span<const Grammar> grammars() {
  static const auto list = [] {
    std::vector<Grammar> result;
    for (const auto& op : operators()) result.push_back(op->grammar());
    return result;
  }();
  return list;
}

const Operator& operator_of(const Case& c) {
  for (const auto& op : operators())
    if (op->grammar().operator_name == c.operator_name()) return *op;
  throw std::logic_error("no operator " + c.operator_name());
}

}  // namespace groundstate::harness
