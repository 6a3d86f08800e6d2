#include "harness/operators/simple_gla/case.hpp"

#include <fmt/ranges.h>

#include <cmath>
#include <numeric>

namespace groundstate::harness::simple_gla_binding {
namespace {

constexpr Index largest = Index{1} << 40;

}  // namespace

Grammar make_grammar(Direction direction, const std::vector<Key>& path_keys) {
  const Key::Word types{{"fp64", "fp32", "bf16", "fp16"}};
  std::vector<Key> keys{
      {"B", "1", Key::Integer{1, largest}, "batch"},
      {"T", "256", Key::Integer{0, largest}, "tokens"},
      {"H", "2", Key::Integer{1, largest}, "heads of q and k"},
      {"HV", "", Key::Integer{1, largest},
       "heads of v, g and the state, a multiple of H; default H"},
      {"K", "64", Key::Integer{1, largest}, "key size"},
      {"V", "64", Key::Integer{1, largest}, "value size"},
      {"lengths", "", Key::IntegerList{0, largest},
       "packed sequences; then B = 1 and T is their sum"},
      {"dtype", "bf16", types, "q, k, v, o and their gradients"},
      {"gate_dtype", "", types, "g, g_gamma, dg, dg_gamma; default fp32, fp64 with dtype=fp64"},
      {"state_dtype", "", types, "h0, ht, dh0, dht; default fp32, fp64 with dtype=fp64"},
      {"gate_inputs", "g", Key::Word{{"g", "gamma", "both", "none"}}, "which gates are given"},
      {"gate", "normal", Key::Word{names(gate_regimes())}, "regime of g"},
      {"gamma", "retnet", Key::WordOrReal{{"retnet", "lightning", "alibi"}},
       "constant log decay of a head"},
      {"state", "none", Key::Word{{"none", "zero", "random", "huge"}}, "initial state"},
      {"values", "normal", Key::Word{names(value_regimes())}, "regime of q and v"},
      {"keys", "normal", Key::Word{names(key_regimes())}, "regime of k"},
      {"scale", "", Key::Real{}, "multiplies q; default K^-1/2"},
      {"reverse", "no", Key::Word{{"no", "yes"}}, "from the last token to the first"},
      {"state_layout", "kv", Key::Word{{"kv", "vk"}}, "storage order of every state"},
  };
  if (direction == Direction::backward) {
    keys.push_back({"dht", "none", Key::Word{{"none", "random"}}, "gradient of the final state"});
    keys.push_back({"do", "random", Key::Word{{"random", "zero"}}, "gradient of o"});
  }
  keys.push_back({"seed", "1", Key::Integer{0}, "of every random number"});
  std::vector<std::string> names;
  for (const Key& key : path_keys) names.push_back(key.name);
  return {direction == Direction::forward ? "simple_gla" : "simple_gla.backward", std::move(keys),
          std::move(names)};
}

std::vector<KeyValueHelp> regimes() {
  std::vector<KeyValueHelp> result;
  append_regimes(result, "gate", gate_regimes());
  append_regimes(result, "values", value_regimes());
  append_regimes(result, "keys", key_regimes());
  result.push_back({"gamma", "retnet", "log(1 - 2^(-5-h)): long memories, by head"});
  result.push_back({"gamma", "lightning", "-(8/H) h: head 0 has no decay at all"});
  result.push_back({"gamma", "alibi", "-slope[h]: up to 0.71, 128 tokens overflow exp in fp32"});
  result.push_back(
      {"state", "huge", "h0 of 1e4: what comes from the state cancels against nothing"});
  return result;
}

Dimensions dimensions(const Case& c) {
  Dimensions n{
      c.integer("B"), c.integer("T"), c.integer("H"), 0, c.integer("K"), c.integer("V"), 0};
  n.value_heads = c.get("HV").empty() ? n.heads : c.integer("HV");
  if (n.value_heads % n.heads != 0)
    throw UsageError(
        fmt::format("HV={} is not accepted with H={}; a multiple of H is", n.value_heads, n.heads));
  n.sequences = n.batch;
  if (!c.get("lengths").empty()) {
    const std::vector<std::int64_t> lengths = c.integers("lengths");
    Index sum = 0;
    for (const Index length : lengths)
      if (__builtin_add_overflow(sum, length, &sum)) throw UsageError("lengths: the sum overflows");
    if (c.is_explicit("B"))
      throw UsageError(
          fmt::format("B={} is not accepted with lengths; packed sequences have B=1", n.batch));
    if (c.is_explicit("T") && n.time != sum)
      throw UsageError(fmt::format("T={} is not accepted with lengths={}, whose sum is {}", n.time,
                                   shown(c.get("lengths")), sum));
    n.time = sum;
    n.sequences = static_cast<Index>(lengths.size());
  }
  return n;
}

Extents extents(const Dimensions& n) {
  return {{Batch::name, n.batch},          {Time::name, n.time},
          {Head::name, n.heads},           {ValueHead::name, n.value_heads},
          {groundstate::Key::name, n.key}, {Value::name, n.value},
          {Sequence::name, n.sequences},   {Offset::name, n.sequences + 1}};
}

gla::Options options(const Case& c) {
  const double scale = c.get("scale").empty() ? 1 / std::sqrt(c.real("K")) : c.real("scale");
  return {scale, c.get("reverse") == "yes"};
}

bool given(const Case& c, std::string_view name) {
  const std::string& gates = c.get("gate_inputs");
  if (name == "g" || name == "dg") return gates == "g" || gates == "both";
  if (name == "g_gamma" || name == "dg_gamma") return gates == "gamma" || gates == "both";
  if (name == "h0" || name == "dh0") return c.get("state") != "none";
  if (name == "dht") return c.get("dht") != "none";
  if (name == "cu_seqlens") return !c.get("lengths").empty();
  return true;
}

std::string domain(std::string_view name) {
  if (name == "g" || name == "g_gamma") return "natural log decay; any number, -infinity forgets";
  if (name == "cu_seqlens") return "starts at 0, does not decrease, ends at T";
  return "finite";
}

ElementType type_of(const Case& c, ElementClass kind) {
  switch (kind) {
    case ElementClass::activation:
      return element_type(c.get("dtype"));
    case ElementClass::gate:
      return keyed_type(c, "gate_dtype");
    case ElementClass::state:
      return keyed_type(c, "state_dtype");
    case ElementClass::index:
      return ElementType::int64;
    case ElementClass::scale:
      return ElementType::float32;
  }
  return ElementType::float64;
}

std::function<double(Index)> element(const Case& c, const Dimensions& n, std::string_view name) {
  const RandomStream stream(static_cast<std::uint64_t>(c.integer("seed")), name);
  const auto rows = [&](const Regime& r, Index heads, Index channels) {
    return regime_element(r, stream, n.time, heads, channels);
  };
  if (name == "q") return rows(regime(value_regimes(), c.get("values")), n.heads, n.key);
  if (name == "k") return rows(regime(key_regimes(), c.get("keys")), n.heads, n.key);
  if (name == "v") return rows(regime(value_regimes(), c.get("values")), n.value_heads, n.value);
  if (name == "g") return rows(regime(gate_regimes(), c.get("gate")), n.value_heads, 1);
  if (name == "g_gamma")
    return [gamma = c.get("gamma"), heads = n.value_heads](Index i) {
      return constant_log_decay(gamma, i, heads);
    };
  if (name == "h0") return state_element(c.get("state"), stream);
  if (name == "do" || name == "dht") return state_element(c.get(name), stream);
  std::vector<Index> offsets{0};
  for (const Index length : c.integers("lengths")) offsets.push_back(offsets.back() + length);
  return [offsets](Index i) { return static_cast<double>(offsets[static_cast<std::size_t>(i)]); };
}

Case infer(const Case& c, const Tensors& inputs, Direction direction) {
  const std::string name = c.operator_name();
  Inference inference(c);
  const Tensor &q = require_input(inputs, "q", name), &v = require_input(inputs, "v", name);
  require_input(inputs, "k", name);
  const Tensor *const g = find(inputs, "g"), *const gamma = find(inputs, "g_gamma"),
                      *const h0 = find(inputs, "h0"), *const offsets = find(inputs, "cu_seqlens");
  if (offsets != nullptr) {
    std::vector<Index> lengths;
    for (Index i = 0; i + 1 < offsets->elements(); ++i) {
      const auto at = [&](Index k) {
        return static_cast<Index>(offsets->load(k * offsets->axes()[0].stride));
      };
      if (at(i) > at(i + 1))
        throw UsageError(fmt::format("inputs/cu_seqlens must not decrease: entry {} is {} after {}",
                                     i + 1, at(i + 1), at(i)));
      lengths.push_back(at(i + 1) - at(i));
    }
    if (lengths.empty()) throw UsageError("inputs/cu_seqlens needs at least two entries");
    if (q.extent("batch") != 1)
      throw UsageError(fmt::format("inputs/cu_seqlens needs batch = 1, but inputs/q has batch = {}",
                                   q.extent("batch")));
    const auto sum = std::accumulate(lengths.begin(), lengths.end(), Index{0});
    const auto first = static_cast<Index>(offsets->load(0));
    if (first != 0 || sum != q.extent("time"))
      throw UsageError(fmt::format(
          "inputs/cu_seqlens runs from {} to {}; expected from 0 to {}, the tokens of inputs/q",
          first, first + sum, q.extent("time")));
    inference.set("lengths", fmt::format("{}", fmt::join(lengths, "+")), "inputs/cu_seqlens");
  } else if (c.get("lengths").empty()) {
    inference.set("B", q.extent("batch"), "inputs/q");
    inference.set("T", q.extent("time"), "inputs/q");
  }
  inference.set("H", q.extent("head"), "inputs/q");
  if (v.extent("value_head") != q.extent("head") || c.is_explicit("HV"))
    inference.set("HV", v.extent("value_head"), "inputs/v");
  inference.set("K", q.extent("key"), "inputs/q");
  inference.set("V", v.extent("value"), "inputs/v");
  inference.set("dtype", std::string(name_of(q.type())), "inputs/q");
  if (g != nullptr) inference.set_type("gate_dtype", *g);
  if (gamma != nullptr) inference.set_type("gate_dtype", *gamma);
  if (h0 != nullptr) inference.set_type("state_dtype", *h0);
  inference.set("gate_inputs",
                g && gamma ? "both"
                : g        ? "g"
                : gamma    ? "gamma"
                           : "none",
                "the presence of inputs/g and inputs/g_gamma");
  inference.set_presence("state", inputs, "h0");
  if (direction == Direction::backward) {
    require_input(inputs, "do", name);
    inference.set_presence("dht", inputs, "dht");
    if (const Tensor* const dht = find(inputs, "dht")) inference.set_type("state_dtype", *dht);
  }
  return inference.result();
}

void perturb(const Perturbation& how, gla::Problem<double>& p) {
  if (how.field == Field::open) p.log_decay.setZero();
  if (how.field == Field::gate) perturb_gate(how, "g", p.log_decay);
  if (how.field != Field::input && how.field != Field::open) return;
  perturb_input(how, "q", p.q);
  perturb_input(how, "k", p.k);
  perturb_input(how, "v", p.v);
  perturb_input(how, "h0", p.h0);
}
void perturb(const Perturbation& how, gla::BackwardProblem<double>& p) {
  perturb(how, static_cast<gla::Problem<double>&>(p));
  if (how.field != Field::input && how.field != Field::open) return;
  perturb_input(how, "do", p.d_o);
  perturb_input(how, "dht", p.dht);
}

Key chunk_key() { return {"chunk", "64", Key::Integer{1, 65536}, "tokens of a chunk"}; }
Key segments_key() {
  return {"segments", "4", Key::Integer{1, 65536},
          "parts of the sequence, each a whole number of chunks"};
}
Key gate_sum_key() {
  return {"gate_sum", "", Key::Word{{"two_float", "plain", "base2"}},
          "cumulative gates: clamped and in two floats (default of our recipes), a running sum, "
          "or one for exp2"};
}
Key num_steps_key() {
  return {"num_steps", "4", Key::Integer{1, 1024},
          "chunks of one outer step; on a device, on the way"};
}
Key value_tile_key() {
  return {"value_tile", "0", Key::Integer{0, 65536},
          "value columns of a tile, 0 for all; on a device 64 or 128, 0 for either"};
}
std::vector<std::string> sweep_recipes() {
  return {"single", "tensorcore-bf16", "tensorcore-fp16"};
}
std::string sweep_recipe(const std::string& type) {
  return type == "fp32" ? "single" : "tensorcore-" + type;
}
std::vector<std::string> matrix_recipes() {
  return {"exact", "single", "tf32", "tensorcore-bf16", "tensorcore-fp16", "tensorcore-bf16-state"};
}
std::vector<std::string> with_profiles(std::vector<std::string> profiles) {
  std::vector<std::string> result = matrix_recipes();
  result.insert(result.end(), profiles.begin(), profiles.end());
  return result;
}

}  // namespace groundstate::harness::simple_gla_binding
