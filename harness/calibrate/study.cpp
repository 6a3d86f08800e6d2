#include "harness/calibrate/study.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "harness/case/sweep.hpp"
#include "harness/case/text.hpp"
#include "harness/operators/registry.hpp"

namespace groundstate::harness {
namespace {

// A path and its sibling. In the regimes that are left out every honest kernel of the recipe is
// truly wrong: fp16 operands under mixed_sign (the state leaves fp16), a bf16 state per token under
// growth (updates below half an ulp are lost), running gates under hard_reset (-inf - -inf). That
// is a loss to report, not a limit to widen.
struct Honest {
  std::string variant, sibling = "";
  std::string left_out = "";  // regimes
  std::string declares = "";  // where that is not the variant: it has the same rounding points
};
struct Wrong {
  std::string fault, runs, declares, sibling;
  Spoil spoil = Spoil::nothing;
  std::string left_out = "";
};
// What is run on the cases of one type.
struct Row {
  std::string types;  // keys of the case
  std::vector<Honest> honest;
  std::vector<Wrong> wrong = {};
};
struct Shape {
  std::string keys;
  int every = 1;              // only every so many seeds
  std::string left_out = "";  // regimes
};
struct Sweep {
  std::string operator_keys;
  std::string regime_key;
  std::vector<std::string> regimes;
  std::vector<Shape> shapes;
  std::vector<Row> rows, kernels = {};
  // Keys of the cases on which all mutants are run: together they have what single mutants need
  // (two gates, groups, ragged and packed sequences, both layouts, padding, several tokens).
  std::vector<std::string> mutants = {};
};

const std::string tokens = "state rounded to bf16 after each token",
                  chunks = "state rounded to bf16 after each chunk",
                  bf16_operands = "operands rounded to bf16",
                  tf32_operands = "operands rounded to tf32",
                  all_bf16 = "operands, and states between chunks, rounded to bf16",
                  fp32_arithmetic = "fp32 arithmetic declared as fp64",
                  running_gate = "running gate in fp32, declared as kept without cancellation",
                  global_dg = "dg summed to the end of the sequence, declared as of the chunk",
                  through_bf16 = "fp32 results rounded to bf16 on the way",
                  truncated = "results truncated instead of rounded";

const std::vector<std::string> gates = {"open",       "near_one", "slow",      "medium",
                                        "normal",     "fast",     "mixed",     "reset",
                                        "hard_reset", "growth",   "underflow", "mixed_sign"};

// ---- simple_gla

const std::vector<Row> forward = {
    {"dtype=fp64",
     {{"chunked", "segmented"},
      {"chunked[chunk=16]", "segmented[chunk=16]"},
      {"fused[key_tile=8]", "segmented", "", "fused"},
      {"scan", "hillis_steele"},
      {"chunk_scan", "segmented"},
      {"segmented", "chunk_scan"},
      {"parallel", "chunked"}},
     {{fp32_arithmetic, "chunked:single", "chunked", "segmented"}}},
    {"dtype=fp32",
     {{"recurrent:single", "chunked[chunk=32]:single"},
      {"chunked:single", "segmented:single"},
      {"chunked[chunk=128]:single", "segmented[chunk=128]:single"},
      {"fused[key_tile=8]:single", "segmented:single", "", "fused:single"},
      {"scan:single", "hillis_steele:single"},
      {"segmented:single", "chunk_scan:single"},
      {"chunked[gate_sum=plain]:single", "segmented[gate_sum=plain]:single", "hard_reset"},
      {"chunked:tf32", "segmented:tf32"},
      {"fused[key_tile=32]:tf32", "chunked:tf32"}},
     {{tf32_operands, "chunked:tf32", "chunked:single", "segmented:single"},
      {bf16_operands, "chunked:tensorcore-bf16", "chunked:single", "segmented:single"},
      {bf16_operands, "chunked:tensorcore-bf16", "chunked:tf32", "segmented:tf32"},
      {all_bf16, "chunked:tensorcore-bf16-state", "chunked:single", "segmented:single"},
      {tokens, "recurrent:single-bf16-state", "recurrent:single", "chunked[chunk=32]:single"},
      {running_gate, "chunked[gate_sum=plain]:single", "chunked:single", "segmented:single"},
      {through_bf16, "chunked:single", "chunked:single", "segmented:single", Spoil::through_bf16}}},
    {"dtype=bf16",
     {{"chunked:tensorcore-bf16", "segmented:tensorcore-bf16"},
      {"chunked[chunk=16]:tensorcore-bf16", "segmented[chunk=16]:tensorcore-bf16"},
      {"fused[key_tile=32]:tensorcore-bf16", "chunked:tensorcore-bf16"},
      {"chunked:tensorcore-bf16-state", "segmented:tensorcore-bf16-state"},
      {"recurrent:single-bf16-state", "", "growth"},
      {"chunked:fla-chunk-bf16", "fused:fla-fused-chunk-bf16", "hard_reset"},
      {"fused:fla-fused-chunk-bf16", "chunked:fla-chunk-bf16", "hard_reset"},
      {"fused:tpu-fused-bf16", "chunked:tensorcore-bf16", "hard_reset"}},
     {{chunks, "chunked:tensorcore-bf16-state", "chunked:tensorcore-bf16",
       "segmented:tensorcore-bf16"},
      {tokens, "recurrent:single-bf16-state", "chunked:tensorcore-bf16",
       "segmented:tensorcore-bf16"},
      {through_bf16, "chunked:tensorcore-bf16", "chunked:tensorcore-bf16",
       "segmented:tensorcore-bf16", Spoil::through_bf16},
      {truncated, "chunked:tensorcore-bf16", "chunked:tensorcore-bf16", "segmented:tensorcore-bf16",
       Spoil::truncated}}},
    {"dtype=fp16",
     {{"chunked:tensorcore-fp16", "segmented:tensorcore-fp16", "mixed_sign"},
      {"fused[key_tile=32]:tensorcore-fp16", "chunked:tensorcore-fp16", "mixed_sign"},
      {"chunked:fla-chunk-fp16", "fused:fla-fused-chunk-fp16", "mixed_sign hard_reset"}},
     {{bf16_operands, "chunked:tensorcore-bf16", "chunked:tensorcore-fp16",
       "segmented:tensorcore-fp16", Spoil::nothing, "mixed_sign"},
      {truncated, "chunked:tensorcore-fp16", "chunked:tensorcore-fp16", "segmented:tensorcore-fp16",
       Spoil::truncated, "mixed_sign"}}},
};

const std::vector<Row> backward = {
    {"dtype=fp64",
     {{"chunked", "segmented"},
      {"chunked[chunk=16]", "segmented[chunk=16]"},
      {"segmented", "chunked"}},
     {{fp32_arithmetic, "chunked:single", "chunked", "segmented"}}},
    {"dtype=fp32",
     {{"recurrent:single", "chunked[chunk=32]:single"},
      {"chunked:single", "segmented:single"},
      {"chunked[chunk=128]:single", "segmented[chunk=128]:single"},
      {"segmented:single", "chunked:single"},
      {"chunked[dg_form=global]:single", "chunked[dg_form=global,chunk=32]:single"},
      {"chunked:tf32", "segmented:tf32"}},
     {{tf32_operands, "chunked:tf32", "chunked:single", "segmented:single"},
      {bf16_operands, "chunked:tensorcore-bf16", "chunked:single", "segmented:single"},
      {bf16_operands, "chunked:tensorcore-bf16", "chunked:tf32", "segmented:tf32"},
      {all_bf16, "chunked:tensorcore-bf16-state", "chunked:single", "segmented:single"},
      {tokens, "recurrent:single-bf16-state", "recurrent:single", "chunked[chunk=32]:single"},
      {running_gate, "chunked[gate_sum=plain]:single", "chunked:single", "segmented:single"},
      {global_dg, "chunked[dg_form=global]:single", "chunked:single", "segmented:single"},
      {through_bf16, "chunked:single", "chunked:single", "segmented:single", Spoil::through_bf16}}},
    {"dtype=bf16",
     {{"chunked:tensorcore-bf16", "segmented:tensorcore-bf16"},
      {"chunked[chunk=16,dh_dtype=operand]:tensorcore-bf16",
       "segmented[chunk=16,dh_dtype=operand]:tensorcore-bf16"},
      {"segmented:tensorcore-bf16", "chunked:tensorcore-bf16"},
      {"chunked[dg_form=global]:tensorcore-bf16",
       "chunked[dg_form=global,chunk=32]:tensorcore-bf16"},
      {"chunked:tensorcore-bf16-state", "segmented:tensorcore-bf16-state"},
      {"recurrent:single-bf16-state", "", "growth"},
      {"chunked:fla-chunk-bf16", "fused:fla-fused-chunk-bf16", "hard_reset"},
      {"fused:tpu-fused-bf16", "chunked:tensorcore-bf16", "hard_reset"}},
     {{chunks, "chunked:tensorcore-bf16-state", "chunked:tensorcore-bf16",
       "segmented:tensorcore-bf16"},
      {tokens, "recurrent:single-bf16-state", "chunked:tensorcore-bf16",
       "segmented:tensorcore-bf16"},
      {global_dg, "chunked[dg_form=global]:tensorcore-bf16", "chunked:tensorcore-bf16",
       "segmented:tensorcore-bf16"},
      {through_bf16, "chunked:tensorcore-bf16", "chunked:tensorcore-bf16",
       "segmented:tensorcore-bf16", Spoil::through_bf16},
      {truncated, "chunked:tensorcore-bf16", "chunked:tensorcore-bf16", "segmented:tensorcore-bf16",
       Spoil::truncated}}},
    {"dtype=fp16",
     {{"chunked:tensorcore-fp16", "segmented:tensorcore-fp16", "mixed_sign"},
      {"segmented:tensorcore-fp16", "chunked:tensorcore-fp16", "mixed_sign"}},
     {{bf16_operands, "chunked:tensorcore-bf16", "chunked:tensorcore-fp16",
       "segmented:tensorcore-fp16", Spoil::nothing, "mixed_sign"},
      {truncated, "chunked:tensorcore-fp16", "chunked:tensorcore-fp16", "segmented:tensorcore-fp16",
       Spoil::truncated, "mixed_sign"}}},
};

// A kernel's sibling is our emulation of its form.
const std::vector<Row> forward_kernels = {
    {"dtype=fp64", {{"gpu.recurrent"}, {"gpu.step[tokens=4]"}}},
    {"dtype=fp32",
     {{"gpu.recurrent:single", "recurrent:single"},
      {"gpu.step[tokens=4]:single", "recurrent:single"},
      {"gpu.fused:single", "fused:single"},
      {"gpu.segmented:single", "segmented:single"}}},
    {"dtype=bf16",
     {{"gpu.fused:tensorcore-bf16", "fused:tensorcore-bf16"},
      {"gpu.segmented:tensorcore-bf16", "segmented:tensorcore-bf16"}}},
    {"dtype=fp16",
     {{"gpu.fused:tensorcore-fp16", "fused:tensorcore-fp16", "mixed_sign"},
      {"gpu.segmented:tensorcore-fp16", "segmented:tensorcore-fp16", "mixed_sign"}}},
    {"dtype=bf16 state_dtype=bf16", {{"gpu.step[tokens=4]:single-bf16-state", "", "growth"}}},
};
const std::vector<Row> backward_kernels = {
    {"dtype=fp64", {{"gpu.recurrent"}}},
    {"dtype=fp32",
     {{"gpu.recurrent:single", "recurrent:single"}, {"gpu.fused:single", "fused:single"}}},
    {"dtype=bf16",
     {{"gpu.fused:tensorcore-bf16", "fused:tensorcore-bf16"},
      {"gpu.fused[dg_chunks=4]:tensorcore-bf16", "fused[dg_chunks=4]:tensorcore-bf16"},
      {"gpu.chunked[dh_dtype=operand]:tensorcore-bf16",
       "chunked[dh_dtype=operand]:tensorcore-bf16"}}},
    {"dtype=fp16",
     {{"gpu.fused:tensorcore-fp16", "fused:tensorcore-fp16", "mixed_sign"},
      {"gpu.fused[dg_chunks=4]:tensorcore-fp16", "fused[dg_chunks=4]:tensorcore-fp16",
       "mixed_sign"}}},
};

// ---- steps on pools, and the sum

std::vector<Row> update_rows() {
  std::vector<Row> rows;
  for (const char* const types :
       {"dtype=fp32", "dtype=bf16", "dtype=fp16", "dtype=bf16 state_dtype=bf16",
        "dtype=fp16 state_dtype=fp16", "dtype=bf16 state_dtype=int8",
        "dtype=bf16 state_dtype=int16", "dtype=bf16 state_dtype=fp8"})
    rows.push_back({types, {{"recurrent:single"}, {"stepwise:single", "recurrent:single"}}});
  rows.push_back({"dtype=fp64",
                  {{"stepwise"}},
                  {{fp32_arithmetic, "recurrent:single", "recurrent", "stepwise"}}});
  rows[0].wrong.push_back({through_bf16, "recurrent:single", "recurrent:single", "stepwise:single",
                           Spoil::through_bf16});
  for (const std::size_t i : {1, 2})
    rows[i].wrong.push_back(
        {truncated, "recurrent:single", "recurrent:single", "stepwise:single", Spoil::truncated});
  return rows;
}
std::vector<Row> update_kernels() {
  std::vector<Row> rows = {{"dtype=fp64", {{"gpu.recurrent"}}}};
  for (const char* const types :
       {"dtype=fp32", "dtype=bf16", "dtype=fp16", "dtype=bf16 state_dtype=bf16",
        "dtype=bf16 state_dtype=int8", "dtype=bf16 state_dtype=fp8"})
    rows.push_back(
        {types,
         {{"gpu.recurrent:single", "recurrent:single"}, {"gpu.step:single", "recurrent:single"}}});
  return rows;
}
std::vector<Row> mamba3_rows() {
  std::vector<Row> rows;
  for (const char* const types : {"dtype=fp32", "dtype=bf16", "dtype=fp16",
                                  "dtype=bf16 state_dtype=bf16", "dtype=fp16 state_dtype=fp16"})
    rows.push_back({types,
                    {{"recurrent:single", "rotating:single"},
                     {"rotating:single", "recurrent:single"},
                     {"separate:single", "recurrent:single"}}});
  rows.push_back({"dtype=fp64",
                  {{"rotating", "recurrent"}, {"separate", "recurrent"}},
                  {{fp32_arithmetic, "recurrent:single", "recurrent", "rotating"}}});
  rows[0].wrong.push_back({through_bf16, "recurrent:single", "recurrent:single", "rotating:single",
                           Spoil::through_bf16});
  for (const std::size_t i : {1, 2})
    rows[i].wrong.push_back(
        {truncated, "recurrent:single", "recurrent:single", "rotating:single", Spoil::truncated});
  return rows;
}
const std::vector<Row> sum_rows = {
    {"dtype=fp64", {{"scan"}}, {{fp32_arithmetic, "scan:single", "scan", "recurrent"}}},
    {"dtype=fp32",
     {{"recurrent:single", "scan:single"}, {"scan:single", "recurrent:single"}},
     {{through_bf16, "scan:single", "scan:single", "recurrent:single", Spoil::through_bf16}}},
    {"dtype=bf16",
     {{"recurrent:single", "scan:single"}, {"scan:single", "recurrent:single"}},
     {{truncated, "scan:single", "scan:single", "recurrent:single", Spoil::truncated}}},
};
const std::vector<Row> sum_backward_rows = {
    {"dtype=fp32",
     {{"recurrent:single"}},
     {{through_bf16, "recurrent:single", "recurrent:single", "recurrent:single",
       Spoil::through_bf16}}},
    {"dtype=bf16",
     {{"recurrent:single"}},
     {{truncated, "recurrent:single", "recurrent:single", "recurrent:single", Spoil::truncated}}},
};

const std::vector<Shape> step_shapes = {{"B=3 T=1 H=2 P=64 N=128"}, {"B=3 T=8 H=2 P=32 N=64"}},
                         sum_shapes = {{"T=64 V=16"}, {"T=500 V=64"}, {"T=4096 V=16", 4}};
const std::vector<std::string>
    update_mutants = {"B=6 H=4 G=2 P=16 N=32 padding=interleaved state_dtype=fp32,int8",
                      "B=6 T=4 H=1 P=16 N=32 accepted=random dst=tokens dtype=fp32"},
    mamba3_mutants =
        {"B=6 H=4 G=2 P=16 N=32 padding=interleaved",
         "B=6 T=4 H=1 P=16 N=32 accepted=random dst=tokens state_dtype=bf16 carry=storage"},
    sum_mutants = {"B=2 T=130 H=2 V=16 dtype=fp32"};

// ---- all of it

const std::vector<Sweep>& sweeps() {
  static const std::vector<Sweep> all = {
      {"simple_gla state=random",
       "gate",
       gates,
       {{"T=64 K=16 V=16"},
        {"T=200 K=32 V=16"},
        {"T=500 H=1 K=64 V=64", 4},
        {"T=100 H=1 K=128 V=128", 4},
        {"T=2048 H=1 K=16 V=16", 4},
        {"T=4096 H=1 K=16 V=8", 10}},
       forward,
       forward_kernels,
       {"T=200 HV=4 K=16 V=16 gate_inputs=both gamma=-0.05 dtype=fp32,bf16",
        "lengths=37+64+0+100 K=16 V=16 reverse=yes state_layout=vk dtype=fp32"}},
      {"simple_gla.backward state=random dht=random gate_inputs=both gamma=-0.0001",
       "gate",
       gates,
       {{"T=64 K=16 V=16"},
        {"T=200 K=32 V=16", 2},
        {"T=300 H=1 K=64 V=64", 10},
        {"T=64 H=1 K=128 V=128", 10},
        {"T=2048 H=1 K=16 V=16", 10},
        {"T=4096 H=1 K=16 V=8", 20}},
       backward,
       backward_kernels,
       {"T=200 HV=4 K=16 V=16 dtype=fp32,bf16",
        "lengths=37+64+0+100 K=16 V=16 reverse=yes state_layout=vk dtype=fp32"}},
      {"selective_state_update z=random",
       "A",
       {"normal", "slow", "none", "strong", "underflow", "mixed", "growth"},
       {{"B=3 T=1 H=2 P=64 N=128"},
        {"B=3 T=8 H=2 P=32 N=64"},
        {"B=1 T=2048 H=1 P=16 N=16", 10, "growth"}},
       update_rows(),
       update_kernels(),
       update_mutants},
      {"selective_state_update",
       "dt",
       {"small", "edges", "negative"},
       step_shapes,
       update_rows(),
       update_kernels(),
       update_mutants},
      {"mamba3_step z=random prologue=rotary",
       "A",
       {"normal", "slow", "floor", "strong", "underflow", "mixed"},
       {{"B=3 T=1 H=2 P=64 N=128"},
        {"B=3 T=8 H=2 P=32 N=64"},
        {"B=1 T=2048 H=1 R=1 P=16 N=16", 10}},
       mamba3_rows(),
       {},
       mamba3_mutants},
      {"mamba3_step prologue=norm",
       "theta",
       {"normal", "fast", "negative", "tiny", "zero"},
       step_shapes,
       mamba3_rows(),
       {},
       mamba3_mutants},
      {"decayed_sum state=random", "gate", gates, sum_shapes, sum_rows, {}, sum_mutants},
      {"decayed_sum.backward state=random dht=random",
       "gate",
       gates,
       sum_shapes,
       sum_backward_rows,
       {},
       sum_mutants},
  };
  return all;
}

// Uniform on [0, 1), of the id of a case.
double draw(const Case& c) {
  std::uint64_t bits = 0;
  const std::string id = c.id();
  std::from_chars(id.data(), id.data() + id.size(), bits, 16);
  return std::ldexp(static_cast<double>(bits >> 11), -53);
}

std::string regime_name(const Sweep& sweep, const std::string& regime) {
  return sweep.regime_key == "gate" ? regime : fmt::format("{}={}", sweep.regime_key, regime);
}

void add_once(std::vector<std::string>& names, const std::string& name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
}

// A list of words has this one.
bool names(std::string_view list, std::string_view word) {
  for (const std::string_view own : split(list, ' '))
    if (own == word) return true;
  return false;
}

std::vector<StudyImplementation> implementations_of(const Row& row, const std::string& regime) {
  std::vector<StudyImplementation> result;
  for (const Honest& own : row.honest)
    if (!names(own.left_out, regime))
      result.push_back(
          {"", own.variant, own.declares.empty() ? own.variant : own.declares, own.sibling});
  for (const Wrong& own : row.wrong)
    if (!names(own.left_out, regime))
      result.push_back({own.fault, own.runs, own.declares, own.sibling, own.spoil});
  return result;
}

// All paths of a case that do, or do not, need a device.
std::vector<StudyImplementation> default_implementations(const Case& c, bool kernels) {
  const Operator& op = operator_of(c);
  std::vector<StudyImplementation> result;
  for (const std::string& text : op.default_variants(c)) {
    const PathVariant variant = parse_path_variant(text, op.path_keys());
    if (op.path(variant.path)->needs_device == kernels) result.push_back({"", text, text, ""});
  }
  return result;
}

// All mutants; the right path that each is made of is its sibling.
std::vector<StudyImplementation> mutants_in_study(const Operator& op) {
  const MutatedOperator& mutated = with_mutants(op);
  std::vector<StudyImplementation> result;
  for (const Mutant& own : mutated.mutants())
    result.push_back(
        {own.name, mutated.variant_of(own).text(op.path_keys()), own.declares, own.declares});
  return result;
}

std::vector<Case> cases_of(const Sweep& sweep, const std::string& regime, int seed,
                           const std::string& keys) {
  return expand(
      fmt::format("{} {}={} seed={} {}", sweep.operator_keys, sweep.regime_key, regime, seed, keys),
      grammars());
}

}  // namespace

const MutatedOperator& with_mutants(const Operator& op) {
  static const std::map<std::string, MutatedOperator> all = [] {
    std::map<std::string, MutatedOperator> result;
    for (const auto& own : operators()) {
      const std::string& name = own->grammar().operator_name;
      result.try_emplace(name, *own, mutants_of(name));
    }
    return result;
  }();
  return all.at(op.grammar().operator_name);
}

std::vector<StudyCase> study(const StudyOptions& options) {
  std::vector<StudyCase> result;
  const auto add = [&](StudyCase own) {
    if (draw(own.value) < options.share && !own.implementations.empty())
      result.push_back(std::move(own));
  };
  for (int seed = 1; seed <= options.seeds; ++seed) {
    const std::size_t before = result.size();
    const std::string seed_text = std::to_string(seed);
    for (const Case& own : options.quick) {
      const Case c = own.with("seed", seed_text);
      add({c, "quick preset", "", default_implementations(c, options.kernels)});
    }
    for (const Sweep& sweep : sweeps())
      for (const Row& row : options.kernels ? sweep.kernels : sweep.rows)
        for (const Shape& shape : sweep.shapes) {
          if ((seed - 1) % shape.every != 0) continue;
          for (const std::string& regime : sweep.regimes) {
            if (names(shape.left_out, regime)) continue;
            const std::string keys = fmt::format("{} {}", row.types, shape.keys);
            add({cases_of(sweep, regime, seed, keys).front(), regime_name(sweep, regime),
                 shape.keys, implementations_of(row, regime)});
          }
        }
    if (seed == 1 && !options.kernels)
      for (const Sweep& sweep : sweeps())
        for (const std::string& regime : sweep.regimes)
          for (const std::string& keys : sweep.mutants)
            for (const Case& own : cases_of(sweep, regime, seed, keys))
              add({own, regime_name(sweep, regime), keys, mutants_in_study(operator_of(own))});
    std::stable_sort(
        result.begin() + static_cast<std::ptrdiff_t>(before), result.end(),
        [](const StudyCase& a, const StudyCase& b) { return a.value.id() < b.value.id(); });
  }
  return result;
}

std::vector<std::string> faults() {
  return {fp32_arithmetic, tf32_operands, bf16_operands, all_bf16,     tokens,
          chunks,          running_gate,  global_dg,     through_bf16, truncated};
}

std::vector<std::string> study_regimes() {
  std::vector<std::string> names;
  for (const Sweep& sweep : sweeps())
    for (const std::string& regime : sweep.regimes) add_once(names, regime_name(sweep, regime));
  return names;
}

std::vector<std::string> study_shapes() {
  std::vector<std::string> names;
  for (const Sweep& sweep : sweeps())
    for (const Shape& shape : sweep.shapes) add_once(names, shape.keys);
  return names;
}

}  // namespace groundstate::harness
