// simple_gla in the harness: case keys, tensors, regimes, paths, oracle.
#include "harness/operators/binding.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "harness/generate/regime.hpp"
#include "harness/operators/registry.hpp"
#include "harness/operators/simple_gla/paths.hpp"

namespace groundstate::harness {
namespace {

namespace gla = groundstate::simple_gla;
namespace paths = simple_gla_paths;

constexpr Index largest = Index{1} << 40;
constexpr Index longest_quadratic = 16384;

Grammar make_grammar() {
  const Key::Word types{{"fp64", "fp32", "bf16", "fp16"}};
  return {
      "simple_gla",
      {
          {"B", "1", Key::Integer{1, largest}, "batch"},
          {"T", "256", Key::Integer{0, largest}, "tokens"},
          {"H", "2", Key::Integer{1, largest}, "heads of q and k"},
          {"HV", "", Key::Integer{1, largest},
           "heads of v, g and the state, a multiple of H; default H"},
          {"K", "64", Key::Integer{1, largest}, "key size"},
          {"V", "64", Key::Integer{1, largest}, "value size"},
          {"lengths", "", Key::IntegerList{0, largest},
           "packed sequences; then B = 1 and T is their sum"},
          {"dtype", "bf16", types, "q, k, v, o"},
          {"gate_dtype", "", types, "g, g_gamma; default fp32, fp64 with dtype=fp64"},
          {"state_dtype", "", types, "h0, ht; default fp32, fp64 with dtype=fp64"},
          {"gate_inputs", "g", Key::Word{{"g", "gamma", "both", "none"}}, "which gates are given"},
          {"gate", "normal", Key::Word{names(gate_regimes())}, "regime of g"},
          {"gamma", "retnet", Key::WordOrReal{{"retnet", "lightning", "alibi"}},
           "constant log decay of a head"},
          {"state", "none", Key::Word{{"none", "zero", "random", "huge"}}, "initial state"},
          {"values", "normal", Key::Word{names(value_regimes())}, "regime of q and v"},
          {"keys", "normal", Key::Word{names(key_regimes())}, "regime of k"},
          {"scale", "", Key::Real{}, "multiplies q; default K^-1/2"},
          {"reverse", "no", Key::Word{{"no", "yes"}}, "from the last token to the first"},
          {"state_layout", "kv", Key::Word{{"kv", "vk"}}, "storage order of h0 and ht"},
          {"seed", "1", Key::Integer{0}, "of every random number"},
      },
      {"chunk", "num_steps", "segments", "key_tile", "value_tile", "tokens", "gate_sum"}};
}

std::vector<Key> make_path_keys() {
  return {
      {"chunk", "64", Key::Integer{1, 65536}, "tokens of a chunk"},
      {"num_steps", "4", Key::Integer{1, 1024}, "chunks of one outer step"},
      {"segments", "4", Key::Integer{1, 65536},
       "parts of the sequence, each a whole number of chunks"},
      {"key_tile", "0", Key::Integer{0, 65536}, "key columns of a tile, 0 for all"},
      {"value_tile", "0", Key::Integer{0, 65536}, "value columns of a tile, 0 for all"},
      {"tokens", "1", Key::Integer{1, 65536}, "tokens of one call"},
      {"gate_sum", "two_float", Key::Word{{"two_float", "plain"}},
       "cumulative gates: clamped and in two floats, or a running sum"},
  };
}

const std::vector<std::string> scalar_recipes{"exact", "single"};
const std::vector<std::string> recurrent_recipes{"exact", "single", "single-bf16-state"};
const std::vector<std::string> matrix_recipes{
    "exact", "single", "tf32", "tensorcore-bf16", "tensorcore-fp16", "tensorcore-bf16-state"};

std::vector<Path> make_paths() {
  return {
      {"recurrent", {}, recurrent_recipes, "token by token; with exact, the oracle"},
      {"step", {"tokens"}, recurrent_recipes, "calls of a few tokens on a carried state (decode)"},
      {"scan", {}, scalar_recipes, "associative scan, pairwise tree"},
      {"hillis_steele", {}, scalar_recipes, "associative scan, log2 T sweeps"},
      {"chunk_scan", {"chunk", "gate_sum"}, matrix_recipes, "associative scan over chunks"},
      {"chunked", {"chunk", "gate_sum"}, matrix_recipes, "states pass, then output pass"},
      {"fused",
       {"chunk", "num_steps", "key_tile", "value_tile", "gate_sum"},
       matrix_recipes,
       "one pass, state on chip, tiles of keys and values"},
      {"segmented",
       {"segments", "chunk", "gate_sum"},
       matrix_recipes,
       "segments of time in parallel"},
      {"parallel", {}, scalar_recipes, "quadratic form"},
  };
}

paths::PathRunner runner(std::string_view recipe) {
  if (recipe.empty() || recipe == "exact") return paths::exact();
  if (recipe == "single") return paths::single();
  if (recipe == "tf32") return paths::tf32();
  if (recipe == "tensorcore-bf16") return paths::tensorcore_bf16();
  if (recipe == "tensorcore-fp16") return paths::tensorcore_fp16();
  if (recipe == "tensorcore-bf16-state") return paths::tensorcore_bf16_state();
  if (recipe == "single-bf16-state") return paths::single_bf16_state();
  throw std::logic_error(fmt::format("no recipe {}", recipe));
}

class SimpleGla final : public Operator {
 public:
  const Grammar& grammar() const override { return grammar_; }
  std::span<const Key> path_keys() const override { return path_keys_; }
  std::span<const Path> paths() const override { return paths_; }

  std::string formula() const override {
    return "S_t = exp(g_t + g_gamma) S_{t-1} + k_t v_t^T;  o_t = scale * S_t^T q_t;  ht = S after "
           "the last token";
  }

  std::vector<KeyValueHelp> regimes() const override {
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

  std::vector<EqualVariants> equal_variants() const override {
    return {
        {"num_steps", "fused[num_steps=1]", "fused[num_steps=2]",
         "steps change no operation and no order"},
        {"num_steps", "fused[num_steps=1]", "fused[num_steps=3]", "with the halving fallback"},
        {"num_steps", "fused[num_steps=1]", "fused[num_steps=8]",
         "steps change no operation and no order"},
        {"num_steps, tiled", "fused[num_steps=1,key_tile=32,value_tile=16]",
         "fused[num_steps=4,key_tile=32,value_tile=16]", "the same with tiles"},
        {"value_tile", "fused", "fused[value_tile=24]", "value columns are independent"},
        {"value_tile, key_tile", "fused[key_tile=32]", "fused[key_tile=32,value_tile=8]",
         "value columns are independent"},
        {"one pass, two passes", "chunked", "fused", "one key tile: the same operations"},
        {"one segment", "chunked", "segmented[segments=1]", "one segment is the whole sequence"},
        {"step", "recurrent", "step", "a step is one turn of the recurrence"},
        {"several tokens", "recurrent", "step[tokens=5]", "m tokens at once or one by one"},
    };
  }

  std::vector<std::string> default_variants(const Case& c) const override {
    std::vector<std::string> result{
        "recurrent",         "step[tokens=4]", "scan",
        "hillis_steele",     "chunk_scan",     "chunked",
        "chunked[chunk=16]", "fused",          "fused[key_tile=32,value_tile=32]",
        "segmented",         "parallel"};
    const std::string& type = c.get("dtype");
    if (type != "fp64")
      result.insert(result.end(),
                    {"recurrent:single", "chunked:single", "chunked[chunk=128]:single"});
    if (type == "fp32") result.push_back("chunked:tf32");
    if (type == "bf16" || type == "fp16")
      for (const char* const path : {"chunked", "fused"})
        result.push_back(fmt::format("{}:tensorcore-{}", path, type));
    return result;
  }

  std::vector<TensorSpec> inputs(const Case& c) const override {
    const Dimensions n = dimensions(c);
    gla::HostInputs none;
    std::vector<TensorSpec> specs;
    gla::input_tensors(
        none, [&](std::string_view name, const auto& view, ElementClass kind, Presence presence) {
          if (presence == Presence::optional && !given(c, name)) return;
          TensorSpec own = spec(c, n, name, view, kind, presence);
          own.domain = domain(name);
          own.finite = kind != ElementClass::gate;
          own.element = element(c, n, name);
          specs.push_back(std::move(own));
        });
    return specs;
  }

  std::vector<TensorSpec> outputs(const Case& c) const override {
    const Dimensions n = dimensions(c);
    gla::HostOutputs none;
    std::vector<TensorSpec> specs;
    gla::output_tensors(
        none, [&](std::string_view name, const auto& view, ElementClass kind, Presence presence) {
          specs.push_back(spec(c, n, name, view, kind, presence));
        });
    return specs;
  }

  Cost cost(const Case& c) const override {
    const Dimensions n = dimensions(c);
    return {5.0 * double(n.batch) * double(n.time) * double(n.value_heads) * double(n.key) *
                double(n.value),
            total_bytes(inputs(c)) + total_bytes(outputs(c))};
  }

  double path_flops(const Case& c, const PathVariant& variant) const override {
    const Dimensions n = dimensions(c);
    const auto time = static_cast<double>(n.time), keys = static_cast<double>(n.key),
               values = static_cast<double>(n.value);
    const double heads = static_cast<double>(n.batch) * static_cast<double>(n.value_heads);
    // An exponential is some 20 flop.
    if (variant.path == "parallel") return heads * time * time / 2 * (2 * (keys + values) + 20);
    if (variant.path == "scan") return cost(c).flops * 2;
    if (variant.path == "hillis_steele") return cost(c).flops * std::log2(time + 2);
    const auto chunk = static_cast<double>(variant.integer("chunk", path_keys_));
    if (variant.path == "recurrent" || variant.path == "step") return cost(c).flops;
    return heads * time * (2 * chunk * (keys + values) + 4 * keys * values + 20 * chunk);
  }

  Case with_every_input(const Case& c) const override {
    Case every = c.with("gate_inputs", "both").with("lengths", "1").without("B").without("T");
    return c.get("state") == "none" ? every.with("state", "random") : every;
  }

  Case infer(const Case& c, const Tensors& inputs) const override {
    Inference inference(c);
    const Tensor &q = require_input(inputs, "q", "simple_gla"),
                 &v = require_input(inputs, "v", "simple_gla");
    require_input(inputs, "k", "simple_gla");
    const Tensor *const g = find(inputs, "g"), *const gamma = find(inputs, "g_gamma"),
                        *const h0 = find(inputs, "h0"), *const offsets = find(inputs, "cu_seqlens");
    if (offsets != nullptr) {
      std::vector<Index> lengths;
      for (Index i = 0; i + 1 < offsets->elements(); ++i) {
        const auto at = [&](Index k) {
          return static_cast<Index>(offsets->load(k * offsets->axes()[0].stride));
        };
        if (at(i) > at(i + 1))
          throw UsageError(
              fmt::format("inputs/cu_seqlens must not decrease: entry {} is {} after {}", i + 1,
                          at(i + 1), at(i)));
        lengths.push_back(at(i + 1) - at(i));
      }
      if (lengths.empty()) throw UsageError("inputs/cu_seqlens needs at least two entries");
      if (q.extent("batch") != 1)
        throw UsageError(fmt::format(
            "inputs/cu_seqlens needs batch = 1, but inputs/q has batch = {}", q.extent("batch")));
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
    return inference.result();
  }

  void validate(const Case&, const Tensors& inputs) const override {
    try {
      gla::validate(bind_inputs(inputs));
    } catch (const std::invalid_argument& error) {
      throw UsageError(error.what());
    }
  }

  std::optional<std::string> unsupported(const Case& c, const PathVariant& variant) const override {
    if (variant.path == "parallel" && dimensions(c).time > longest_quadratic)
      return fmt::format("quadratic in T, and T is above {}", longest_quadratic);
    return std::nullopt;
  }

  std::string run(const Case& c, const PathVariant& variant, const Tensors& inputs,
                  Tensors& outputs) const override {
    const gla::HostInputs x = bind_inputs(inputs);
    gla::HostOutputs y;
    gla::output_tensors(
        y, [&](std::string_view name, auto& view, auto...) { bind(find(outputs, name), view); });
    const paths::Variant v = resolve(variant);
    runner(variant.recipe).run(v, x, options(c), y);
    const Index chunks = gla::number_of_chunks(gla::shape(x).time, v.chunk);
    if (v.path != "fused" || x.offsets) return "";
    const Index effective = gla::effective_num_steps(chunks, v.num_steps);
    return effective == v.num_steps
               ? ""
               : fmt::format("num_steps {} -> {} ({} chunks)", v.num_steps, effective, chunks);
  }

  std::vector<Pair> pairs(const Case& c, const Tensors& inputs) const override {
    const gla::HostInputs x = bind_inputs(inputs);
    const gla::Shape n = gla::shape(x);
    std::vector<Pair> result;
    for (Index sequence = 0; sequence < n.sequences; ++sequence)
      for (Index head = 0; head < n.value_heads; ++head) {
        const gla::Place at = gla::place(x, options(c), sequence, head);
        double sum = 0;
        for (Index t = 0; t < at.length; ++t)
          if (x.log_decay)
            sum +=
                std::max(x.log_decay.load(Batch{at.batch}, at.token(t), ValueHead{head}), -745.2);
        const double constant =
            x.constant_log_decay ? x.constant_log_decay.load(ValueHead{head}) : 0;
        result.push_back({static_cast<Index>(result.size()), at.batch, sequence, head, at.begin,
                          at.length, at.reverse,
                          constant + (at.length > 0 ? sum / static_cast<double>(at.length) : 0)});
      }
    return result;
  }

  PairOutputs oracle(const Case& c, const Tensors& inputs, const Pair& pair,
                     const Perturbation& how) const override {
    const gla::HostInputs x = bind_inputs(inputs);
    gla::Problem<double> p = gla::gather<double>(
        x, options(c), gla::place(x, options(c), pair.sequence, pair.value_head));
    if (how.field == Field::open) p.log_decay.setZero();
    if (how.field == Field::input || how.field == Field::open) {
      perturb_input(how, "q", p.q);
      perturb_input(how, "k", p.k);
      perturb_input(how, "v", p.v);
      perturb_input(how, "h0", p.h0);
    }
    if (how.field == Field::gate) perturb_gate(how, "g", p.log_decay);
    gla::Result<double> r = how.field == Field::carry
                                ? gla::recurrent<CarryNoise>(p, CarryNoise(how))
                                : gla::recurrent<Exact>(p);
    return in_token_order(std::move(r), pair);
  }

  PairOutputs emulate(const Case& c, const PathVariant& variant, const Tensors& inputs,
                      const Pair& pair) const override {
    const gla::HostInputs x = bind_inputs(inputs);
    gla::Result<double> r = runner(variant.recipe)
                                .emulate(resolve(variant), x, options(c),
                                         gla::place(x, options(c), pair.sequence, pair.value_head));
    return in_token_order(std::move(r), pair);
  }

  bool zero_by_definition(const Case& c, std::string_view tensor, const Pair& pair) const override {
    return tensor == "ht" && pair.length == 0 &&
           (c.get("state") == "none" || c.get("state") == "zero");
  }

  bool exact_gates(const PathVariant& variant) const override {
    return variant.get("gate_sum", path_keys_) == "two_float";
  }

  // A form that does not say how it sums its gates may do either; one that says two_float is held
  // to it.
  FormMeaning form_meaning(const std::string& form) const override {
    PathVariant variant = split_path_variant(form);
    const Path* const own = path(variant.path);
    if (own == nullptr || !own->takes("gate_sum")) return {{form}};
    if (const auto given = variant.keys.find("gate_sum"); given != variant.keys.end())
      return {{form}, given->second == "two_float"};
    variant.keys["gate_sum"] = "plain";
    return {{form, variant.text(path_keys_)}};
  }

  bool on_grid_by_nature(const Case& c) const override {
    return c.get("values") == "integer" || c.get("keys") == "integer" || c.get("keys") == "onehot";
  }

  std::vector<CarriedState> carried_states() const override { return {{"h0", "ht"}}; }

  Index resume_interval(const PathVariant& variant) const override {
    if (variant.path == "recurrent" || variant.path == "step") return 1;
    if (variant.path == "chunked" || variant.path == "fused") return resolve(variant).chunk;
    return 0;  // the others associate differently when time is cut
  }

 private:
  static PairOutputs in_token_order(gla::Result<double> r, const Pair& pair) {
    if (pair.reverse) r.o = r.o.colwise().reverse().eval();
    return {std::move(r.o), std::move(r.ht)};
  }

  struct Dimensions {
    Index batch, time, heads, value_heads, key, value, sequences;
  };

  static Dimensions dimensions(const Case& c) {
    Dimensions n{
        c.integer("B"), c.integer("T"), c.integer("H"), 0, c.integer("K"), c.integer("V"), 0};
    n.value_heads = c.get("HV").empty() ? n.heads : c.integer("HV");
    if (n.value_heads % n.heads != 0)
      throw UsageError(fmt::format("HV={} is not accepted with H={}; a multiple of H is",
                                   n.value_heads, n.heads));
    n.sequences = n.batch;
    if (!c.get("lengths").empty()) {
      const std::vector<std::int64_t> lengths = c.integers("lengths");
      Index sum = 0;
      for (const Index length : lengths)
        if (__builtin_add_overflow(sum, length, &sum))
          throw UsageError("lengths: the sum overflows");
      if (c.is_explicit("B"))
        throw UsageError(
            fmt::format("B={} is not accepted with lengths; packed sequences have B=1", n.batch));
      if (c.is_explicit("T") && n.time != sum)
        throw UsageError(fmt::format("T={} is not accepted with lengths={}, whose sum is {}",
                                     n.time, c.get("lengths"), sum));
      n.time = sum;
      n.sequences = static_cast<Index>(lengths.size());
    }
    return n;
  }

  static Extents extents(const Dimensions& n) {
    return {{Batch::name, n.batch},          {Time::name, n.time},
            {Head::name, n.heads},           {ValueHead::name, n.value_heads},
            {groundstate::Key::name, n.key}, {Value::name, n.value},
            {Sequence::name, n.sequences},   {Offset::name, n.sequences + 1}};
  }

  static ElementType type_of(const Case& c, ElementClass kind) {
    switch (kind) {
      case ElementClass::activation:
        return element_type(c.get("dtype"));
      case ElementClass::gate:
        return keyed_type(c, "gate_dtype");
      case ElementClass::state:
        return keyed_type(c, "state_dtype");
      case ElementClass::index:
        return ElementType::int64;
    }
    return ElementType::float64;
  }

  // Name, type, axes and storage; a state may be stored [value, key].
  template <class View>
  static TensorSpec spec(const Case& c, const Dimensions& n, std::string_view name,
                         const View& view, ElementClass kind, Presence presence) {
    TensorSpec result;
    result.name = name;
    result.type = type_of(c, kind);
    result.axes = axes_of(view, extents(n));
    result.required = presence == Presence::required;
    if (kind == ElementClass::state && c.get("state_layout") == "vk")
      result.storage_order = {0, 1, 3, 2};
    return result;
  }

  static bool given(const Case& c, std::string_view name) {
    const std::string& gates = c.get("gate_inputs");
    if (name == "g") return gates == "g" || gates == "both";
    if (name == "g_gamma") return gates == "gamma" || gates == "both";
    if (name == "h0") return c.get("state") != "none";
    return !c.get("lengths").empty();  // cu_seqlens
  }

  static std::string domain(std::string_view name) {
    if (name == "g" || name == "g_gamma") return "natural log decay; any number, -infinity forgets";
    if (name == "cu_seqlens") return "starts at 0, does not decrease, ends at T";
    return "finite";
  }

  // The value of each element of an input (regime.hpp).
  static std::function<double(Index)> element(const Case& c, const Dimensions& n,
                                              std::string_view name) {
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
    std::vector<Index> offsets{0};
    for (const Index length : c.integers("lengths")) offsets.push_back(offsets.back() + length);
    return [offsets](Index i) { return static_cast<double>(offsets[static_cast<std::size_t>(i)]); };
  }

  static gla::Options options(const Case& c) {
    const double scale = c.get("scale").empty() ? 1 / std::sqrt(c.real("K")) : c.real("scale");
    return {scale, c.get("reverse") == "yes"};
  }

  static gla::HostInputs bind_inputs(const Tensors& tensors) {
    gla::HostInputs x;
    gla::input_tensors(
        x, [&](std::string_view name, auto& view, auto...) { bind(find(tensors, name), view); });
    return x;
  }

  paths::Variant resolve(const PathVariant& variant) const {
    const auto key = [&](std::string_view name) { return variant.integer(name, path_keys_); };
    return {variant.path,
            key("chunk"),
            key("num_steps"),
            key("segments"),
            key("key_tile"),
            key("value_tile"),
            key("tokens"),
            variant.get("gate_sum", path_keys_) == "plain" ? gla::GateSum::plain
                                                           : gla::GateSum::two_float};
  }

  const Grammar grammar_ = make_grammar();
  const std::vector<Key> path_keys_ = make_path_keys();
  const std::vector<Path> paths_ = make_paths();
};

}  // namespace

std::unique_ptr<Operator> make_simple_gla() { return std::make_unique<SimpleGla>(); }

}  // namespace groundstate::harness
