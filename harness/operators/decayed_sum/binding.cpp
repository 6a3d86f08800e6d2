// decayed_sum in the harness, forward and backward: case keys, tensors, paths, oracle.
//
// What a new operator writes. The two classes are rows of the registry; what they share follows
// from the contract's lists of tensors.
#include "harness/operators/binding.hpp"

#include <stdexcept>
#include <type_traits>

#include "harness/operators/registry.hpp"
#include "harness/operators/with_recipe.hpp"
#include "reference/core/dual.hpp"
#include "reference/decayed_sum/backward.hpp"
#include "reference/decayed_sum/scan.hpp"

namespace groundstate::harness {
namespace {

using namespace groundstate::decayed_sum;

Grammar make_grammar(std::string name, bool backward) {
  const Key::Integer size{1, Index{1} << 40};
  const Key::Word types{{"fp64", "fp32", "bf16", "fp16"}};
  std::vector<Key> keys{
      {"B", "1", size, "batch"},
      {"T", "256", Key::Integer{0, size.maximum}, "tokens"},
      {"H", "2", size, "heads"},
      {"V", "64", size, "value size"},
      {"dtype", "fp32", types, "x, y and their gradients"},
      {"gate_dtype", "", types, "g, dg; default fp32, fp64 with dtype=fp64"},
      {"state_dtype", "", types, "h0, ht and their gradients; default fp32, fp64 with dtype=fp64"},
      {"gate", "normal", Key::Word{names(gate_regimes())}, "regime of g"},
      {"state", "none", Key::Word{{"none", "zero", "random", "huge"}}, "initial state"},
      {"values", "normal", Key::Word{names(value_regimes())}, "regime of x"},
  };
  if (backward) {
    keys.push_back({"dht", "none", Key::Word{{"none", "random"}}, "gradient of the final state"});
    keys.push_back({"dy", "random", Key::Word{{"random", "zero"}}, "gradient of y"});
  }
  keys.push_back({"seed", "1", Key::Integer{0}, "of every random number"});
  return {std::move(name), std::move(keys)};
}

// ---- the paths, by name and recipe

template <class Recipe>
Result<ScalarOf<Recipe>> compute(std::string_view path, const Problem<ScalarOf<Recipe>>& p) {
  if (path == "recurrent") return recurrent<Recipe>(p);
  if (path == "scan") return scan<Recipe>(p);
  throw std::logic_error(fmt::format("decayed_sum has no path {}", path));
}
template <class Recipe>
Gradients<ScalarOf<Recipe>> compute(std::string_view path,
                                    const BackwardProblem<ScalarOf<Recipe>>& p) {
  if (path == "recurrent") return backward<Recipe>(p);
  throw std::logic_error(fmt::format("decayed_sum.backward has no path {}", path));
}

template <class Scalar>
PairOutputs widened(const Result<Scalar>& r) {
  return {r.y.template cast<double>(), r.ht.template cast<double>()};
}
template <class Scalar>
PairOutputs widened(const Gradients<Scalar>& r) {
  return {r.dx.template cast<double>(), r.dg.template cast<double>(),
          r.dh0.template cast<double>()};
}

// ---- disturbances of the oracle

void perturb(const Perturbation& how, Problem<double>& p) {
  if (how.field == Field::open) p.log_decay.setZero();
  if (how.field == Field::gate) perturb_gate(how, "g", p.log_decay);
  if (how.field != Field::input && how.field != Field::open) return;
  perturb_input(how, "x", p.x);
  perturb_input(how, "h0", p.h0);
}
void perturb(const Perturbation& how, BackwardProblem<double>& p) {
  perturb(how, static_cast<Problem<double>&>(p));
  if (how.field != Field::input && how.field != Field::open) return;
  perturb_input(how, "dy", p.dy);
  perturb_input(how, "dht", p.dht);
}

Result<double> with_carry_noise(const Perturbation& how, const Problem<double>& p) {
  return recurrent<CarryNoise>(p, CarryNoise(how));
}
Gradients<double> with_carry_noise(const Perturbation& how, const BackwardProblem<double>& p) {
  Perturbation of_gradient = how;  // S and dS are disturbed independently
  of_gradient.seed ^= fnv1a_64("dS");
  return backward<CarryNoise>(p, CarryNoise(how), CarryNoise(of_gradient));
}

// ---- what follows from the lists of tensors

template <class In, class Out>
class DecayedSumBase : public Operator {
 public:
  const Grammar& grammar() const override { return grammar_; }
  std::span<const Key> path_keys() const override { return {}; }
  std::span<const Path> paths() const override { return paths_; }
  std::vector<EqualVariants> equal_variants() const override { return {}; }

  std::vector<KeyValueHelp> regimes() const override {
    std::vector<KeyValueHelp> result;
    append_regimes(result, "gate", gate_regimes());
    append_regimes(result, "values", value_regimes());
    result.push_back({"state", "huge", "h0 of 1e4: what comes from the state hides the terms"});
    return result;
  }

  // Every path exactly, and in fp32 where the case is not fp64.
  std::vector<std::string> default_variants(const Case& c) const override {
    std::vector<std::string> result;
    for (const Path& path : paths_) result.push_back(path.name);
    for (const Path& path : paths_)
      if (c.get("dtype") != "fp64") result.push_back(path.name + ":single");
    return result;
  }

  std::vector<TensorSpec> inputs(const Case& c) const override {
    In none;
    std::vector<TensorSpec> specs;
    input_tensors(
        none, [&](std::string_view name, const auto& view, ElementClass kind, Presence presence) {
          if (name == "h0" && c.get("state") == "none") return;
          if (name == "dht" && c.get("dht") == "none") return;
          specs.push_back(spec(c, name, view, kind, presence));
          specs.back().finite = name != "g";
          specs.back().domain =
              name == "g" ? "natural log decay; any number, -infinity forgets" : "finite";
          specs.back().element = element(c, name);
        });
    return specs;
  }

  std::vector<TensorSpec> outputs(const Case& c) const override {
    Out none;
    std::vector<TensorSpec> specs;
    output_tensors(
        none, [&](std::string_view name, const auto& view, ElementClass kind, Presence presence) {
          specs.push_back(spec(c, name, view, kind, presence));
        });
    return specs;
  }

  Cost cost(const Case& c) const override {
    const double bytes = total_bytes(inputs(c)) + total_bytes(outputs(c));
    return {flops_ * c.real("B") * c.real("T") * c.real("H") * c.real("V"), bytes};
  }

  Case infer(const Case& c, const Tensors& inputs) const override {
    Inference inference(c);
    const Tensor& x = require_input(inputs, "x", grammar_.operator_name);
    inference.set("B", x.extent(Batch::name), "inputs/x");
    inference.set("T", x.extent(Time::name), "inputs/x");
    inference.set("H", x.extent(Head::name), "inputs/x");
    inference.set("V", x.extent(Value::name), "inputs/x");
    inference.set("dtype", std::string(name_of(x.type())), "inputs/x");
    inference.set_type("gate_dtype", require_input(inputs, "g", grammar_.operator_name));
    inference.set_presence("state", inputs, "h0");
    if constexpr (is_backward) {
      require_input(inputs, "dy", grammar_.operator_name);
      inference.set_presence("dht", inputs, "dht");
    }
    for (const char* const state : {"h0", "dht"})
      if (const Tensor* const tensor = find(inputs, state))
        inference.set_type("state_dtype", *tensor);
    return inference.result();
  }

  void validate(const Case& c, const Tensors& inputs) const override {
    try {
      decayed_sum::validate(bind_inputs(inputs));
    } catch (const std::invalid_argument& error) {
      throw UsageError(error.what());
    }
    // zero_by_definition() takes the case's word for it.
    if constexpr (is_backward) {
      const Tensor& dy = *find(inputs, "dy");
      if (c.get("dy") != "zero") return;
      for_each_element(dy, [&](Index, Index offset) {
        if (dy.load(offset) != 0)
          throw UsageError("the case says dy=zero, but inputs/dy is not zero");
      });
    }
  }

  std::optional<std::string> unsupported(const Case&, const PathVariant&) const override {
    return std::nullopt;
  }

  std::string run(const Case&, const PathVariant& variant, const Tensors& inputs,
                  Tensors& outputs) const override {
    Out y;
    output_tensors(
        y, [&](std::string_view name, auto& view, auto...) { bind(find(outputs, name), view); });
    with_recipe(variant.recipe, [&](auto recipe) {
      using Recipe = decltype(recipe);
      for_each_problem<ScalarOf<Recipe>>(
          bind_inputs(inputs), y, [&](const auto& p) { return compute<Recipe>(variant.path, p); });
    });
    return "";
  }

  std::vector<Pair> pairs(const Case&, const Tensors& inputs) const override {
    const In x = bind_inputs(inputs);
    const Shape n = shape(x);
    std::vector<Pair> result;
    for (Index sequence = 0; sequence < n.batch; ++sequence)
      for (Index head = 0; head < n.heads; ++head) {
        double sum = 0;
        for (Index t = 0; t < n.time; ++t)
          sum += std::max(x.log_decay.load(Batch{sequence}, Time{t}, Head{head}),
                          log_decay_floor<double>());
        const double mean = n.time > 0 ? sum / static_cast<double>(n.time) : 0;
        result.push_back({static_cast<Index>(result.size()), sequence, sequence, head, head, 0,
                          n.time, false, mean});
      }
    return result;
  }

  PairOutputs oracle(const Case&, const Tensors& inputs, const Pair& pair,
                     const Perturbation& how) const override {
    auto p = gather<double>(bind_inputs(inputs), place(pair));
    perturb(how, p);
    if (how.field == Field::carry) return widened(with_carry_noise(how, p));
    return widened(compute<Exact>("recurrent", p));
  }

  PairOutputs extended_oracle(const Case&, const Tensors& inputs, const Pair& pair) const override {
    return widened(
        compute<Extended>("recurrent", gather<long double>(bind_inputs(inputs), place(pair))));
  }

  std::vector<std::string> gate_inputs() const override { return {"g"}; }

  PairOutputs emulate(const Case&, const PathVariant& variant, const Tensors& inputs,
                      const Pair& pair) const override {
    return with_recipe(variant.recipe, [&](auto recipe) {
      using Recipe = decltype(recipe);
      return widened(compute<Recipe>(variant.path,
                                     gather<ScalarOf<Recipe>>(bind_inputs(inputs), place(pair))));
    });
  }

 protected:
  DecayedSumBase(std::string name, double flops, std::vector<Path> paths)
      : grammar_(make_grammar(std::move(name), is_backward)),
        flops_(flops),
        paths_(std::move(paths)) {}

  static Place place(const Pair& pair) { return {pair.sequence, pair.value_head}; }

  static In bind_inputs(const Tensors& tensors) {
    In x;
    input_tensors(
        x, [&](std::string_view name, auto& view, auto...) { bind(find(tensors, name), view); });
    return x;
  }

 private:
  static constexpr bool is_backward = std::is_same_v<In, HostBackwardInputs>;

  template <class View>
  TensorSpec spec(const Case& c, std::string_view name, const View& view, ElementClass kind,
                  Presence presence) const {
    const Extents extents{{Batch::name, c.integer("B")},
                          {Sequence::name, c.integer("B")},
                          {Time::name, c.integer("T")},
                          {Head::name, c.integer("H")},
                          {Value::name, c.integer("V")}};
    TensorSpec result;
    result.name = name;
    result.type = kind == ElementClass::gate    ? keyed_type(c, "gate_dtype")
                  : kind == ElementClass::state ? keyed_type(c, "state_dtype")
                                                : element_type(c.get("dtype"));
    result.axes = axes_of(view, extents);
    result.required = presence == Presence::required;
    total_bytes({result});  // throws where the shape overflows
    return result;
  }

  static std::function<double(Index)> element(const Case& c, std::string_view name) {
    const RandomStream stream(static_cast<std::uint64_t>(c.integer("seed")), name);
    const auto rows = [&](const Regime& r, Index channels) {
      return regime_element(r, stream, c.integer("T"), c.integer("H"), channels);
    };
    if (name == "x") return rows(regime(value_regimes(), c.get("values")), c.integer("V"));
    if (name == "g") return rows(regime(gate_regimes(), c.get("gate")), 1);
    return state_element(c.get(name == "h0" ? "state" : name), stream);  // h0, dy, dht
  }

  const Grammar grammar_;
  const double flops_;  // of one value, token and head
  const std::vector<Path> paths_;
};

// ---- the two operators

class DecayedSum final : public DecayedSumBase<HostInputs, HostOutputs> {
 public:
  DecayedSum()
      : DecayedSumBase(
            "decayed_sum", 2,
            {{"recurrent", {}, {"exact", "single"}, "token by token; with exact, the oracle"},
             {"scan", {}, {"exact", "single"}, "associative scan, pairwise tree"}}) {}

  std::string formula() const override {
    return "S_t = exp(g_t) S_{t-1} + x_t;  y_t = S_t;  ht = S after the last token";
  }
  double path_flops(const Case& c, const PathVariant& variant) const override {
    return cost(c).flops * (variant.path == "scan" ? 2 : 1);  // two combines a token
  }
  bool zero_by_definition(const Case& c, std::string_view tensor, const Pair& pair) const override {
    return tensor == "ht" && pair.length == 0 && c.get("state") == "none";
  }
  std::vector<std::string> linear_inputs(const Case&) const override { return {"x", "h0"}; }

  // Without decay y_t is the sum of what came until then.
  std::vector<ClosedForm> closed_forms(const Case& c, const Tensors& inputs) const override {
    const HostInputs given = bind_inputs(inputs);
    ClosedForm form{"open gates", {}, {}, {}};
    for (const Tensor& tensor : inputs)
      form.inputs.push_back(
          tensor.name() != "g" ? tensor : Tensor::allocate("g", tensor.type(), tensor.axes()));
    for (const TensorSpec& spec : outputs(c))
      for (Tensors* const list : {&form.outputs, &form.sizes})
        list->push_back(Tensor::allocate(spec.name, ElementType::float64, spec.axes));
    for (const Pair& pair : pairs(c, inputs)) {
      const Matrix<double> x = gather<double>(given.terms, place(pair));
      Matrix<double> sum = gather<double>(given.initial_state, place(pair), x.cols());
      Matrix<double> size = sum.cwiseAbs();
      Result<double> sums{x, sum}, sizes{x, size};
      for (Index t = 0; t < x.rows(); ++t) {
        sums.y.row(t) = sum += x.row(t);
        sizes.y.row(t) = size += x.row(t).cwiseAbs();
      }
      sums.ht = sum;
      sizes.ht = size;
      HostOutputs y, of_y;
      const auto to = [](Tensors& tensors) {
        return [&tensors](std::string_view name, auto& view, auto...) {
          bind(find(tensors, name), view);
        };
      };
      output_tensors(y, to(form.outputs));
      output_tensors(of_y, to(form.sizes));
      scatter(sums, place(pair), y);
      scatter(sizes, place(pair), of_y);
    }
    return {form};
  }

  std::vector<CarriedState> carried_states() const override { return {{"h0", "ht"}}; }
  Index resume_interval(const PathVariant& variant) const override {
    return variant.path == "recurrent" ? 1 : 0;  // the tree changes when time is cut
  }
};

class DecayedSumBackward final : public DecayedSumBase<HostBackwardInputs, HostBackwardOutputs> {
 public:
  DecayedSumBackward()
      : DecayedSumBase(
            "decayed_sum.backward", 7,
            {{"recurrent", {}, {"exact", "single"}, "last token first; with exact, the oracle"}}) {}

  std::string formula() const override {
    return "dS := dht;  for t = T-1 .. 0: dS := dS + dy_t, dx_t = dS, dg_t = sum_v dS exp(g_t) "
           "S_{t-1}, dS := exp(g_t) dS;  dh0 = dS";
  }
  bool zero_by_definition(const Case& c, std::string_view tensor, const Pair& pair) const override {
    const bool no_dy = c.get("dy") == "zero" || pair.length == 0;
    const bool no_state = c.get("state") == "none" && pair.length == 1;  // dg_0 multiplies h0
    return (no_dy && c.get("dht") == "none") || (tensor == "dg" && no_state);
  }
  std::vector<std::string> linear_inputs(const Case&) const override { return {"dy", "dht"}; }
  std::vector<std::string> adjoint_outputs() const override { return {"dx"}; }
  std::vector<Euler> euler_identities() const override { return {{"x and h0", {"x", "h0"}}}; }

  std::optional<AdjointIdentity> adjoint_identity(const Case& c, const Tensors& inputs,
                                                  const Pair& pair) const override {
    const auto p = gather<double>(bind_inputs(inputs), place(pair));
    const Gradients<double> gradients = compute<Exact>("recurrent", p);
    AdjointIdentity result;
    result.chain = static_cast<double>(p.time() + p.value() + 4);
    const auto join = [&](std::string_view name, const auto& x, const auto& gradient) {
      const RandomStream stream(static_cast<std::uint64_t>(c.integer("seed")), name);
      auto moved = x.template cast<DualNumber>().eval();
      for (Index i = 0; i < x.size(); ++i) {
        const double direction =
            stream.normal(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(pair.number));
        moved.data()[i] = dual(x.data()[i], direction);
        result.backward += direction * gradient.data()[i];
        result.size += std::abs(direction * gradient.data()[i]);
      }
      return moved;
    };
    const Problem<DualNumber> along{join("x", p.x, gradients.dx),
                                    join("g", p.log_decay, gradients.dg),
                                    join("h0", p.h0, gradients.dh0)};
    const Result<DualNumber> moved = recurrent<Dual>(along);
    const auto inner = [](const Matrix<double>& gradient, const Matrix<DualNumber>& y) {
      double sum = 0;
      for (Index i = 0; i < y.size(); ++i) sum += gradient.data()[i] * derivative_of(y.data()[i]);
      return sum;
    };
    result.forward = inner(p.dy, moved.y) + inner(p.dht, moved.ht);
    return result;
  }

  std::vector<CarriedState> carried_states() const override { return {}; }
  Index resume_interval(const PathVariant&) const override { return 0; }
};

}  // namespace

std::unique_ptr<Operator> make_decayed_sum() { return std::make_unique<DecayedSum>(); }
std::unique_ptr<Operator> make_decayed_sum_backward() {
  return std::make_unique<DecayedSumBackward>();
}

}  // namespace groundstate::harness
