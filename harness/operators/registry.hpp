// The table of operators.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "harness/operators/operator.hpp"

namespace groundstate::harness {

std::unique_ptr<Operator> make_simple_gla();
std::unique_ptr<Operator> make_simple_gla_backward();
std::unique_ptr<Operator> make_selective_state_update();
std::unique_ptr<Operator> make_mamba3_step();
std::unique_ptr<Operator> make_decayed_sum();
std::unique_ptr<Operator> make_decayed_sum_backward();

// In the order in which they are listed.
const std::vector<std::unique_ptr<Operator>>& operators();
std::span<const Grammar> grammars();
const Operator& operator_of(const Case& c);

}  // namespace groundstate::harness
