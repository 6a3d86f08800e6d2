// The contracts without Eigen: what a kernel includes. Every header of the core compiles here, and
// a view is read and rounded. Exit code 0 where the value is right.
#include "reference/decayed_sum/contract.hpp"

#include "reference/core/axis.hpp"
#include "reference/core/gate.hpp"
#include "reference/core/lane.hpp"
#include "reference/core/philox.hpp"
#include "reference/core/scalar.hpp"
#include "reference/core/tensor_list.hpp"
#include "reference/core/trigonometric.hpp"
#include "reference/core/view.hpp"
#include "reference/mamba3_step/contract.hpp"
#include "reference/simple_gla/contract.hpp"

#ifdef EIGEN_WORLD_VERSION
#error "a contract includes Eigen"
#endif
#ifdef _OPENMP
#error "a contract is compiled with OpenMP"
#endif

int main() {
  const double third = groundstate::round_to<groundstate::Bfloat16Format>(1.0 / 3);
  return third == 0x1.56p-2 ? 0 : 1;
}
