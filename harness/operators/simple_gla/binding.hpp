// What simple_gla and simple_gla.backward have in common as operators of the harness: tensors,
// pairs, gate sums. `In` and `Out` are the tensors of the direction (contract.hpp).
#pragma once

#include "harness/operators/simple_gla/case.hpp"
#include "harness/operators/simple_gla/paths.hpp"

namespace groundstate::harness::simple_gla_binding {

template <class In, class Out>
class SimpleGlaBase : public Operator {
 public:
  static constexpr Direction direction =
      std::is_same_v<In, gla::HostInputs> ? Direction::forward : Direction::backward;

  const Grammar& grammar() const override { return grammar_; }
  std::span<const Key> path_keys() const override { return path_keys_; }
  std::span<const Path> paths() const override { return paths_; }
  std::vector<KeyValueHelp> regimes() const override { return simple_gla_binding::regimes(); }

  std::vector<TensorSpec> inputs(const Case& c) const override {
    const Dimensions n = dimensions(c);
    In none;
    std::vector<TensorSpec> specs;
    gla::input_tensors(
        none, [&](std::string_view name, const auto& view, ElementClass kind, Presence presence) {
          if (!given(c, name)) return;
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
    Out none;
    std::vector<TensorSpec> specs;
    gla::output_tensors(
        none, [&](std::string_view name, const auto& view, ElementClass kind, Presence presence) {
          if (given(c, name)) specs.push_back(spec(c, n, name, view, kind, presence));
        });
    return specs;
  }

  Case with_every_input(const Case& c) const override {
    Case every = c.with("gate_inputs", "both").with("lengths", "1").without("B").without("T");
    if (c.get("state") == "none") every = every.with("state", "random");
    return direction == Direction::backward ? every.with("dht", "random") : every;
  }

  Case infer(const Case& c, const Tensors& inputs) const override {
    return simple_gla_binding::infer(c, inputs, direction);
  }

  void validate(const Case& c, const Tensors& inputs) const override {
    try {
      gla::validate(bind_inputs(inputs));
    } catch (const std::invalid_argument& error) {
      throw UsageError(error.what());
    }
    // zero_by_definition() takes the case's word for it.
    if constexpr (direction == Direction::backward) {
      if (c.get("do") != "zero") return;
      const Tensor& d_o = *find(inputs, "do");
      for_each_element(d_o, [&](Index, Index offset) {
        if (d_o.load(offset) != 0)
          throw UsageError("the case says do=zero, but inputs/do is not zero");
      });
    }
  }

  std::vector<Pair> pairs(const Case& c, const Tensors& inputs) const override {
    const In x = bind_inputs(inputs);
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
        result.push_back({static_cast<Index>(result.size()), at.batch, sequence, at.head, head,
                          at.begin, at.length, at.reverse,
                          constant + (at.length > 0 ? sum / static_cast<double>(at.length) : 0)});
      }
    return result;
  }

  bool exact_gates(const PathVariant& variant) const override {
    return gate_sum_of(variant) == gla::GateSum::two_float;
  }

  // A form that does not say how it sums its gates may do either; one that says two_float is held
  // to it, and another library's recipe knows.
  FormMeaning form_meaning(const PathVariant& form) const override {
    if (!path(form.path)->takes("gate_sum") || !form.get("gate_sum", path_keys_).empty())
      return {{form}, exact_gates(form)};
    if (is_profile(form.recipe)) return {{form}};
    PathVariant plain = form;
    plain.keys["gate_sum"] = "plain";
    return {{form, plain}};
  }

  std::vector<std::string> gate_inputs() const override { return {"g", "g_gamma"}; }

  bool on_grid_by_nature(const Case& c) const override {
    return c.get("values") == "integer" || c.get("keys") == "integer" || c.get("keys") == "onehot";
  }

 protected:
  // Tensors of fp64 are computed in fp64 there, and only those.
  std::optional<std::string> unsupported_on_device(const Case& c,
                                                   const PathVariant& variant) const {
    if (c.get("dtype") == "fp64" && !variant.exact())
      return "tensors of fp64 are computed in fp64: the recipe is exact";
    if (!path(variant.path)->takes("value_tile")) return std::nullopt;
    const Dimensions n = dimensions(c);
    if (c.get("dtype") == "fp64") return "the sweeps take tensors of fp32, bf16 and fp16";
    if (variant.recipe != sweep_recipe(c.get("dtype")))
      return fmt::format("tensors of {} are multiplied as such: the recipe is {}", c.get("dtype"),
                         sweep_recipe(c.get("dtype")));
    if (std::max(n.key, n.value) > 256) return "K and V are at most 256";
    const Index tile = variant.integer("value_tile", path_keys());
    if (tile != 0 && tile != 64 && tile != 128) return "value_tile is 64 or 128, or 0 for either";
    return std::nullopt;
  }

  SimpleGlaBase(std::vector<Key> path_keys, std::vector<Path> paths)
      : grammar_(make_grammar(direction, path_keys)),
        path_keys_(std::move(path_keys)),
        paths_(std::move(paths)) {}

  static In bind_inputs(const Tensors& tensors) {
    In x;
    gla::input_tensors(
        x, [&](std::string_view name, auto& view, auto...) { bind(find(tensors, name), view); });
    return x;
  }
  // Every chunk starts from a state that the chunks before it make.
  static bool goes_by_chunks(const PathVariant& variant) {
    return variant.form() == "chunked" || variant.form() == "fused" ||
           variant.form() == "segmented";
  }
  static Out bind_outputs(Tensors& tensors) {
    Out y;
    gla::output_tensors(
        y, [&](std::string_view name, auto& view, auto...) { bind(find(tensors, name), view); });
    return y;
  }
  static gla::Place place(const Case& c, const In& x, const Pair& pair) {
    return gla::place(x, options(c), pair.sequence, pair.value_head);
  }
  // The problem of a pair.
  template <class Scalar = double>
  static auto problem(const Case& c, const Tensors& inputs, const Pair& pair) {
    const In x = bind_inputs(inputs);
    return gla::gather<Scalar>(x, options(c), place(c, x, pair));
  }
  static Matrix<double> in_token_order(const Matrix<double>& rows, const Pair& pair) {
    return pair.reverse ? Matrix<double>(rows.colwise().reverse()) : rows;
  }

  gla::GateSum gate_sum_of(const PathVariant& variant) const {
    const std::string given = variant.get("gate_sum", path_keys_);
    if (given.empty()) return recipe_gate_sum(variant.recipe);
    return given == "plain"   ? gla::GateSum::plain
           : given == "base2" ? gla::GateSum::base2
                              : gla::GateSum::two_float;
  }

 private:
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

  const Grammar grammar_;
  const std::vector<Key> path_keys_;
  const std::vector<Path> paths_;
};

}  // namespace groundstate::harness::simple_gla_binding
