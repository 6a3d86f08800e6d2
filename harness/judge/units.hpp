// Unit roundoffs, and the recipes that a path may declare: which roundoff multiplies which
// sensitivity.
//
//   u = 2^-(p) with p significant bits: half the distance of 1 to the next number of the format.
//   fp8 2^-4, bf16 2^-8, fp16 and TF32 2^-11, fp32 2^-24, fp64 2^-53 (dimensionless)
//
// The recipe never depends on the input's dtype, and the roundoff of an output follows the declared
// type of that output (scaled_error.hpp), so neither is in the table.
// Throws UsageError for an unknown recipe. Source: the study of the scale, section 2.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "reference/core/scalar.hpp"

namespace groundstate::harness {

inline constexpr double bf16_roundoff = 0x1p-8, fp16_roundoff = 0x1p-11, tf32_roundoff = 0x1p-11,
                        fp32_roundoff = 0x1p-24, fp64_roundoff = 0x1p-53, fp8_roundoff = 0x1p-4;

// 0 for integers: they are exact.
constexpr double unit_roundoff(ElementType type) {
  switch (type) {
    case ElementType::float64:
      return fp64_roundoff;
    case ElementType::float32:
      return fp32_roundoff;
    case ElementType::bfloat16:
      return bf16_roundoff;
    case ElementType::float16:
      return fp16_roundoff;
    case ElementType::float8:
      return fp8_roundoff;
    case ElementType::int64:
    case ElementType::int32:
    case ElementType::int16:
    case ElementType::int8:
      return 0;
  }
  return 0;
}

// How often the state is rounded: the c of the carry field s^C(c).
enum class CarryInterval : std::uint8_t { token, chunk };

struct RecipeUnits {
  std::string name;
  double operand = 0, carry = 0, gate = 0;  // unit roundoffs
  CarryInterval carry_interval = CarryInterval::token;
  // The C of the gate field s^G(C): the path's chunk length (1 for a path without chunks), or
  // always 1, which is the promise that no running gate cancels.
  bool chunk_gate = true;
  bool underflow_floor = false;  // fp16 operands lose precision below 2^-14
  std::string limit_row;         // the row of limits.hpp; a profile of another library borrows one

  bool is_profile() const { return limit_row != name; }
};

// "2^-8"
std::string power_of_two(double roundoff);

const std::vector<RecipeUnits>& recipe_table();
const RecipeUnits& recipe_units(std::string_view name);

}  // namespace groundstate::harness
