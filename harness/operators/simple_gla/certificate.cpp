#include "harness/operators/simple_gla/certificate.hpp"

#include <cmath>

#include "reference/core/dual.hpp"
#include "reference/core/philox.hpp"

namespace groundstate::harness::simple_gla_binding {

Result<double> extended(const Problem<long double>& p) { return widened(recurrent<Extended>(p)); }
Gradients<double> extended(const BackwardProblem<long double>& p) {
  return widened(backward<Extended>(p));
}

Operator::AdjointIdentity adjoint_identity(const BackwardProblem<double>& p, std::uint64_t seed,
                                           Index pair) {
  const Gradients<double> gradients = backward<Exact>(p);
  Operator::AdjointIdentity result;
  result.chain = static_cast<double>(p.time() + p.key() + p.value() + 4);
  // x + epsilon dx, with dx taken against the gradient of x on the way.
  const auto join = [&](std::string_view name, const auto& x, const auto& gradient) {
    const RandomStream stream(seed, name);
    auto moved = x.template cast<DualNumber>().eval();
    for (Index i = 0; i < x.size(); ++i) {
      const double direction =
          stream.normal(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(pair));
      moved.data()[i] = dual(x.data()[i], direction);
      result.backward += direction * gradient.data()[i];
      result.size += std::abs(direction * gradient.data()[i]);
    }
    return moved;
  };
  const Problem<DualNumber> along{join("q", p.q, gradients.dq),
                                  join("k", p.k, gradients.dk),
                                  join("v", p.v, gradients.dv),
                                  join("g", p.log_decay, gradients.dg),
                                  join("h0", p.h0, gradients.dh0),
                                  DualNumber(p.scale),
                                  p.gate_sum};
  const Result<DualNumber> moved = recurrent<Dual>(along);
  const auto inner = [](const Matrix<double>& gradient, const Matrix<DualNumber>& x) {
    return gradient.cwiseProduct(x.unaryExpr(&derivative_of)).sum();
  };
  result.forward = inner(p.d_o, moved.o) + inner(p.dht, moved.ht);
  return result;
}

}  // namespace groundstate::harness::simple_gla_binding
