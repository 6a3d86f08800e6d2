#include "harness/operators/simple_gla/paths.hpp"

#include <map>

namespace groundstate::harness::simple_gla_binding {
namespace {

struct RecipeEntry {
  PathRunner (*runner)();
  GateSum gate_sum = GateSum::two_float;
  bool profile = false;
};

const RecipeEntry& entry(std::string_view recipe) {
  static const std::map<std::string_view, RecipeEntry> table{
      {"exact", {exact}},
      {"single", {single}},
      {"tf32", {tf32}},
      {"tensorcore-bf16", {tensorcore_bf16}},
      {"tensorcore-fp16", {tensorcore_fp16}},
      {"tensorcore-bf16-state", {tensorcore_bf16_state}},
      {"single-bf16-state", {single_bf16_state}},
      {"fla-chunk-bf16", {fla_chunk_bf16, GateSum::base2, true}},
      {"fla-chunk-fp16", {fla_chunk_fp16, GateSum::base2, true}},
      {"fla-fused-chunk-bf16", {fla_fused_chunk_bf16, GateSum::base2, true}},
      {"fla-fused-chunk-fp16", {fla_fused_chunk_fp16, GateSum::base2, true}},
      {"tpu-fused-bf16", {tpu_fused_bf16, GateSum::plain, true}},
  };
  const auto found = table.find(recipe.empty() ? "exact" : recipe);
  if (found == table.end()) throw std::logic_error("no recipe " + std::string(recipe));
  return found->second;
}

}  // namespace

PathRunner runner(std::string_view recipe) { return entry(recipe).runner(); }
bool is_profile(std::string_view recipe) { return entry(recipe).profile; }
GateSum recipe_gate_sum(std::string_view recipe) { return entry(recipe).gate_sum; }

}  // namespace groundstate::harness::simple_gla_binding
