// mamba3_step in the harness: its paths, its oracle, what it declares.
#include <bit>
#include <cmath>

#include "gpu/mamba3_step/mamba3_step.hpp"
#include "harness/operators/mamba3_step/contracts.hpp"
#include "harness/operators/mamba3_step/device.hpp"
#include "harness/operators/mamba3_step/pool.hpp"
#include "harness/operators/registry.hpp"
#include "harness/operators/storage_error.hpp"
#include "harness/operators/with_recipe.hpp"
#include "reference/mamba3_step/rotating.hpp"
#include "reference/mamba3_step/separate.hpp"

namespace groundstate::harness {
namespace {

using namespace mamba3_step_binding;

// ---- disturbances of the oracle

// dt and trap are inputs here: they multiply B x, and their rounding is not in the gates' alone.
void perturb(const Perturbation& how, mamba3::Problem<double>& p) {
  if (how.field != Field::input && how.field != Field::open) return;
  perturb_input(how, "x", p.x);
  perturb_input(how, "z", p.z);
  perturb_input(how, "B", p.B);
  perturb_input(how, "C", p.C);
  perturb_input(how, "xproj", p.xproj);
  perturb_input(how, "outproj", p.outproj);
  perturb_input(how, "zproj", p.zproj);
  perturb_input(how, "theta", p.theta);
  perturb_input(how, "B_bias", p.B_bias);
  perturb_input(how, "C_bias", p.C_bias);
  perturb_input(how, "state", p.before.state);
  perturb_input(how, "k_state", p.before.k);
  perturb_input(how, "x_state", p.before.x);
  perturb_input(how, "dt", p.dt);
  perturb_input(how, "trap", p.trap);
  perturb_input(how, "D", p.D);
}
// Gates: the log decay, and the angle. Its advances are products with a rounded pi, equal ones
// rounded equally; its running sum is rounded after each token, and goes on.
void perturb(const Perturbation& how, const mamba3::Problem<double>& p,
             mamba3::Discrete<double>& r) {
  if (how.field == Field::open) r.log_decay.setZero();
  if (how.field != Field::gate) return;
  perturb_gate(how, "A dt", r.log_decay);
  const RandomStream by_token(how.seed ^ 0x616e676c65u, "theta"),
      by_value(how.seed ^ 0x616476616e6365u, "theta");
  const double rounded_pi = by_value.normal(0, how.high());
  Vector<double> angle = p.before.angle;
  for (Index t = 0; t < r.advance.rows(); ++t) {
    const Vector<double> before = angle;
    mamba3::advance_angle(p, r.advance.row(t).data(), angle);
    for (Index f = 0; f < r.advance.cols(); ++f)
      if (double& advance = r.advance(t, f); advance != 0)
        advance +=
            how.epsilon *
            (advance *
                 (rounded_pi + by_value.normal(std::bit_cast<std::uint64_t>(advance), how.high())) +
             (1 + std::abs(before[f] + advance)) *
                 by_token.normal(static_cast<std::uint64_t>(t * r.advance.cols() + f), how.high()));
  }
}

// ---- how far values are from what is stored of them

Matrix<double> storage_errors(const Matrix<double>& values, ElementType type, bool stochastic) {
  return values.unaryExpr([=](double x) { return storage_error(x, type, stochastic); });
}

// What paths do to the values of a run beside computing with them, as disturbances of the double
// recurrence of the sizes that it has.
struct PathNoise {
  enum class Kind { none, storage, turn };
  Kind kind = Kind::none;
  std::uint64_t seed = 0, high = 0;

  // Storing: `values` are those behind token t.
  void store(Matrix<double>& values, std::string_view name, Index t, ElementType type,
             bool stochastic) const {
    if (kind != Kind::storage) return;
    const RandomStream stream(seed ^ 0x73746f7265u, name);
    for (Index i = 0; i < values.size(); ++i)
      values.data()[i] += storage_error(values.data()[i], type, stochastic) *
                          stream.normal(static_cast<std::uint64_t>(t * values.size() + i), high);
  }
  // Turning what was before the call by the angle, and back by another that is not quite the same:
  // off by eps (1 + |phi|) xi behind each token.
  void turn(mamba3::Problem<double>& p) const {
    if (kind != Kind::turn) return;
    const RandomStream stream(seed, "turn");
    Vector<double> angle = p.before.angle;
    for (Index f = 0; f < angle.size(); ++f)
      angle[f] = perturbation * std::sqrt(static_cast<double>(p.time())) *
                 (1 + std::abs(angle[f])) * stream.normal(static_cast<std::uint64_t>(f), high);
    const mamba3::Turn<double> turn = mamba3::turn_by(angle);
    mamba3::rotate(p.before.state, p.rotation, turn);
    mamba3::rotate(p.before.k, p.rotation, turn);
  }
};

class Mamba3Step final : public Operator {
 public:
  const Grammar& grammar() const override { return grammar_; }
  std::string formula() const override {
    return "S := exp(A dt) S + sum over r of (trap dt x xproj_r) b_r^T + "
           "((1 - trap) dt exp(A dt) X xproj_r) K_r^T;  out = sum over r of "
           "outproj_r (S c_r + D x xproj_r) silu(z zproj_r);  K := b, X := x;  "
           "b, c rotated by phi := phi + pi tanh(theta) dt;  all in slots of pools, in place";
  }
  std::vector<KeyValueHelp> regimes() const override { return mamba3_step_binding::regimes(); }
  std::span<const Key> path_keys() const override { return {}; }
  std::span<const Path> paths() const override { return paths_; }
  std::vector<EqualVariants> equal_variants() const override {
    return {{"same bits", "recurrent:single", "gpu.recurrent:single",
             "the same operations in the same order, elementary functions of our own"},
            {"slots or rows", "gpu.step:single", "gpu.gathered:single",
             "where a state lies has no effect on it"}};
  }
  std::vector<Contract> contracts(const Case& c, const PathVariant& variant,
                                  const Tensors& inputs) const override {
    return mamba3_step_binding::contracts(c, variant, inputs);
  }
  std::vector<std::string> default_variants(const Case& c) const override {
    std::vector<std::string> result;
    for (const Path& own : paths_) {
      if (!refusal(c, own.name).empty()) continue;
      for (const std::string& recipe : own.recipes)
        if (recipe == "exact")
          result.push_back(own.name);
        else if (c.get("dtype") != "fp64")
          result.push_back(fmt::format("{}:{}", own.name, recipe));
    }
    return result;
  }

  std::vector<TensorSpec> inputs(const Case& c) const override {
    const std::shared_ptr<const Plan> plan = make_plan(c);
    mamba3::HostInputs x;
    mamba3::HostOutputs y;
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
    mamba3::HostOutputs y;
    std::vector<TensorSpec> specs;
    output_tensors(
        y, [&](std::string_view name, const auto& view, ElementClass kind, Presence presence) {
          if (given(c, name)) specs.push_back(spec(c, *plan, name, view, kind, presence));
        });
    return specs;
  }
  std::vector<TensorSpec> judged_outputs(const Case& c) const override {
    return mamba3_step_binding::judged_outputs(c);
  }

  void start(const Case&, const Tensors& inputs, Tensors& outputs) const override {
    mamba3_step_binding::start(inputs, outputs);
  }
  std::optional<std::string> violation(const Case& c, const Tensors& inputs,
                                       const Tensors& outputs) const override {
    return mamba3_step_binding::violation(c, inputs, outputs);
  }
  Tensors judged(const Case& c, const Tensors& inputs, const Tensors& outputs) const override {
    return mamba3_step_binding::judged(c, inputs, outputs);
  }

  Cost cost(const Case& c) const override {
    const std::shared_ptr<const Plan> n = make_plan(c);
    return {(6.0 * double(n->ranks) + 2) * double(n->batch) * double(n->time) * double(n->heads) *
                double(n->value) * double(n->state),
            total_bytes(inputs(c)) + total_bytes(outputs(c))};
  }

  Case with_every_input(const Case& c) const override {
    Case every = c.with("slots", "given").with("lengths", "1").without("B").without("T");
    for (const char* const key : {"D", "xproj", "outproj", "z", "bias", "accepted", "replay"})
      if (c.get(key) == "none") every = every.with(key, "random");
    if (c.get("indices") == "none") every = every.with("indices", "permuted");
    return every.with("prologue", "norm").with("dst", "separate").with("intermediate", "indexed");
  }
  Case infer(const Case& c, const Tensors& inputs) const override {
    return mamba3_step_binding::infer(c, inputs);
  }
  void validate(const Case& c, const Tensors& inputs) const override {
    try {
      const mamba3::HostInputs x = bind_inputs(inputs);
      mamba3::HostOutputs y = bind_pools(c, inputs);
      std::vector<Tensor> rest;
      for (const TensorSpec& own : outputs(c))
        if (!is_pool(own.name))
          rest.push_back(Tensor::borrow(own.name, own.type, own.axes, nullptr, nullptr));
      bind(find(rest, "out"), y.out);
      bind(find(rest, "rank_out"), y.rank_out);
      bind(find(rest, "state_out"), y.state_out);
      bind(find(rest, "intermediate_states"), y.intermediate);
      mamba3::validate(x, y, options(c));
      validate_indices(x, y, options(c));
    } catch (const std::invalid_argument& error) {
      throw UsageError(error.what());
    }
  }
  std::optional<std::string> unsupported(const Case& c, const PathVariant& variant) const override {
    if (path(variant.path)->needs_device && c.get("dtype") == "fp64" && !variant.exact())
      return "tensors of fp64 are computed in fp64: the recipe is exact";
    const std::string reason = refusal(c, variant.path);
    return reason.empty() ? std::nullopt : std::optional(reason);
  }

  std::string run(const Case& c, const PathVariant& variant, const Tensors& inputs,
                  Tensors& outputs) const override {
    if (path(variant.path)->needs_device)
      return run_once(*prepare(c, variant, inputs, outputs), outputs);
    const mamba3::HostOutputs y = bind_outputs(c, outputs);
    with_recipe(variant.recipe, [&](auto recipe) {
      using Recipe = decltype(recipe);
      const mamba3::HostInputs x = bind_inputs(inputs);
      const mamba3::Options how = options_for(c, y.state.type());
      if (variant.path == "rotating")
        mamba3::rotating<Recipe>(x, how, y);
      else if (variant.path == "separate")
        mamba3::separate<Recipe>(x, how, y);
      else
        mamba3::recurrent<Recipe>(x, how, y);
    });
    return "";
  }

  std::unique_ptr<DeviceRun> prepare(const Case& c, const PathVariant& variant,
                                     const Tensors& inputs, const Tensors& outputs) const override {
    if constexpr (built_with_cuda)
      return mamba3_step_binding::prepare(c, variant.form(), inputs, outputs);
    return Operator::prepare(c, variant, inputs, outputs);
  }

  // Lanes that are padding, or have no token, belong to nobody.
  std::vector<Pair> pairs(const Case& c, const Tensors& inputs) const override {
    const Lanes lanes(c, inputs);
    std::vector<Pair> result;
    for (Index i = 0; i < lanes.n.sequences; ++i) {
      const Lane own = lanes.at(i);
      if (own.padding || own.length == 0) continue;
      for (Index h = 0; h < lanes.n.heads; ++h) {
        double sum = 0;
        for (Index t = 0; t < own.length; ++t) {
          const Batch b{own.batch};
          const Time time{own.begin + t};
          sum += lanes.x.A.load(b, time, Head{h}) * lanes.x.dt.load(b, time, Head{h});
        }
        result.push_back({static_cast<Index>(result.size()), own.batch, i, h, h, own.begin,
                          own.length, false, sum / static_cast<double>(own.length)});
      }
    }
    return result;
  }

  PairOutputs oracle(const Case& c, const Tensors& inputs, const Pair& pair,
                     const Perturbation& how) const override {
    const Call call(c, inputs, pair.sequence, pair.value_head);
    return how.field == Field::carry ? call.outputs("recurrent", CarryNoise(how), how)
                                     : call.outputs("recurrent", Exact{}, how);
  }
  PairOutputs extended_oracle(const Case& c, const Tensors& inputs,
                              const Pair& pair) const override {
    return Call(c, inputs, pair.sequence, pair.value_head).outputs("recurrent", Extended{}, {});
  }

  // Keys and angles are carried as well, which are not linear in them.
  std::vector<std::string> linear_inputs(const Case&) const override {
    return {"x", "x_state", "state"};
  }
  std::vector<std::string> nonlinear_outputs() const override { return {"k_state", "angle_state"}; }
  std::vector<std::string> gate_inputs() const override { return {"A"}; }
  bool independent_sequences(const Case& c) const override { return !options(c).sequential; }
  // A rotation adds differences of products.
  Tensors size_inputs(const Case&, const Tensors&) const override { return {}; }

  PairOutputs emulate(const Case& c, const PathVariant& variant, const Tensors& inputs,
                      const Pair& pair) const override {
    const Call call(c, inputs, pair.sequence, pair.value_head);
    return with_recipe(variant.recipe,
                       [&](auto recipe) { return call.outputs(variant.form(), recipe, {}); });
  }

  bool zero_by_definition(const Case&, std::string_view, const Pair&) const override {
    return false;
  }
  // Stores that a lane does not make: behind its last token, or in a destination that is padding.
  std::vector<Index> zero_rows(const Case& c, const Tensors& inputs, std::string_view tensor,
                               const Pair& pair) const override {
    if (tensor == "out") return {};
    const Call call(c, inputs, pair.sequence, pair.value_head);
    const mamba3::Shape& n = call.lanes.n;
    const Matrix<double> rows = judged_rows(call.lanes, tensor, pair.sequence, [&](Index) {
      return mamba3::Carried<double>{
          Matrix<double>::Ones(n.value, n.state), Matrix<double>::Ones(n.ranks, n.state),
          Vector<double>::Ones(n.value), Vector<double>::Zero(n.frequencies)};
    });
    std::vector<Index> result;
    for (Index row = 0; row < rows.rows(); ++row)
      if (rows.cols() > 0 && rows(row, 0) == 0) result.push_back(row);
    return result;
  }

  // What is stored differs from what is carried; what is read again brings that along.
  PairOutputs form_terms(const Case& c, const PathVariant& form, const RecipeUnits& recipe,
                         const Tensors& inputs, const Pair& pair,
                         const InternalUnits&) const override {
    const Call call(c, inputs, pair.sequence, pair.value_head);
    const std::vector<TensorSpec> specs = judged_outputs(c);
    PairOutputs result(specs.size());
    const auto add = [&](std::size_t i, Matrix<double> error) {
      for (Index k = 0; k < error.size() && result[i].size() > 0; ++k)
        error.data()[k] = std::hypot(error.data()[k], result[i].data()[k]);
      result[i] = std::move(error);
    };
    const PairOutputs centre = call.outputs("recurrent", Exact{}, {});
    const auto measure = [&](PathNoise::Kind kind, std::string_view path, double size) {
      std::vector<Sensitivity> fields;
      for (const Matrix<double>& output : centre) fields.emplace_back(output);
      for (int run = 0; run < perturbed_runs; ++run) {
        const PathNoise noise{
            kind, static_cast<std::uint64_t>(c.integer("seed")),
            static_cast<std::uint64_t>(pair.number) << 8 | static_cast<std::uint64_t>(run)};
        const PairOutputs disturbed = call.outputs(path, Exact{}, {}, noise);
        for (std::size_t i = 0; i < fields.size(); ++i) fields[i].add(disturbed[i]);
      }
      for (std::size_t i = 0; i < fields.size(); ++i) add(i, fields[i].field() * size);
    };
    if (form.form() == "rotating") measure(PathNoise::Kind::turn, "recurrent", recipe.gate);
    if (recipe.name == "exact") return result;
    if (call.stores_between(form.form()))
      measure(PathNoise::Kind::storage, form.form(), perturbation);
    for (std::size_t i = 0; options(c).stochastic && i < specs.size(); ++i)
      if (specs[i].name == "state" || specs[i].name == "intermediate_states")
        add(i, storage_errors(centre[i], type_of(c, ElementClass::state), true));
    return result;
  }
  // The few roundings of dt, and that of a decay of one number a head, are in every element they
  // reach; so are those of an angle in what it turns.
  double elements_per_error(const Case& c, std::string_view tensor) const override {
    const double rows = c.real("P");
    return tensor == "out" ? std::max(rows, 16.0) * c.real("R") : rows * c.real("N");
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
        : lanes(c, inputs),
          prologue(has_prologue(c)),
          sequence(own_sequence),
          head(own_head),
          own(lanes.at(sequence)),
          names(judged_names(lanes.options, prologue, lanes.intermediate)) {}

    // Values are rounded to what stores them between tokens, between lanes, or before the step.
    bool stores_between(std::string_view path) const {
      return lanes.options.carry == mamba3::Carry::storage || lanes.options.sequential ||
             path == "separate";
    }

    // In double; what is kept is what the pools hold where the recipe is not exact.
    struct Run {
      Matrix<double> out;
      std::vector<mamba3::Carried<double>> after;  // each token
    };
    template <class Recipe>
    Run run(std::string_view path, const Recipe& recipe, const Perturbation& how,
            const PathNoise& noise) const {
      using Scalar = ScalarOf<Recipe>;
      // long double bounds the oracle's own error: like it, it keeps what is carried as it is.
      constexpr bool is_double = std::is_same_v<Scalar, double>,
                     exact = is_double || std::is_same_v<Scalar, long double>;
      auto p = mamba3::gather<Scalar>(lanes.x, lanes.pools, lanes.options, own, head);
      if (const auto before = lanes.slot_stores().predecessor(sequence, own.source)) {
        Call other = *this;
        other.sequence = before->sequence;
        other.own = lanes.at(before->sequence);
        mamba3::Carried<double> left =
            other.run(path, recipe, how, noise).after[static_cast<std::size_t>(before->token)];
        if constexpr (is_double) store(left, before->token, noise);
        p.before.state = left.state.template cast<Scalar>();
        p.before.angle = left.angle.template cast<Scalar>();
        if (lanes.options.update_kv_state) {
          p.before.k = left.k.template cast<Scalar>();
          p.before.x = left.x.template cast<Scalar>();
        }
      }
      if constexpr (is_double) {
        perturb(how, p);
        noise.turn(p);
      }
      mamba3::Discrete<Scalar> r = discretise(p);
      if constexpr (is_double) perturb(how, p, r);
      const Index offset = mamba3::rounding_offset(lanes.pools, own.source, head);
      const bool between = lanes.options.carry == mamba3::Carry::storage,
                 every_token = lanes.stores() > 1 || lanes.intermediate || lanes.options.sequential;
      Run result;
      std::vector<Vector<Scalar>> angles;
      const auto keep = [&](Index t, mamba3::Carried<Scalar>& carried) {
        if (!angles.empty()) carried.angle = angles[static_cast<std::size_t>(t)];
        if constexpr (exact) {
          if constexpr (is_double)
            if (between) store(carried, t, noise);
          if (every_token || t + 1 == own.length) result.after.push_back(in_double(carried));
        } else {
          const auto rounding = mamba3::rounding_after(lanes.options, t);
          if (between) mamba3::round_to_storage(carried, lanes.pools, rounding, offset);
          if (!every_token && t + 1 < own.length) return;
          mamba3::Carried<Scalar> stored = carried;
          mamba3::round_to_storage(stored, lanes.pools, rounding, offset);
          result.after.push_back(in_double(stored));
        }
      };
      if (path == "rotating") {
        result.out = mamba3::rotating<Recipe>(p, r, keep, recipe).template cast<double>();
        return result;
      }
      if (path == "separate") {
        mamba3::RotatedProblem<Scalar> rotated = mamba3::behind_prologue(p, r);
        angles = std::move(rotated.angles);
        p = std::move(rotated.step);
        const ElementType type = lanes.pools.k_state.type();
        if constexpr (is_double) {
          noise.store(p.B, "B", 0, type, false);
          noise.store(p.C, "C", 0, type, false);
        } else if constexpr (!exact) {
          const auto stored = [type](Scalar x) {
            return static_cast<Scalar>(mamba3::rounded_to(type, static_cast<double>(x)));
          };
          p.B = p.B.unaryExpr(stored);
          p.C = p.C.unaryExpr(stored);
        }
      }
      result.out = mamba3::recurrent<Recipe>(p, r, keep, recipe).template cast<double>();
      return result;
    }
    template <class Scalar>
    static mamba3::Carried<double> in_double(const mamba3::Carried<Scalar>& carried) {
      return {carried.state.template cast<double>(), carried.k.template cast<double>(),
              carried.x.template cast<double>(), carried.angle.template cast<double>()};
    }
    // The errors of storing what is carried behind token t.
    void store(mamba3::Carried<double>& carried, Index t, const PathNoise& noise) const {
      noise.store(carried.state, "state", t, lanes.pools.state.type(),
                  lanes.options.stochastic.has_value());
      if (prologue) noise.store(carried.k, "k_state", t, lanes.pools.k_state.type(), false);
    }
    // Of the judged tensors, in their order.
    template <class Recipe>
    PairOutputs outputs(std::string_view path, const Recipe& recipe, const Perturbation& how,
                        const PathNoise& noise = {}) const {
      Run done = run(path, recipe, how, noise);
      const After at = [&](Index t) {
        return done.after.size() == 1 ? done.after.front()
                                      : done.after[static_cast<std::size_t>(t)];
      };
      PairOutputs result{std::move(done.out)};
      for (const std::string& name : names)
        result.push_back(judged_rows(lanes, name, sequence, at));
      return result;
    }

    Lanes lanes;
    bool prologue;
    Index sequence, head;
    Lane own;
    std::vector<std::string> names;  // of the judged tensors behind out
  };

  template <class View>
  static TensorSpec spec(const Case& c, const Plan& plan, std::string_view name, const View& view,
                         ElementClass kind, Presence presence) {
    TensorSpec result;
    result.name = name;
    result.type = type_of(c, kind);
    result.axes = slot_axes(plan, name, axes_of(view, extents(plan)));
    result.required = presence == Presence::required;
    return result;
  }

  // Why a path does not take a case; empty where it does.
  std::string refusal(const Case& c, std::string_view path) const {
    if (path == "rotating") return mamba3::rotating_refusal(has_prologue(c), options(c).carry);
    if (path.ends_with("separate") && !has_prologue(c))
      return "there is no prologue to be a step of its own";
    if (path != "gpu.step" && path != "gpu.separate" && path != "gpu.gathered") return "";
    const std::shared_ptr<const Plan> plan = make_plan(c);
    mamba3::HostInputs x;
    mamba3::HostOutputs y;
    const auto shaped = [&](std::string_view name, auto& view, ElementClass kind, Presence) {
      if (!given(c, name)) return;
      auto extents = view.extents();
      const auto own = slot_axes(*plan, name, axes_of(view, mamba3_step_binding::extents(*plan)));
      for (std::size_t i = 0; i < extents.size(); ++i) extents[i] = own[i].extent;
      view = {type_of(c, kind), nullptr, extents, row_major_strides(extents)};
    };
    input_tensors(x, shaped);
    output_tensors(y, shaped);
    const mamba3::Options how = options_for(c, y.state.type());
    if (path == "gpu.gathered") return gpu::mamba3_step::gathered_refusal(x, y, how);
    return gpu::mamba3_step::step_refusal(x, y, how);
  }

  const Grammar grammar_ = make_grammar();
  const std::vector<Path> paths_{
      {"recurrent", {}, {"exact", "single"}, "token by token; with exact, the oracle"},
      {"rotating",
       {},
       {"exact", "single"},
       "the state turns instead of B and C: sines of increments only"},
      {"separate",
       {},
       {"exact", "single"},
       "the prologue as a step of its own: B and C are stored between the two"},
      {"gpu.recurrent",
       {},
       {"exact", "single"},
       "the same as recurrent, a CTA a lane and head",
       true},
      {"gpu.step",
       {},
       {"single"},
       "a few tokens at the speed of memory, the prologue with them",
       true},
      {"gpu.separate", {}, {"single"}, "the prologue by itself, then gpu.step", true},
      {"gpu.gathered", {}, {"single"}, "rows gathered, gpu.step, rows scattered back", true}};
};

}  // namespace

std::unique_ptr<Operator> make_mamba3_step() { return std::make_unique<Mamba3Step>(); }

}  // namespace groundstate::harness
