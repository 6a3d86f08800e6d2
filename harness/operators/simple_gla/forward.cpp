// simple_gla, forward, in the harness: its paths and its oracle.
#include <cmath>

#include "harness/operators/registry.hpp"
#include "harness/operators/simple_gla/binding.hpp"
#include "harness/operators/simple_gla/certificate.hpp"
#include "harness/operators/simple_gla/device.hpp"
#include "harness/operators/simple_gla/stages.hpp"

namespace groundstate::harness {
namespace {

using namespace simple_gla_binding;

constexpr Index longest_quadratic = 16384;

std::vector<Key> make_path_keys() {
  return {
      chunk_key(),
      num_steps_key(),
      segments_key(),
      {"key_tile", "0", Key::Integer{0, 65536}, "key columns of a tile, 0 for all"},
      value_tile_key(),
      {"tokens", "1", Key::Integer{1, 65536}, "tokens of one call"},
      gate_sum_key(),
  };
}

const std::vector<std::string> scalar_recipes{"exact", "single"};
const std::vector<std::string> recurrent_recipes{"exact", "single", "single-bf16-state"};

std::vector<Path> make_paths() {
  return {
      {"recurrent", {}, recurrent_recipes, "token by token; with exact, the oracle"},
      {"step", {"tokens"}, recurrent_recipes, "calls of a few tokens on a carried state (decode)"},
      {"scan", {}, scalar_recipes, "associative scan, pairwise tree"},
      {"hillis_steele", {}, scalar_recipes, "associative scan, log2 T sweeps"},
      {"chunk_scan", {"chunk", "gate_sum"}, matrix_recipes(), "associative scan over chunks"},
      {"chunked",
       {"chunk", "gate_sum"},
       with_profiles({"fla-chunk-bf16", "fla-chunk-fp16"}),
       "states pass, then output pass"},
      {"fused",
       {"chunk", "num_steps", "key_tile", "value_tile", "gate_sum"},
       with_profiles({"fla-fused-chunk-bf16", "fla-fused-chunk-fp16", "tpu-fused-bf16"}),
       "one pass, state on chip, tiles of keys and values"},
      {"segmented",
       {"segments", "chunk", "gate_sum"},
       matrix_recipes(),
       "segments of time in parallel"},
      {"parallel", {}, scalar_recipes, "quadratic form"},
      {"gpu.recurrent", {}, scalar_recipes, "token by token, state in registers", true},
      {"gpu.step", {"tokens"}, recurrent_recipes, "a few tokens on a state in place", true},
      {"gpu.fused",
       {"num_steps", "value_tile"},
       sweep_recipes(),
       "one pass over chunks of 64, state on chip",
       true},
      {"gpu.segmented",
       {"segments", "num_steps", "value_tile"},
       sweep_recipes(),
       "the same on segments of time in parallel",
       true},
      {"gpu.auto",
       {"num_steps", "value_tile"},
       sweep_recipes(),
       "gpu.fused, or gpu.segmented where that fills the device",
       true},
  };
}

class SimpleGla final : public SimpleGlaBase<gla::HostInputs, gla::HostOutputs> {
 public:
  SimpleGla() : SimpleGlaBase(make_path_keys(), make_paths()) {}

  std::string formula() const override {
    return "S_t = exp(g_t + g_gamma) S_{t-1} + k_t v_t^T;  o_t = scale * S_t^T q_t;  ht = S after "
           "the last token";
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
        {"step", "gpu.recurrent", "gpu.step", "a step is one turn of the recurrence"},
        {"several tokens", "gpu.step", "gpu.step[tokens=5]", "m tokens at once or one by one"},
        {"num_steps", "gpu.fused[num_steps=1]", "gpu.fused[num_steps=2]",
         "steps change no operation and no order"},
        {"num_steps", "gpu.fused[num_steps=1]", "gpu.fused[num_steps=8]",
         "steps change no operation and no order"},
        {"value_tile", "gpu.fused[value_tile=64]", "gpu.fused[value_tile=128]",
         "value columns are independent"},
        {"one segment", "gpu.fused", "gpu.segmented[segments=1]",
         "one segment is the whole sequence"},
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
    if (type != "fp64")
      for (const char* const path : {"gpu.fused", "gpu.segmented", "gpu.auto"})
        result.push_back(fmt::format("{}:{}", path, sweep_recipe(type)));
    result.insert(result.end(), {"gpu.recurrent", "gpu.step[tokens=4]"});
    if (type != "fp64") {
      result.emplace_back("gpu.recurrent:single");
      const bool rounded_state = type_of(c, ElementClass::state) == ElementType::bfloat16;
      result.emplace_back(rounded_state ? "gpu.step[tokens=4]:single-bf16-state"
                                        : "gpu.step[tokens=4]:single");
    }
    return result;
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
    if (variant.form() == "parallel") return heads * time * time / 2 * (2 * (keys + values) + 20);
    if (variant.form() == "scan") return cost(c).flops * 2;
    if (variant.form() == "hillis_steele") return cost(c).flops * std::log2(time + 2);
    const auto chunk = static_cast<double>(variant.integer("chunk", path_keys()));
    if (variant.form() == "recurrent" || variant.form() == "step") return cost(c).flops;
    return heads * time * (2 * chunk * (keys + values) + 4 * keys * values + 20 * chunk);
  }

  std::optional<std::string> unsupported(const Case& c, const PathVariant& variant) const override {
    if (variant.path == "parallel" && dimensions(c).time > longest_quadratic)
      return fmt::format("quadratic in T, and T is above {}", longest_quadratic);
    if (!path(variant.path)->needs_device) return std::nullopt;
    if (const auto reason = unsupported_on_device(c, variant)) return reason;
    const ElementType state = type_of(c, ElementClass::state);
    if (variant.form() != "step" || variant.exact()) return std::nullopt;
    if (state != (variant.recipe == "single" ? ElementType::float32 : ElementType::bfloat16))
      return fmt::format("the state lives in a tensor of {}, which is another recipe",
                         name_of(state));
    return std::nullopt;
  }

  std::string run(const Case& c, const PathVariant& variant, const Tensors& inputs,
                  Tensors& outputs) const override {
    if (path(variant.path)->needs_device)
      return run_once(*prepare(c, variant, inputs, outputs), outputs);
    const gla::HostInputs x = bind_inputs(inputs);
    const Variant v = resolve(variant);
    runner(variant.recipe).forward.run(v, x, options(c), bind_outputs(outputs));
    const Index chunks = gla::number_of_chunks(gla::shape(x).time, v.chunk);
    if (v.path != "fused" || x.offsets) return "";
    const Index effective = gla::effective_num_steps(chunks, v.num_steps);
    return effective == v.num_steps
               ? ""
               : fmt::format("num_steps {} -> {} ({} chunks)", v.num_steps, effective, chunks);
  }

  std::unique_ptr<DeviceRun> prepare(const Case& c, const PathVariant& variant,
                                     const Tensors& inputs, const Tensors& outputs) const override {
    if constexpr (built_with_cuda)
      return simple_gla_binding::prepare(resolve(variant), options(c), inputs, outputs);
    return Operator::prepare(c, variant, inputs, outputs);
  }

  PairOutputs oracle(const Case& c, const Tensors& inputs, const Pair& pair,
                     const Perturbation& how) const override {
    gla::Problem<double> p = problem(c, inputs, pair);
    perturb(how, p);
    return pair_outputs(how.field == Field::carry ? gla::recurrent<CarryNoise>(p, CarryNoise(how))
                                                  : gla::recurrent<Exact>(p),
                        pair);
  }

  PairOutputs emulate(const Case& c, const PathVariant& variant, const Tensors& inputs,
                      const Pair& pair) const override {
    const gla::HostInputs x = bind_inputs(inputs);
    Variant v = resolve(variant);
    if (v.path == "auto") v.path = "fused";
    return pair_outputs(runner(variant.recipe).forward.emulate(v, x, options(c), place(c, x, pair)),
                        pair);
  }

  // A tile of keys has scores of its own, and their sum is never formed.
  std::unique_ptr<Judgeable> stages(const PathVariant& variant) const override {
    const Variant v = resolve(variant);
    if (!goes_by_chunks(variant) || v.key_tile != 0) return nullptr;
    return make_stages<gla::HostInputs>(
        {*this, v.chunk, &bind_inputs,
         [this](const PathVariant& own, const auto& x, const auto& options, const auto& at) {
           return runner(own.recipe).forward.stages(resolve(own), x, options, at);
         }});
  }

  bool zero_by_definition(const Case& c, std::string_view tensor, const Pair& pair) const override {
    return tensor == "ht" && pair.length == 0 &&
           (c.get("state") == "none" || c.get("state") == "zero");
  }

  // What fills the device depends on the batch.
  bool same_alone(const PathVariant& variant) const override { return variant.form() != "auto"; }

  PairOutputs extended_oracle(const Case& c, const Tensors& inputs,
                              const Pair& pair) const override {
    return pair_outputs(extended(problem<long double>(c, inputs, pair)), pair);
  }

  std::vector<std::string> linear_inputs(const Case&) const override { return {"v", "h0"}; }

  // Open gates, keys that name a row: o_t is the row that q_t names, h0 and the values of its keys
  // up to t.
  std::vector<ClosedForm> closed_forms(const Case& c, const Tensors& inputs) const override {
    const gla::HostInputs given = bind_inputs(inputs);
    const gla::Shape n = gla::shape(given);
    ClosedForm form{"open gates and one-hot keys", {}, {}, {}};
    for (const Tensor& tensor : inputs) {
      const bool names = tensor.name() == "q" || tensor.name() == "k",
                 gate = tensor.name() == "g" || tensor.name() == "g_gamma";
      if (!names && !gate) {
        form.inputs.push_back(tensor);
        continue;
      }
      form.inputs.push_back(
          Tensor::allocate(tensor.name(), tensor.type(), tensor.axes(), tensor.storage_order()));
      for (Index b = 0; names && b < n.batch; ++b)
        for (Index t = 0; t < n.time; ++t)
          for (Index h = 0; h < n.heads; ++h)
            form.inputs.back().view<Batch, Time, Head, groundstate::Key>().store(
                1, Batch{b}, Time{t}, Head{h}, groundstate::Key{t % n.key});
    }
    for (const TensorSpec& spec : outputs(c))
      for (Tensors* const list : {&form.outputs, &form.sizes})
        list->push_back(Tensor::allocate(spec.name, ElementType::float64, spec.axes));
    const double scale = options(c).scale;
    const auto at = [&](const gla::Place& place, Index j, Index k) {
      return given.initial_state
                 ? given.initial_state.load(Sequence{place.sequence}, ValueHead{place.value_head},
                                            groundstate::Key{k}, Value{j})
                 : 0.0;
    };
    for (const Pair& pair : pairs(c, inputs)) {
      const gla::Place place = SimpleGla::place(c, given, pair);
      Matrix<double> rows(n.key, n.value), sizes;
      for (Index k = 0; k < n.key; ++k)
        for (Index j = 0; j < n.value; ++j) rows(k, j) = at(place, j, k);
      sizes = rows.cwiseAbs();
      auto o = form.outputs[0].view<Batch, Time, ValueHead, Value>(),
           o_size = form.sizes[0].view<Batch, Time, ValueHead, Value>();
      for (Index t = 0; t < place.length; ++t) {
        const Time token = place.token(t);
        const Index key = token.index % n.key;
        for (Index j = 0; j < n.value; ++j) {
          const double v =
              given.value.load(Batch{place.batch}, token, ValueHead{place.value_head}, Value{j});
          rows(key, j) += v;
          sizes(key, j) += std::abs(v);
          o.store(scale * rows(key, j), Batch{place.batch}, token, ValueHead{place.value_head},
                  Value{j});
          o_size.store(std::abs(scale) * sizes(key, j), Batch{place.batch}, token,
                       ValueHead{place.value_head}, Value{j});
        }
      }
      for (std::size_t output = 1; output < form.outputs.size(); ++output)
        for (Index k = 0; k < n.key; ++k)
          for (Index j = 0; j < n.value; ++j) {
            const Sequence sequence{place.sequence};
            const ValueHead head{place.value_head};
            form.outputs[output].view<Sequence, ValueHead, groundstate::Key, Value>().store(
                rows(k, j), sequence, head, groundstate::Key{k}, Value{j});
            form.sizes[output].view<Sequence, ValueHead, groundstate::Key, Value>().store(
                sizes(k, j), sequence, head, groundstate::Key{k}, Value{j});
          }
    }
    return {form};
  }

  std::vector<CarriedState> carried_states() const override { return {{"h0", "ht"}}; }

  Index resume_interval(const PathVariant& variant) const override {
    if (variant.form() == "recurrent" || variant.form() == "step") return 1;
    if (variant.form() == "chunked" || variant.form() == "fused") return resolve(variant).chunk;
    return 0;  // the others associate differently when time is cut
  }

 private:
  static PairOutputs pair_outputs(const gla::Result<double>& r, const Pair& pair) {
    return {in_token_order(r.o, pair), r.ht};
  }

  Variant resolve(const PathVariant& variant) const {
    const auto key = [&](std::string_view name) { return variant.integer(name, path_keys()); };
    return {std::string(variant.form()),
            key("chunk"),
            key("num_steps"),
            key("segments"),
            key("key_tile"),
            key("value_tile"),
            key("tokens"),
            gate_sum_of(variant)};
  }
};

}  // namespace

std::unique_ptr<Operator> make_simple_gla() { return std::make_unique<SimpleGla>(); }

}  // namespace groundstate::harness
