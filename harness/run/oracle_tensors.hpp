// Oracle and sensitivities of a whole case as tensors, for a fixture file.
//
// oracle/<name>: the double oracle. scale/<name>.input, .carry, .gate: the sensitivities to inputs,
// to the state (disturbed after every token) and to the gates (C = 1), as fp32; perturbation 2^-26,
// 8 runs, shrunk (harness/judge/sensitivity.hpp).
#pragma once

#include <functional>
#include <string_view>

#include "harness/operators/operator.hpp"

namespace groundstate::harness {

// Calls write(group, tensor) for each of them.
void write_oracle(const Operator& op, const Case& c, const Tensors& inputs,
                  const std::function<void(std::string_view, const Tensor&)>& write);

}  // namespace groundstate::harness
