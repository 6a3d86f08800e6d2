// Forward-mode derivatives: `Dual` is a recipe whose numbers are pairs
//
//   x + epsilon x',  epsilon^2 = 0      x.value() and derivative_of(x)
//
// so that any path of the reference, run on inputs x + epsilon dx, gives f(x) + epsilon J dx: the
// derivative by the rules of calculus, with no step size and in double throughout. It is what
// gradients are checked against, one element or one direction at a time, and the other side of the
// adjoint identity <J dx, dy> = <dx, J^T dy>. The values follow the same operations as with
// `Exact`. A gate of -infinity has the factor 0 and the derivative 0.
//
// The numbers are Eigen's; added here is what the reference needs beyond them. They are expression
// templates: name results by type, not `auto`. Source: Griewank, Walther, "Evaluating
// Derivatives", 2nd ed., 2008, chapter 3.
#pragma once

#include <Eigen/Core>
#include <cmath>
#include <unsupported/Eigen/AutoDiff>

#include "reference/core/recipe.hpp"

namespace groundstate {

using DualNumber = Eigen::AutoDiffScalar<Eigen::Matrix<double, 1, 1>>;
struct Dual : Rounding<DualNumber> {};

inline DualNumber dual(double value, double derivative) {
  return {value, DualNumber::DerType(derivative)};
}
inline double derivative_of(const DualNumber& x) { return x.derivatives()(0); }

}  // namespace groundstate

namespace Eigen {  // where argument-dependent lookup looks

// Eigen's default constructor leaves both parts as they are, even in `DualNumber x[8]{}`.
template <>
inline groundstate::DualNumber::AutoDiffScalar() : m_value(0), m_derivatives(DerType::Zero()) {}

inline groundstate::DualNumber fma(const groundstate::DualNumber& a,
                                   const groundstate::DualNumber& b,
                                   const groundstate::DualNumber& c) {
  using groundstate::derivative_of;
  return groundstate::dual(std::fma(a.value(), b.value(), c.value()),
                           std::fma(derivative_of(a), b.value(),
                                    std::fma(a.value(), derivative_of(b), derivative_of(c))));
}

inline groundstate::DualNumber exp2(const groundstate::DualNumber& x) {
  constexpr double ln2 = 0.69314718055994530942;
  const double value = std::exp2(x.value());
  return groundstate::dual(value, ln2 * value * groundstate::derivative_of(x));
}

}  // namespace Eigen
