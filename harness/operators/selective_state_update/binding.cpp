// selective_state_update in the harness: its paths, its oracle, what it declares.
#include <cmath>

#include "gpu/selective_state_update/selective_state_update.hpp"
#include "harness/operators/registry.hpp"
#include "harness/operators/selective_state_update/contracts.hpp"
#include "harness/operators/selective_state_update/device.hpp"
#include "harness/operators/selective_state_update/pool.hpp"
#include "harness/operators/storage_error.hpp"
#include "harness/operators/tensor_edit.hpp"
#include "harness/operators/with_recipe.hpp"
#include "reference/selective_state_update/stepwise.hpp"

namespace groundstate::harness {
namespace {

using namespace selective_state_update_binding;

// ---- disturbances of the oracle

// dt is an input here: it multiplies B x, and its rounding is not in the gates' alone.
void perturb(const Perturbation& how, ssu::Problem<double>& p) {
  if (how.field != Field::input && how.field != Field::open) return;
  perturb_input(how, "x", p.x);
  perturb_input(how, "dt", p.dt);
  perturb_input(how, "z", p.z);
  perturb_input(how, "B", p.B);
  perturb_input(how, "C", p.C);
  perturb_input(how, "state", p.state);
  perturb_input(how, "D", p.D);
  perturb_input(how, "dt_bias", p.dt_bias);
}
void perturb(const Perturbation& how, ssu::Discrete<double>& r) {
  if (how.field == Field::open) r.log_decay.setZero();
  if (how.field != Field::gate) return;
  for (Index k = 0; k < r.log_decay.cols(); ++k) {
    Vector<double> gate = r.log_decay.col(k);
    perturb_gate(how, "A dt", gate);
    r.log_decay.col(k) = gate;
  }
}

// ---- how far a state is from what is stored of it

// Codes share the scale of their row.
Matrix<double> storage_errors(const Matrix<double>& states, ElementType type, bool stochastic) {
  Matrix<double> error(states.rows(), states.cols());
  const double steps = stochastic ? 1.0 : 0.5;
  for (Index p = 0; p < states.rows(); ++p) {
    const double amax = states.row(p).cwiseAbs().maxCoeff();
    for (Index n = 0; n < states.cols(); ++n) {
      const double s = std::abs(states(p, n));
      double& own = error(p, n);
      own = storage_error(s, type, stochastic);
      if (type == ElementType::int16) own = steps * amax / largest_code<std::int16_t>();
      if (type == ElementType::int8) own = steps * amax / largest_code<std::int8_t>();
      if (type == ElementType::float8)
        own = steps * std::hypot(s * 0x1p-3, amax / largest_code<fp8>() * 0x1p-9);
    }
  }
  return error;
}

class SelectiveStateUpdate final : public Operator {
 public:
  const Grammar& grammar() const override { return grammar_; }
  std::string formula() const override {
    return "d = softplus(dt + dt_bias);  S := exp(A d) S + (d x_t) B_t^T;  out_t = (S C_t + D x_t) "
           "silu(z_t);  S in slots of a pool, in place";
  }
  std::vector<KeyValueHelp> regimes() const override {
    return selective_state_update_binding::regimes();
  }
  std::span<const Key> path_keys() const override { return path_keys_; }
  std::span<const Path> paths() const override { return paths_; }
  std::vector<EqualVariants> equal_variants() const override {
    return {{"same bits", "recurrent:single", "gpu.recurrent:single",
             "the same operations in the same order, elementary functions of our own"}};
  }
  std::vector<Contract> contracts(const Case& c, const PathVariant& variant,
                                  const Tensors& inputs) const override {
    return selective_state_update_binding::contracts(c, variant, inputs);
  }
  std::vector<std::string> default_variants(const Case& c) const override {
    std::vector<std::string> result{"recurrent", "gpu.recurrent"};
    if (calls_refused(c).empty() && c.integer("T") > 1) {
      result.emplace_back("stepwise");
      if (c.get("dtype") != "fp64") result.emplace_back("stepwise:single");
    }
    if (c.get("dtype") != "fp64")
      for (const char* const path : {"recurrent", "gpu.recurrent", "gpu.step"})
        result.push_back(fmt::format("{}:single", path));
    return result;
  }

  std::vector<TensorSpec> inputs(const Case& c) const override {
    const std::shared_ptr<const Plan> plan = make_plan(c);
    ssu::HostInputs x;
    ssu::HostOutputs y;
    std::vector<TensorSpec> specs;
    const auto add = [&](std::string_view name, const auto& view, ElementClass kind,
                         Presence presence) {
      if (!given(c, name)) return;
      specs.push_back(spec(c, *plan, name, view, kind, presence));
      specs.back().domain = domain(name);
      specs.back().finite = !may_be_not_finite(c, name);
      specs.back().element = element(c, plan, name);
    };
    input_tensors(x, add);
    in_place_tensors(y, add);
    total_bytes(specs);  // throws where a shape overflows
    return specs;
  }
  std::vector<TensorSpec> outputs(const Case& c) const override {
    const std::shared_ptr<const Plan> plan = make_plan(c);
    ssu::HostOutputs y;
    std::vector<TensorSpec> specs;
    output_tensors(
        y, [&](std::string_view name, const auto& view, ElementClass kind, Presence presence) {
          if (given(c, name)) specs.push_back(spec(c, *plan, name, view, kind, presence));
        });
    return specs;
  }
  std::vector<TensorSpec> judged_outputs(const Case& c) const override {
    std::vector<TensorSpec> specs = outputs(c);
    specs.resize(1);  // out
    for (TensorSpec& own : judged_states(c)) specs.push_back(std::move(own));
    return specs;
  }

  void start(const Case&, const Tensors& inputs, Tensors& outputs) const override {
    selective_state_update_binding::start(inputs, outputs);
  }
  std::optional<std::string> violation(const Case& c, const Tensors& inputs,
                                       const Tensors& outputs) const override {
    return selective_state_update_binding::violation(c, inputs, outputs);
  }
  Tensors judged(const Case& c, const Tensors& inputs, const Tensors& outputs) const override {
    return selective_state_update_binding::judged(c, inputs, outputs);
  }

  Cost cost(const Case& c) const override {
    const std::shared_ptr<const Plan> n = make_plan(c);
    return {5.0 * double(n->batch) * double(n->time) * double(n->heads) * double(n->value) *
                double(n->state),
            total_bytes(inputs(c)) + total_bytes(outputs(c))};
  }

  Case with_every_input(const Case& c) const override {
    Case every = c.with("slots", "given").with("lengths", "1").without("B").without("T");
    for (const char* const key : {"z", "dt_bias", "accepted"}) every = every.with(key, "random");
    if (c.get("D") == "none") every = every.with("D", "head");
    if (c.get("indices") == "none") every = every.with("indices", "permuted");
    return every.with("dst", "separate")
        .with("intermediate", "indexed")
        .with("state_dtype", "int8");
  }
  Case infer(const Case& c, const Tensors& inputs) const override {
    return selective_state_update_binding::infer(c, inputs);
  }
  void validate(const Case& c, const Tensors& inputs) const override {
    try {
      const ssu::HostInputs x = bind_inputs(inputs);
      ssu::HostOutputs y = bind_pool(inputs);
      std::vector<Tensor> rest;
      for (const TensorSpec& own : outputs(c))
        if (!is_pool(own.name))
          rest.push_back(Tensor::borrow(own.name, own.type, own.axes, nullptr, nullptr));
      bind(find(rest, "out"), y.out);
      bind(find(rest, "intermediate_states"), y.intermediate);
      bind(find(rest, "intermediate_state_scales"), y.intermediate_scale);
      ssu::validate(x, y, options(c));
      validate_indices(x, y, options(c));
    } catch (const std::invalid_argument& error) {
      throw UsageError(error.what());
    }
  }
  std::optional<std::string> unsupported(const Case& c, const PathVariant& variant) const override {
    if (variant.path == "stepwise" && !calls_refused(c).empty()) return calls_refused(c);
    if (!path(variant.path)->needs_device) return std::nullopt;
    if (c.get("dtype") == "fp64" && !variant.exact())
      return "tensors of fp64 are computed in fp64: the recipe is exact";
    if (variant.form() != "step") return std::nullopt;
    const std::shared_ptr<const Plan> n = make_plan(c);
    const std::string reason = gpu::selective_state_update::step_refusal(
        type_of(c, ElementClass::activation), type_of(c, ElementClass::state), n->state, n->time,
        options(c));
    return reason.empty() ? std::nullopt : std::optional(reason);
  }

  std::string run(const Case& c, const PathVariant& variant, const Tensors& inputs,
                  Tensors& outputs) const override {
    if (path(variant.path)->needs_device)
      return run_once(*prepare(c, variant, inputs, outputs), outputs);
    const ssu::HostOutputs y = bind_outputs(outputs);
    with_recipe(variant.recipe, [&](auto recipe) {
      using Recipe = decltype(recipe);
      const ssu::HostInputs x = bind_inputs(inputs);
      const ssu::Options how = options_for(c, y.state.type());
      if (variant.path == "stepwise")
        ssu::stepwise<Recipe>(x, how, y, tokens(variant));
      else
        ssu::recurrent<Recipe>(x, how, y);
    });
    return "";
  }

  std::unique_ptr<DeviceRun> prepare(const Case& c, const PathVariant& variant,
                                     const Tensors& inputs, const Tensors& outputs) const override {
    if constexpr (built_with_cuda)
      return selective_state_update_binding::prepare(c, variant.form(), inputs, outputs);
    return Operator::prepare(c, variant, inputs, outputs);
  }

  // Lanes that are padding, or have no token, belong to nobody.
  std::vector<Pair> pairs(const Case& c, const Tensors& inputs) const override {
    const ssu::HostInputs x = broadcast(bind_inputs(inputs));
    const ssu::Shape n = shape(x, bind_pool(inputs));
    const ssu::Options how = options(c);
    std::vector<Pair> result;
    for (Index i = 0; i < n.sequences; ++i) {
      const Lane own = lane(x, how, i, load_index);
      if (own.padding || own.length == 0) continue;
      for (Index h = 0; h < n.heads; ++h) {
        const double A = x.A.load(Head{h}, Value{0}, State{0});
        double sum = 0;
        for (Index t = 0; t < own.length; ++t)
          sum += A * x.dt.load(Batch{own.batch}, Time{own.begin + t}, Head{h}, Value{0});
        result.push_back({static_cast<Index>(result.size()), own.batch, i, h, h, own.begin,
                          own.length, false, sum / static_cast<double>(own.length)});
      }
    }
    return result;
  }

  PairOutputs oracle(const Case& c, const Tensors& inputs, const Pair& pair,
                     const Perturbation& how) const override {
    const Call call(c, inputs, pair.sequence, pair.value_head);
    return how.field == Field::carry ? call.outputs(CarryNoise(how), how)
                                     : call.outputs(Exact{}, how);
  }
  PairOutputs extended_oracle(const Case& c, const Tensors& inputs,
                              const Pair& pair) const override {
    return Call(c, inputs, pair.sequence, pair.value_head).outputs(Extended{}, {});
  }

  // Codes are not linear, nor is rounding up or down by chance to the bits of a state.
  std::vector<std::string> linear_inputs(const Case& c) const override {
    if (ssu::has_codes(type_of(c, ElementClass::state)) || options(c).stochastic) return {};
    return {"x", "state"};
  }
  std::vector<std::string> gate_inputs() const override { return {"A"}; }
  bool independent_sequences(const Case& c) const override { return !options(c).sequential; }
  Tensors size_inputs(const Case&, const Tensors& inputs) const override {
    Tensors result;
    for (const Tensor& tensor : inputs) {
      const bool term = tensor.name() == "x" || tensor.name() == "B" || tensor.name() == "C" ||
                        tensor.name() == "D" || tensor.name() == "state";
      result.push_back(term ? copy_of(tensor) : tensor);
      if (term)
        for_each_element(result.back(), [&](Index, Index at) {
          result.back().store(at, std::abs(result.back().load(at)));
        });
    }
    return result;
  }

  PairOutputs emulate(const Case& c, const PathVariant& variant, const Tensors& inputs,
                      const Pair& pair) const override {
    const Call call(c, inputs, pair.sequence, pair.value_head);
    return with_recipe(variant.recipe,
                       [&](auto recipe) { return call.outputs(recipe, {}, tokens(variant)); });
  }

  bool zero_by_definition(const Case&, std::string_view, const Pair&) const override {
    return false;
  }
  // Stores that a lane does not make: behind its last token, or in a destination that is padding.
  std::vector<Index> zero_rows(const Case& c, const Tensors& inputs, std::string_view tensor,
                               const Pair& pair) const override {
    if (tensor == "out") return {};
    const Call call(c, inputs, pair.sequence, pair.value_head);
    const Matrix<double> one = Matrix<double>::Ones(call.n.value, call.n.state);
    const Matrix<double> stored = tensor == "state"
                                      ? call.states([&](Index) { return one; })
                                      : call.intermediates([&](Index) { return one; });
    std::vector<Index> result;
    for (Index row = 0; row < stored.rows(); ++row)
      if (stored.cols() > 0 && stored(row, 0) == 0) result.push_back(row);
    return result;
  }

  // What is stored differs from the state; what is read again brings that along.
  PairOutputs form_terms(const Case& c, const PathVariant& form, const RecipeUnits& recipe,
                         const Tensors& inputs, const Pair& pair,
                         const InternalUnits&) const override {
    PairOutputs result = oracle(c, inputs, pair, {});
    const ElementType type = type_of(c, ElementClass::state);
    const bool stochastic = options(c).stochastic.has_value(), again = form.path == "stepwise";
    if (recipe.name == "exact" || (!ssu::has_codes(type) && !stochastic && !again))
      return PairOutputs(result.size());
    if (again) {
      const Call call(c, inputs, pair.sequence, pair.value_head);
      return call.carried_storage_errors(type, stochastic, tokens(form));
    }
    for (std::size_t k = 1; k < result.size(); ++k)
      result[k] = storage_errors(result[k], type, stochastic);
    result[0].resize(0, 0);
    return result;
  }
  // The few roundings of dt, and that of a decay of one number a head, are in every element they
  // reach.
  double elements_per_error(const Case& c, std::string_view tensor) const override {
    const double rows = c.get("tied") == "all" ? c.real("P") : 1;
    return tensor == "out" ? std::max(rows, 16.0) : rows * c.real("N");
  }
  bool on_grid_by_nature(const Case& c) const override {
    return c.get("values") == "integer" || c.get("keys") == "integer" || c.get("keys") == "onehot";
  }
  // Its own contracts cut lanes and heads: others than those of a pool do not know slots.
  bool same_alone(const PathVariant&) const override { return false; }
  std::vector<CarriedState> carried_states() const override { return {}; }
  Index resume_interval(const PathVariant&) const override { return 0; }

 private:
  // One lane and head of a call.
  struct Call {
    Call(const Case& c, const Tensors& inputs, Index own_sequence, Index own_head)
        : x(broadcast(bind_inputs(inputs))),
          pool(bind_pool(inputs)),
          n(shape(x, pool)),
          options(selective_state_update_binding::options(c)),
          intermediate(given(c, "intermediate_states")),
          sequence(own_sequence),
          head(own_head),
          own(lane(x, options, sequence, load_index)) {}

    // In double; states as the pool holds them where the recipe is not exact.
    struct Run {
      Matrix<double> out;
      std::vector<Matrix<double>> after;  // each token
    };
    template <class Recipe>
    Run run(const Recipe& recipe, const Perturbation& how, Index tokens_of_a_call) const {
      using Scalar = ScalarOf<Recipe>;
      // long double bounds the oracle's own error: like it, it keeps states as they are.
      constexpr bool is_double = std::is_same_v<Scalar, double>,
                     keeps_states = is_double || std::is_same_v<Scalar, long double>;
      ssu::Problem<Scalar> p = ssu::gather<Scalar>(x, pool, options, own, head);
      if (const auto before = slot_stores(x, options).predecessor(sequence, own.source)) {
        Call other = *this;
        other.sequence = before->sequence;
        other.own = lane(x, options, before->sequence, load_index);
        p.state = other.run(recipe, how, tokens_of_a_call)
                      .after[static_cast<std::size_t>(before->token)]
                      .template cast<Scalar>();
      }
      if constexpr (is_double) perturb(how, p);
      ssu::Discrete<Scalar> r = discretise(p);
      if constexpr (is_double) perturb(how, r);
      Run result;
      const bool every_token = stores_of(x, options) > 1 || intermediate || options.sequential;
      const auto keep = [&](Index t, Matrix<Scalar>& state) {
        const bool kept = every_token || t + 1 == own.length;
        if constexpr (keeps_states) {
          if (kept) result.after.push_back(state.template cast<double>());
        } else {
          const bool call_ends = tokens_of_a_call > 0 && (t + 1) % tokens_of_a_call == 0;
          if (!kept && !call_ends) return;
          const Matrix<double> held =
              stored(state, tokens_of_a_call > 0 ? t / tokens_of_a_call : 0);
          if (call_ends) state = held.template cast<Scalar>();
          if (kept) result.after.push_back(held);
        }
      };
      result.out = ssu::recurrent<Recipe>(p, r, keep, recipe).template cast<double>();
      return result;
    }
    // Of the judged tensors, in their order.
    template <class Recipe>
    PairOutputs outputs(const Recipe& recipe, const Perturbation& how,
                        Index tokens_of_a_call = 0) const {
      Run done = run(recipe, how, tokens_of_a_call);
      const StateAt at = [&](Index t) {
        return done.after.size() == 1 ? done.after.front()
                                      : done.after[static_cast<std::size_t>(t)];
      };
      PairOutputs result{std::move(done.out)};
      if (options.update_state) result.push_back(states(at));
      if (intermediate) result.push_back(intermediates(at));
      return result;
    }
    // The errors of storing the state after every call, of the judged tensors: independent of each
    // other, and carried on by the decays.
    PairOutputs carried_storage_errors(ElementType type, bool stochastic, Index tokens) const {
      const auto p = ssu::gather<double>(x, pool, options, own, head);
      const ssu::Discrete<double> r = discretise(p);
      const bool tied = r.log_decay.cols() == 1;
      Matrix<double> squares = Matrix<double>::Zero(n.value, n.state);
      Matrix<double> out(p.time(), p.value());
      const auto after = [&](Index t, const Matrix<double>& state) {
        for (Index i = 0; i < n.value; ++i) {
          double sum = 0;
          for (Index k = 0; k < n.state; ++k) {
            squares(i, k) *= std::exp(2 * r.log_decay(t, tied ? 0 : i * n.state + k));
            sum += p.C(t, k) * p.C(t, k) * squares(i, k);
          }
          out(t, i) = std::sqrt(sum) * (p.z.size() > 0 ? std::abs(silu(double(p.z(t, i)))) : 1.0);
        }
        if ((t + 1) % tokens == 0 || t + 1 == p.time())
          squares += storage_errors(state, type, stochastic).cwiseAbs2();
      };
      ssu::recurrent<Exact>(p, r, after);
      return {out, squares.cwiseSqrt()};
    }
    Matrix<double> states(const StateAt& at) const {
      return stored_rows(x, n, options, sequence, at);
    }
    Matrix<double> intermediates(const StateAt& at) const {
      Matrix<double> rows = Matrix<double>::Zero(longest_lane(x, n) * n.value, n.state);
      for (Index t = 0; t < own.length; ++t) rows.middleRows(t * n.value, n.value) = at(t);
      return rows;
    }
    template <class Scalar>
    Matrix<double> stored(const Matrix<Scalar>& state, Index call) const {
      Tensor codes = Tensor::allocate("state", pool.state.type(),
                                      {{Value::name, n.value, 0}, {State::name, n.state, 0}}),
             scale = Tensor::allocate("scale", ElementType::float32, {{Value::name, n.value, 0}});
      StatePlace place;
      bind(&codes, place.state);
      if (pool.scale) bind(&scale, place.scale);
      std::optional<StochasticRounding> rounding = options.stochastic;
      if (rounding) rounding->seed += call;
      store_state(state, place, rounding, ssu::rounding_offset(pool, own.source, head));
      return load_state<double>(place);
    }

    ssu::HostInputs x;
    ssu::HostOutputs pool;
    ssu::Shape n;
    ssu::Options options;
    bool intermediate;
    Index sequence, head;
    Lane own;
  };

  template <class View>
  static TensorSpec spec(const Case& c, const Plan& plan, std::string_view name, const View& view,
                         ElementClass kind, Presence presence) {
    TensorSpec result;
    result.name = name;
    result.type = type_of(c, kind);
    result.axes = axes(c, plan, name, axes_of(view, extents(plan)));
    result.required = presence == Presence::required;
    return result;
  }

  // Why the tokens of a case cannot come in calls one after the other; empty where they can.
  static std::string calls_refused(const Case& c) {
    const bool own_slot = c.get("lengths").empty() && c.get("dst") == "none" &&
                          c.get("accepted") == "none" && c.get("intermediate") == "none" &&
                          c.get("update") == "yes" && c.get("duplicates") == "refuse";
    return own_slot ? ""
                    : "calls one after the other need dense lanes that write the slot they read";
  }
  // Of one call; 0: all of them.
  Index tokens(const PathVariant& variant) const {
    return variant.path == "stepwise" ? variant.integer("tokens", path_keys_) : 0;
  }

  const std::vector<Key> path_keys_{{"tokens", "1", Key::Integer{1, 65536}, "tokens of one call"}};
  const Grammar grammar_ = make_grammar({"tokens"});
  const std::vector<Path> paths_{
      {"recurrent", {}, {"exact", "single"}, "token by token; with exact, the oracle"},
      {"stepwise",
       {"tokens"},
       {"exact", "single"},
       "calls of a few tokens; the slot holds the state between them"},
      {"gpu.recurrent", {}, {"exact", "single"}, "the same, a thread a row", true},
      {"gpu.step", {}, {"single"}, "a few tokens at the speed of memory", true}};
};

}  // namespace

std::unique_ptr<Operator> make_selective_state_update() {
  return std::make_unique<SelectiveStateUpdate>();
}

}  // namespace groundstate::harness
