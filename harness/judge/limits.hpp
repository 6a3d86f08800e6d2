// The limits of clause A: one calibrated triple (median, 99.9 % point, maximum of the scaled error)
// per recipe and family of operators, and the limits of clause B, which follow a case's emulation.
//
//   limit_B = min(limit_A, f max(floor / 2, triple(emulation)))
//   f = max(f_0, honest_ratio(n / m)) for n elements, m = 16 (256 for gradients of gates); f_0 = 2
//   where operands are rounded, from about 1500 elements on, else 2.5
//
// The factor was measured at 1e4 elements and more: where operands are rounded the emulation rounds
// them at the same places, and kernels reach 0.8 of twice its triple; where the sums of fp32 are
// all that rounds, their order is the kernel's own, and kernels reach 1.0 of it. With fewer
// elements two honest kernels' triples differ more by chance (counting.hpp), and an emulation may
// be exact by luck; 16 elements are taken for one independent error, since the elements of a row
// share the roundings of its gate and its state. The gate gradients of a chunk are sums to its end,
// or to that of the fourth chunk in paths that take four at once, and share most of their terms.
//
// Source of the numbers: limits.cpp; harness/judge/README.md derives them, with what honest
// implementations reach.
#pragma once

#include <cstdint>
#include <string_view>

#include "harness/judge/error_list.hpp"

namespace groundstate::harness {

// What an operator declares: decay that is diagonal, or a delta rule (whose keys correlate); a
// gradient of a gate, judged with a form term, is a family of its own.
enum class Family : std::uint8_t { diagonal, delta, gate_gradient };

// Throws UsageError for an unknown row.
Triple recipe_limits(std::string_view limit_row, Family family);

// The study's floors, but for the maximum: an error below one unit is no fault of a single element,
// and where a state has forgotten all but its last tokens the emulation's maximum is a matter of
// luck.
inline constexpr Triple case_limit_floor{0.05, 0.3, 1.0};
// f_0, by the unit roundoff of a recipe's operands.
constexpr double case_limit_factor(double operand) { return operand > 0x1p-24 ? 2 : 2.5; }

constexpr double elements_per_error(Family family) {
  return family == Family::gate_gradient ? 256 : 16;
}

Triple case_limits(const Triple& emulation, Index elements, const Triple& recipe_limit,
                   double elements_per_error, double factor);

}  // namespace groundstate::harness
