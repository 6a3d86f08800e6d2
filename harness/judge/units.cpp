#include "harness/judge/units.hpp"

#include <fmt/format.h>

#include <cmath>

#include "harness/case/error.hpp"
#include "harness/case/text.hpp"

namespace groundstate::harness {
namespace {

constexpr double u64 = fp64_roundoff, u32 = fp32_roundoff;
constexpr CarryInterval token = CarryInterval::token, chunk = CarryInterval::chunk;

RecipeUnits make(std::string name, double operand, double carry, double gate,
                 CarryInterval interval, bool chunk_gate = true, bool underflow_floor = false) {
  return {name, operand, carry, gate, interval, chunk_gate, underflow_floor, name};
}

RecipeUnits profile(std::string name, std::string row) {
  const bool half = row == "tensorcore-fp16";
  RecipeUnits units =
      make(std::move(name), half ? fp16_roundoff : bf16_roundoff, u32, u32, token, true, half);
  units.limit_row = std::move(row);
  return units;
}

}  // namespace

std::string power_of_two(double roundoff) {
  return roundoff == 0 ? "0" : fmt::format("2^{}", std::lround(std::log2(roundoff)));
}

const std::vector<RecipeUnits>& recipe_table() {
  static const std::vector<RecipeUnits> table = {
      //    name                     operand        carry          gate  c      C     floor
      make("exact", /*            */ u64, /*     */ u64, /*     */ u64, token),
      make("single", /*           */ u32, /*     */ u32, /*     */ u32, token),
      make("tf32", /*             */ tf32_roundoff, u32, /*     */ u32, token),
      make("tensorcore-bf16", /*  */ bf16_roundoff, u32, /*     */ u32, token),
      make("tensorcore-fp16", /*  */ fp16_roundoff, u32, /*     */ u32, token, true, true),
      make("tensorcore-bf16-state", bf16_roundoff, bf16_roundoff, u32, chunk),
      make("single-bf16-state", /**/ u32, /*     */ bf16_roundoff, u32, token, false),
      // Profiles of other libraries: in the units and limits of the recipe that they amount to.
      profile("fla-chunk-bf16", "tensorcore-bf16"),
      profile("fla-chunk-fp16", "tensorcore-fp16"),
      profile("fla-fused-chunk-bf16", "tensorcore-bf16"),
      profile("fla-fused-chunk-fp16", "tensorcore-fp16"),
      profile("tpu-fused-bf16", "tensorcore-bf16"),
  };
  return table;
}

const RecipeUnits& recipe_units(std::string_view name) {
  std::string known;
  for (const RecipeUnits& recipe : recipe_table()) {
    if (recipe.name == name) return recipe;
    known += (known.empty() ? "" : ", ") + recipe.name;
  }
  throw UsageError(fmt::format("recipe '{}' is not known; the recipes are {}", shown(name), known));
}

}  // namespace groundstate::harness
