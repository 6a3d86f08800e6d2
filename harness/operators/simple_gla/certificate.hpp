// The oracles of simple_gla in long double, and its gradients against forward-mode derivatives.
// Instantiated in a source file of its own.
#pragma once

#include "harness/operators/operator.hpp"
#include "harness/operators/simple_gla/paths.hpp"

namespace groundstate::harness::simple_gla_binding {

// The recurrence and its adjoint in long double, rounded to double at the end.
Result<double> extended(const Problem<long double>& p);
Gradients<double> extended(const BackwardProblem<long double>& p);

// In one random direction, drawn by Philox from `seed` and the number of the pair.
Operator::AdjointIdentity adjoint_identity(const BackwardProblem<double>& p, std::uint64_t seed,
                                           Index pair);

}  // namespace groundstate::harness::simple_gla_binding
