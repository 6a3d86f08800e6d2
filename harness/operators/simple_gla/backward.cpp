// simple_gla.backward in the harness: its paths and its oracle.
#include <cmath>

#include "harness/operators/registry.hpp"
#include "harness/operators/simple_gla/binding.hpp"
#include "harness/operators/simple_gla/certificate.hpp"
#include "harness/operators/simple_gla/device.hpp"
#include "harness/operators/simple_gla/gate_gradient_error.hpp"
#include "harness/operators/simple_gla/stages.hpp"

namespace groundstate::harness {
namespace {

using namespace simple_gla_binding;

std::vector<Key> make_path_keys() {
  return {
      chunk_key(),
      segments_key(),
      gate_sum_key(),
      num_steps_key(),
      value_tile_key(),
      {"h_dtype", "accumulator", Key::Word{{"accumulator", "operand"}},
       "storage of the states between the passes: as computed, or as an operand"},
      {"dh_dtype", "accumulator", Key::Word{{"accumulator", "operand"}},
       "storage of the state gradients between the passes: as computed, or as an operand"},
      {"dg_chunks", "1", Key::Integer{1, 64},
       "chunks to the end of which dg is summed, in the chunk form; on a device 1, 2 or 4"},
      {"dg_form", "chunk", Key::Word{{"chunk", "global"}},
       "sums of dg: to the end of the chunk, or to the end of the sequence (noisy)"},
  };
}

std::vector<Path> make_paths() {
  return {
      {"recurrent",
       {},
       {"exact", "single", "single-bf16-state"},
       "last token first, states recomputed; with exact, the oracle"},
      {"chunked",
       {"chunk", "gate_sum", "h_dtype", "dh_dtype", "dg_form", "dg_chunks"},
       with_profiles({"fla-chunk-bf16", "fla-chunk-fp16"}),
       "two passes: dv and state gradients, then dq, dk and dg"},
      {"fused",
       {"chunk", "gate_sum", "h_dtype", "dg_form", "dg_chunks"},
       with_profiles({"fla-fused-chunk-bf16", "fla-fused-chunk-fp16", "tpu-fused-bf16"}),
       "one pass, last chunk first, state gradient on chip"},
      {"segmented",
       {"segments", "chunk", "gate_sum", "dh_dtype"},
       matrix_recipes(),
       "segments of time in parallel, from their boundary states and gradients"},
      {"gpu.recurrent",
       {},
       {"exact", "single"},
       "last token first, states recomputed from checkpoints",
       true},
      {"gpu.fused",
       {"num_steps", "value_tile", "dg_chunks"},
       sweep_recipes(),
       "three sweeps, each with its state on chip: dq, dk, dv",
       true},
      {"gpu.chunked",
       {"num_steps", "value_tile", "dh_dtype"},
       sweep_recipes(),
       "the same in two passes: states and dv, then dq and dk of all chunks at once",
       true},
  };
}

// Rows of `x` in the order of processing.
Matrix<double> in_processing_order(const Matrix<double>& x, bool reverse) {
  return reverse ? Matrix<double>(x.colwise().reverse()) : x;
}

class SimpleGlaBackward final
    : public SimpleGlaBase<gla::HostBackwardInputs, gla::HostBackwardOutputs> {
 public:
  SimpleGlaBackward() : SimpleGlaBase(make_path_keys(), make_paths()) {}

  std::string formula() const override {
    return "dS := dht;  for t = T-1 .. 0: dS := dS + scale q_t do_t^T, dq_t = scale S_t do_t, "
           "dk_t = dS v_t, dv_t = dS^T k_t, dg_t = exp(d_t) <dS, S_{t-1}>, dS := exp(d_t) dS;  "
           "dh0 = dS, dg_gamma = sum of dg_t";
  }

  std::vector<EqualVariants> equal_variants() const override {
    return {
        {"one pass, two passes", "chunked", "fused", "the same operations in another order"},
        {"global form", "chunked[dg_form=global]", "fused[dg_form=global]",
         "the same operations in another order"},
        {"dh as operand",
         "chunked",
         "chunked[dh_dtype=operand]",
         "state gradients enter every product rounded; only <S, dS> in dg sees the storage",
         {"dq", "dk", "dv", "dh0"}},
        {"one segment", "chunked", "segmented[segments=1]", "one segment is the whole sequence"},
        {"num_steps", "gpu.fused[num_steps=1]", "gpu.fused[num_steps=4]",
         "steps change no operation and no order"},
        {"value_tile", "gpu.fused[value_tile=64]", "gpu.fused[value_tile=128]",
         "columns are independent"},
        {"two passes on a device", "gpu.fused", "gpu.chunked",
         "the same sweeps; states enter every product rounded, and so they are kept"},
        {"dh as operand on a device",
         "gpu.chunked",
         "gpu.chunked[dh_dtype=operand]",
         "state gradients enter every product rounded; only <S, dS> in dg sees the storage",
         {"dq", "dk", "dv", "dh0"}},
        {"groups of chunks on a device",
         "gpu.fused",
         "gpu.fused[dg_chunks=4]",
         "only the sums of dg see them",
         {"dq", "dk", "dv", "dh0"}},
    };
  }

  std::vector<std::string> default_variants(const Case& c) const override {
    std::vector<std::string> result{
        "recurrent", "chunked",   "chunked[chunk=16,dh_dtype=operand]", "chunked[dg_form=global]",
        "fused",     "segmented",
    };
    const std::string& type = c.get("dtype");
    if (type != "fp64")
      result.insert(result.end(),
                    {"recurrent:single", "chunked:single", "chunked[chunk=128]:single"});
    if (type == "fp32") result.push_back("chunked:tf32");
    if (type == "bf16" || type == "fp16")
      for (const char* const path : {"chunked", "chunked[dh_dtype=operand]",
                                     "chunked[h_dtype=operand,dg_chunks=4]", "fused"})
        result.push_back(fmt::format("{}:tensorcore-{}", path, type));
    result.emplace_back("gpu.recurrent");
    if (type != "fp64") result.emplace_back("gpu.recurrent:single");
    if (type != "fp64")
      for (const char* const path :
           {"gpu.fused", "gpu.fused[dg_chunks=4]", "gpu.chunked[dh_dtype=operand]"})
        result.push_back(fmt::format("{}:{}", path, sweep_recipe(type)));
    return result;
  }

  Cost cost(const Case& c) const override {
    const Dimensions n = dimensions(c);
    return {27.0 * double(n.batch) * double(n.time) * double(n.value_heads) * double(n.key) *
                double(n.value),
            total_bytes(inputs(c)) + total_bytes(outputs(c))};
  }

  double path_flops(const Case& c, const PathVariant& variant) const override {
    if (variant.form() == "recurrent") return cost(c).flops;
    const Dimensions n = dimensions(c);
    const auto keys = static_cast<double>(n.key), values = static_cast<double>(n.value),
               chunk = static_cast<double>(variant.integer("chunk", path_keys()));
    // An exponential is some 20 flop.
    return static_cast<double>(n.batch) * static_cast<double>(n.value_heads) *
           static_cast<double>(n.time) *
           (2 * chunk * (3 * keys + 2 * values) + 10 * keys * values + 20 * chunk);
  }

  std::optional<std::string> unsupported(const Case& c, const PathVariant& variant) const override {
    if (!path(variant.path)->needs_device) return std::nullopt;
    const Index group = variant.integer("dg_chunks", path_keys());
    if (group != 1 && group != 2 && group != 4) return "dg_chunks is 1, 2 or 4 on a device";
    return unsupported_on_device(c, variant);
  }

  std::string run(const Case& c, const PathVariant& variant, const Tensors& inputs,
                  Tensors& outputs) const override {
    if (path(variant.path)->needs_device)
      return run_once(*prepare(c, variant, inputs, outputs), outputs);
    runner(variant.recipe)
        .backward.run(resolve(variant), bind_inputs(inputs), options(c), bind_outputs(outputs));
    return "";
  }

  std::unique_ptr<DeviceRun> prepare(const Case& c, const PathVariant& variant,
                                     const Tensors& inputs, const Tensors& outputs) const override {
    if constexpr (built_with_cuda)
      return simple_gla_binding::prepare(resolve(variant), options(c), inputs, outputs);
    return Operator::prepare(c, variant, inputs, outputs);
  }

  PairOutputs oracle(const Case& c, const Tensors& inputs, const Pair& pair,
                     const Perturbation& how) const override {
    gla::BackwardProblem<double> p = problem(c, inputs, pair);
    perturb(how, p);
    if (how.field != Field::carry) return pair_outputs(c, gla::backward<Exact>(p), pair);
    Perturbation of_gradient = how;  // S and dS are disturbed independently
    of_gradient.seed ^= fnv1a_64("dS");
    return pair_outputs(c, gla::backward<CarryNoise>(p, CarryNoise(how), CarryNoise(of_gradient)),
                        pair);
  }

  PairOutputs emulate(const Case& c, const PathVariant& variant, const Tensors& inputs,
                      const Pair& pair) const override {
    const gla::HostBackwardInputs x = bind_inputs(inputs);
    return pair_outputs(
        c,
        runner(variant.recipe).backward.emulate(resolve(variant), x, options(c), place(c, x, pair)),
        pair);
  }

  std::unique_ptr<Judgeable> stages(const PathVariant& variant) const override {
    if (!goes_by_chunks(variant)) return nullptr;
    return make_stages<gla::HostBackwardInputs>(
        {*this, resolve(variant).form.chunk, &bind_inputs,
         [this](const PathVariant& own, const auto& x, const auto& options, const auto& at) {
           return runner(own.recipe).backward.stages(resolve(own), x, options, at);
         }});
  }

  // dq is made of do; everything else of do and dht, and dg_gamma has no terms without tokens.
  bool zero_by_definition(const Case& c, std::string_view tensor, const Pair& pair) const override {
    if (tensor == "dg_gamma" && pair.length == 0) return true;
    const bool no_output_gradient = c.get("do") == "zero" || pair.length == 0;
    return no_output_gradient && (tensor == "dq" || c.get("dht") == "none");
  }

  // A token that forgets everything passes no gradient to its gate.
  std::vector<Index> zero_rows(const Case& c, const Tensors& inputs, std::string_view tensor,
                               const Pair& pair) const override {
    if (tensor != "dg") return {};
    const gla::HostBackwardInputs x = bind_inputs(inputs);
    const Vector<double> gates = gla::gather_gates<double>(x, place(c, x, pair));
    std::vector<Index> rows;
    for (Index t = 0; t < gates.size(); ++t)
      if (decay(LogDecay<double>{gates[t]}).factor == 0)
        rows.push_back(pair.reverse ? gates.size() - 1 - t : t);
    return rows;
  }

  Family family(std::string_view tensor) const override {
    return tensor == "dg" || tensor == "dg_gamma" ? Family::gate_gradient : Family::diagonal;
  }

  // A recurrent path has no such term.
  PairOutputs form_terms(const Case& c, const PathVariant& form, const RecipeUnits& recipe,
                         const Tensors& inputs, const Pair& pair,
                         const InternalUnits& units) const override {
    const std::vector<std::string> names = output_names(c);
    PairOutputs result(names.size());
    if (form.form() == "recurrent" || c.get("gate_inputs") == "none") return result;
    const auto of = [&](std::string_view name) {
      return static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
    };
    const bool global = form.get("dg_form", path_keys()) == "global";
    RecipeUnits summing = recipe;
    if (!global && unit_roundoff(find(inputs, "q")->type()) >= recipe.operand) {
      summing.operand = recipe.carry;
      summing.underflow_floor = false;
    }
    const PairOutputs internal = units(summing);
    const Matrix<double> dq = in_processing_order(internal[of("dq")], pair.reverse),
                         dk = in_processing_order(internal[of("dk")], pair.reverse);
    const gla::BackwardProblem<double> p = problem(c, inputs, pair);
    const gla::BackwardForm own = resolve(form).form;
    const double bracket =
        own.h == gla::StateStorage::operand || own.dh == gla::StateStorage::operand
            ? std::max(recipe.carry, recipe.operand)
            : recipe.carry;
    const GateGradientError error =
        global ? global_form_error(p, dq, dk, bracket)
               : chunk_form_error(p, own.chunk, own.dg_chunks, dq, dk, recipe.operand, bracket);
    if (given(c, "dg")) result[of("dg")] = in_processing_order(error.dg, pair.reverse);
    if (given(c, "dg_gamma"))
      result[of("dg_gamma")] = Matrix<double>::Constant(1, 1, error.dg_gamma);
    return result;
  }

  PairOutputs extended_oracle(const Case& c, const Tensors& inputs,
                              const Pair& pair) const override {
    return pair_outputs(c, extended(problem<long double>(c, inputs, pair)), pair);
  }
  std::optional<AdjointIdentity> adjoint_identity(const Case& c, const Tensors& inputs,
                                                  const Pair& pair) const override {
    return simple_gla_binding::adjoint_identity(
        problem(c, inputs, pair), static_cast<std::uint64_t>(c.integer("seed")), pair.number);
  }

  std::vector<std::string> linear_inputs(const Case&) const override { return {"do", "dht"}; }
  std::vector<std::string> adjoint_outputs() const override { return {"dk", "dv"}; }
  std::vector<Euler> euler_identities() const override {
    return {{"v and h0", {"v", "h0"}}, {"k and h0", {"k", "h0"}}, {"q", {"q"}, false}};
  }

  // Outside of the recurrence dg_t is a sum over what is left of its chunk (or sequence) of
  // q . dq - k . dk, and a bracket made of the products of all of it: as large as all of them.
  Tensors term_sizes(const Case& c, const PathVariant& variant, const Tensors& inputs,
                     const Tensors& sums) const override {
    if (variant.form() == "recurrent") return sums;
    const Index chunk =
        variant.get("dg_form", path_keys()) == "global"
            ? dimensions(c).time + 1
            : variant.integer("chunk", path_keys()) * variant.integer("dg_chunks", path_keys());
    Tensors result = sums;
    Tensor* const dg = find(result, "dg");
    Tensor* const dg_gamma = find(result, "dg_gamma");
    if (dg == nullptr && dg_gamma == nullptr) return result;
    if (dg_gamma != nullptr) *dg_gamma = like(*dg_gamma);
    if (dg != nullptr) *dg = like(*dg);
    for (const Pair& pair : pairs(c, inputs)) {
      const Terms terms(inputs, sums, pair);
      for (Index begin = 0; begin < pair.length; begin += chunk) {
        const Index end = std::min(begin + chunk, pair.length);
        double size = 0;
        for (Index t = begin; t < end; ++t) size += terms.query(t, true) + terms.key(t, true);
        for (Index t = begin; t < end; ++t) {
          const double own = size + terms.gate(t) + terms.gate(end - 1);
          if (dg != nullptr)
            dg->view<Batch, Time, ValueHead>().store(own, Batch{pair.batch}, terms.token(t),
                                                     ValueHead{pair.value_head});
          if (dg_gamma != nullptr) {
            auto view = dg_gamma->view<ValueHead>();
            view.store(view.load(ValueHead{pair.value_head}) + own, ValueHead{pair.value_head});
          }
        }
      }
    }
    return result;
  }

  // <dS_t, S_t> = dg_t + k_t . dk_t = dg_{t+1} + q_t . dq_t, summed over the value heads of a head;
  // and dg of the first token is <h0, dh0>.
  std::vector<Residual> residuals(const Case& c, const Tensors& inputs, const Tensors& outputs,
                                  const Tensors& sizes) const override {
    for (const char* const name : {"dq", "dk", "dg"})
      if (find(outputs, name) == nullptr) return {};
    const Index group = dimensions(c).value_heads / dimensions(c).heads;
    Residual step{"gate recurrence", "dg", "", 0, 0},
        first{"gate of the first token", "dg", "", 0, 0};
    const auto keep = [](Residual& worst, double value, double size, const std::string& at) {
      const bool larger = worst.at.empty() || std::isnan(value) ||
                          std::abs(value) * worst.size > std::abs(worst.value) * size;
      if (!larger || std::isnan(worst.value)) return;
      worst.value = value;
      worst.size = size;
      worst.at = at;
    };
    const std::vector<Pair> all = pairs(c, inputs);
    for (std::size_t p = 0; p + static_cast<std::size_t>(group) <= all.size();
         p += static_cast<std::size_t>(group)) {
      std::vector<Terms> own, size;
      for (std::size_t i = 0; i < static_cast<std::size_t>(group); ++i) {
        own.emplace_back(inputs, outputs, all[p + i]);
        size.emplace_back(inputs, sizes, all[p + i]);
      }
      const Index length = all[p].length;
      for (Index t = 0; t + 1 < length; ++t) {
        double value = own[0].key(t, false) - own[0].query(t, false),
               terms = size[0].key(t, true) + size[0].query(t, true);
        for (std::size_t i = 0; i < own.size(); ++i) {
          value += own[i].gate(t) - own[i].gate(t + 1);
          terms += size[i].gate(t) + size[i].gate(t + 1);
        }
        keep(step, value, terms,
             fmt::format("sequence {}, head {}, t={}", all[p].sequence, all[p].head,
                         own[0].token(t).index));
      }
      const Tensor *const h0 = find(inputs, "h0"), *const dh0 = find(outputs, "dh0");
      for (std::size_t i = 0; i < own.size() && length > 0; ++i) {
        if (h0 != nullptr && dh0 == nullptr) continue;
        double value = own[i].gate(0), terms = size[i].gate(0);
        if (h0 != nullptr) {
          const auto state = h0->const_view<Sequence, ValueHead, groundstate::Key, Value>(),
                     gradient = dh0->const_view<Sequence, ValueHead, groundstate::Key, Value>(),
                     of_gradient = find(sizes, "dh0")
                                       ->const_view<Sequence, ValueHead, groundstate::Key, Value>();
          const Dimensions n = dimensions(c);
          for (Index k = 0; k < n.key; ++k)
            for (Index j = 0; j < n.value; ++j) {
              const auto at = [&](const auto& view) {
                return view.load(Sequence{all[p + i].sequence}, ValueHead{all[p + i].value_head},
                                 groundstate::Key{k}, Value{j});
              };
              value -= at(state) * at(gradient);
              terms += std::abs(at(state)) * at(of_gradient);
            }
        }
        keep(first, value, terms,
             fmt::format("sequence {}, value head {}", all[p + i].sequence, all[p + i].value_head));
      }
    }
    std::vector<Residual> result;
    for (Residual& own : {std::ref(step), std::ref(first)})
      if (!own.at.empty()) result.push_back(std::move(own));
    return result;
  }

  std::vector<CarriedState> carried_states() const override { return {}; }
  Index resume_interval(const PathVariant&) const override { return 0; }

 private:
  static Tensor like(const Tensor& tensor) {
    return Tensor::allocate(tensor.name(), tensor.type(), tensor.axes(), tensor.storage_order());
  }

  // The products that make dg, of one pair, by token in the order of processing.
  struct Terms {
    Terms(const Tensors& inputs, const Tensors& outputs, const Pair& own)
        : pair(own),
          q(rows(inputs, "q")),
          k(rows(inputs, "k")),
          dq(rows(outputs, "dq")),
          dk(rows(outputs, "dk")) {
      if (const Tensor* const tensor = find(outputs, "dg"))
        dg = tensor->const_view<Batch, Time, ValueHead>();
    }
    Time token(Index t) const {
      return Time{pair.begin + (pair.reverse ? pair.length - 1 - t : t)};
    }
    double query(Index t, bool size) const { return product(q, dq, t, size); }
    double key(Index t, bool size) const { return product(k, dk, t, size); }
    double gate(Index t) const {
      return dg ? dg.load(Batch{pair.batch}, token(t), ValueHead{pair.value_head}) : 0.0;
    }

   private:
    using Rows = HostView<const Any, Batch, Time, Head, groundstate::Key>;
    static Rows rows(const Tensors& tensors, std::string_view name) {
      return find(tensors, name)->const_view<Batch, Time, Head, groundstate::Key>();
    }
    double product(const Rows& x, const Rows& y, Index t, bool size) const {
      double sum = 0;
      for (Index i = 0; i < x.extent<groundstate::Key>(); ++i) {
        const double term =
            x.load(Batch{pair.batch}, token(t), Head{pair.head}, groundstate::Key{i}) *
            y.load(Batch{pair.batch}, token(t), Head{pair.head}, groundstate::Key{i});
        sum += size ? std::abs(term) : term;
      }
      return sum;
    }
    Pair pair;
    Rows q, k, dq, dk;
    HostView<const Any, Batch, Time, ValueHead> dg;
  };

  static std::vector<std::string> output_names(const Case& c) {
    std::vector<std::string> names;
    gla::HostBackwardOutputs none;
    gla::output_tensors(none, [&](std::string_view name, auto&&...) {
      if (given(c, name)) names.emplace_back(name);
    });
    return names;
  }

  static PairOutputs pair_outputs(const Case& c, const gla::Gradients<double>& r,
                                  const Pair& pair) {
    PairOutputs result;
    for (const std::string& name : output_names(c)) {
      if (name == "dq") result.push_back(in_token_order(r.dq, pair));
      if (name == "dk") result.push_back(in_token_order(r.dk, pair));
      if (name == "dv") result.push_back(in_token_order(r.dv, pair));
      if (name == "dg") result.push_back(in_token_order(r.dg, pair));
      if (name == "dg_gamma") result.push_back(Matrix<double>::Constant(1, 1, r.dg_gamma));
      if (name == "dh0") result.push_back(r.dh0);
    }
    return result;
  }

  BackwardVariant resolve(const PathVariant& variant) const {
    const auto is = [&](std::string_view key, std::string_view value) {
      return variant.get(key, path_keys()) == value;
    };
    const auto storage = [](bool operand) {
      return operand ? gla::StateStorage::operand : gla::StateStorage::accumulator;
    };
    // A device keeps states as operands.
    return {std::string(variant.form()),
            {variant.integer("chunk", path_keys()), storage(is("dh_dtype", "operand")),
             is("dg_form", "global") ? gla::GateGradient::global : gla::GateGradient::chunk,
             variant.integer("dg_chunks", path_keys()),
             storage(is("h_dtype", "operand") || path(variant.path)->needs_device)},
            variant.integer("segments", path_keys()),
            variant.integer("num_steps", path_keys()),
            variant.integer("value_tile", path_keys()),
            gate_sum_of(variant)};
  }
};

}  // namespace

std::unique_ptr<Operator> make_simple_gla_backward() {
  return std::make_unique<SimpleGlaBackward>();
}

}  // namespace groundstate::harness
