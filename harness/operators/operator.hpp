// What the harness knows of an operator. One class per operator implements it, and registry.cpp
// lists them; nothing else in the harness names an operator.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "harness/case/case_line.hpp"
#include "harness/case/path_variant.hpp"
#include "harness/generate/tensor_spec.hpp"
#include "harness/operators/device_run.hpp"
#include "harness/operators/judgeable.hpp"

namespace groundstate::harness {

// A regime or another value of a key, with the reason why it exists.
struct KeyValueHelp {
  std::string key, value, shows;
};

struct Path {
  std::string name;
  std::vector<std::string> keys;     // path keys it takes
  std::vector<std::string> recipes;  // "exact" first; names of harness/judge/units.hpp
  std::string summary;
  bool needs_device = false;

  bool takes(std::string_view key) const {
    return std::find(keys.begin(), keys.end(), key) != keys.end();
  }
};

struct Cost {
  double flops = 0;  // of one pass of the recurrence
  double bytes = 0;  // inputs and outputs
};

// Two variants that must agree in every bit on every case that both support, in the recipe of the
// left one where it names one, else in each.
struct EqualVariants {
  std::string name, left, right;
  std::string reason;
  std::vector<std::string> tensors = {};  // those that agree; empty: all
};

// A relation between runs of one variant that an operator declares, beside those that every
// operator has (harness/run/equality.hpp): two sets of tensors that must agree in every bit.
struct Contract {
  // The outputs of the variant on these inputs; the case says their shapes and the options.
  using Run = std::function<Tensors(const Case&, const Tensors&)>;
  std::string name, reason;
  std::function<std::pair<Tensors, Tensors>(const Run&)> sides;
};

// As something to be judged it is its outputs.
class Operator : public Judgeable {
 public:
  virtual const Grammar& grammar() const = 0;
  virtual std::string formula() const = 0;
  virtual std::vector<KeyValueHelp> regimes() const = 0;
  virtual std::span<const Key> path_keys() const = 0;
  virtual std::span<const Path> paths() const = 0;
  // The path of that name; nullptr when there is none.
  const Path* path(std::string_view name) const {
    for (const Path& own : paths())
      if (own.name == name) return &own;
    return nullptr;
  }
  virtual std::vector<EqualVariants> equal_variants() const = 0;
  virtual std::vector<Contract> contracts(const Case& /*c*/, const PathVariant& /*variant*/,
                                          const Tensors& /*inputs*/) const {
    return {};
  }
  // What `run` takes when no path is named.
  virtual std::vector<std::string> default_variants(const Case& c) const = 0;

  // Tensors of a case. Outputs for a recipe: exact results are kept in fp64, others in the case's
  // types. Throws UsageError where keys contradict each other (HV no multiple of H) or a shape
  // overflows.
  virtual std::vector<TensorSpec> inputs(const Case& c) const = 0;
  virtual std::vector<TensorSpec> outputs(const Case& c) const = 0;
  // What outputs hold before a run where that matters: a tensor that is updated in place holds its
  // input.
  virtual void start(const Case& /*c*/, const Tensors& /*inputs*/, Tensors& /*outputs*/) const {}
  // What is wrong with the bytes of these outputs whatever the values are, if anything: memory that
  // had to stay as it was. An output that is not there is not looked at.
  virtual std::optional<std::string> violation(const Case& /*c*/, const Tensors& /*inputs*/,
                                               const Tensors& /*outputs*/) const {
    return std::nullopt;
  }
  std::vector<TensorSpec> judged_outputs(const Case& c) const override { return outputs(c); }
  virtual Cost cost(const Case& c) const = 0;
  // Of one run of a variant, where it differs from the recurrence (scans, quadratic forms).
  virtual double path_flops(const Case& c, const PathVariant& /*variant*/) const {
    return cost(c).flops;
  }

  // The case with every optional input given: what a file may hold at all.
  virtual Case with_every_input(const Case& c) const { return c; }
  // The case that these inputs, somebody's own, belong to: shape and type keys follow from the
  // tensors. Throws UsageError naming both sides where an explicit key contradicts them.
  virtual Case infer(const Case& c, const Tensors& inputs) const = 0;
  // Contents that a shape does not show: offsets that decrease and the like. Throws UsageError.
  virtual void validate(const Case& c, const Tensors& inputs) const = 0;

  // Why this variant cannot take this case, if so.
  virtual std::optional<std::string> unsupported(const Case& c,
                                                 const PathVariant& variant) const = 0;
  // Runs a variant on whole tensors; their shapes rule, the case gives options only (scale,
  // reverse). Returns what is worth reporting of the run ("num_steps 4 -> 2"), often nothing.
  virtual std::string run(const Case& c, const PathVariant& variant, const Tensors& inputs,
                          Tensors& outputs) const = 0;
  // A variant of a path that needs a device, its tensors in device memory. The shapes, types and
  // strides of `outputs` rule as in run(); what they hold is what the device starts from.
  virtual std::unique_ptr<DeviceRun> prepare(const Case& /*c*/, const PathVariant& variant,
                                             const Tensors& /*inputs*/,
                                             const Tensors& /*outputs*/) const {
    throw std::logic_error("path " + variant.path + " does not run on a device");
  }

  // Output `tensor` of this pair is zero by definition (no sequence and no initial state, ...), or
  // these rows of it are, in the order of tokens.
  virtual bool zero_by_definition(const Case& c, std::string_view tensor,
                                  const Pair& pair) const = 0;
  virtual std::vector<Index> zero_rows(const Case& /*c*/, const Tensors& /*inputs*/,
                                       std::string_view /*tensor*/, const Pair& /*pair*/) const {
    return {};
  }
  Matrix<bool> zeros(const Case& c, const Tensors& inputs, std::string_view tensor,
                     const Pair& pair, const Matrix<double>& oracle) const final;

  // The named intermediates of a variant (reference/<operator>), in the order in which they follow
  // from each other; a tensor of them has the type that a kernel keeps it in unless it says another
  // one. Null where the variant has none. Not valid beyond the operator's life.
  virtual std::unique_ptr<Judgeable> stages(const PathVariant& /*variant*/) const {
    return nullptr;
  }

  // A variant of ours keeps its cumulative gates so that nothing cancels, and is forgiven nothing
  // there.
  virtual bool exact_gates(const PathVariant& /*variant*/) const { return true; }
  // What a form that somebody declares stands for: the variants to emulate (more than one where it
  // leaves open what kernels do differently), and whether it promises that no running gate cancels.
  struct FormMeaning {
    std::vector<PathVariant> variants;
    bool exact_gates = false;
  };
  virtual FormMeaning form_meaning(const PathVariant& form) const { return {{form}}; }

  // A batch element, head or sequence by itself has the bits that it has among others.
  virtual bool same_alone(const PathVariant& /*variant*/) const { return true; }

  // ---- what must hold whatever the right result is (harness/run/properties.hpp)

  // Inputs in which outputs are linear together: what enters the state, and the state. None where
  // what is stored is not (codes). And the judged outputs that do not depend on them.
  virtual std::vector<std::string> linear_inputs(const Case& /*c*/) const { return {}; }
  virtual std::vector<std::string> nonlinear_outputs() const { return {}; }
  // Log decays, or what makes them: with 0 in all of them nothing decays.
  virtual std::vector<std::string> gate_inputs() const { return {}; }
  // No sequence meets what another one has written.
  virtual bool independent_sequences(const Case& /*c*/) const { return true; }
  // Of an operator whose outputs are gradients: those of a token that follow from tokens behind it
  // and from its own inputs. Empty: outputs follow from tokens before.
  virtual std::vector<std::string> adjoint_outputs() const { return {}; }
  // Inputs for which the outputs are the sums of the absolute values of their terms; empty where
  // no such inputs are known.
  virtual Tensors size_inputs(const Case& c, const Tensors& inputs) const;
  // The sizes of what a variant really adds up, where that is more than `sums`, its outputs for
  // those inputs (differences of larger terms).
  virtual Tensors term_sizes(const Case& /*c*/, const PathVariant& /*variant*/,
                             const Tensors& /*inputs*/, const Tensors& sums) const {
    return sums;
  }
  // A group of inputs that the outputs of the forward are linear in: the sum of x dx over them is
  // that of y dy over the outputs. Of a state that is left, only where it depends on them.
  struct Euler {
    std::string name;
    std::vector<std::string> inputs;
    bool reaches_state = true;
  };
  virtual std::vector<Euler> euler_identities() const { return {}; }
  // What judged outputs must satisfy among themselves: the worst element of each such identity, by
  // |value| / size. `sizes` are term_sizes().
  struct Residual {
    std::string name, tensor, at;
    double value = 0, size = 0;
  };
  virtual std::vector<Residual> residuals(const Case& /*c*/, const Tensors& /*inputs*/,
                                          const Tensors& /*outputs*/,
                                          const Tensors& /*sizes*/) const {
    return {};
  }
  // Other inputs of the same shapes whose outputs are known, in fp64, with the sums of the absolute
  // values of their terms.
  struct ClosedForm {
    std::string name;
    Tensors inputs, outputs, sizes;
  };
  virtual std::vector<ClosedForm> closed_forms(const Case& /*c*/, const Tensors& /*inputs*/) const {
    return {};
  }

  // ---- the certificate of the oracle (harness/run/certificate.hpp)

  // oracle() in long double, rounded to double at the end. Empty: there is none.
  virtual PairOutputs extended_oracle(const Case& /*c*/, const Tensors& /*inputs*/,
                                      const Pair& /*pair*/) const {
    return {};
  }
  // Of gradients, in a random direction dx of the inputs: <J dx, dy> by forward-mode derivatives of
  // the sequential forward (reference/core/dual.hpp), <dx, J^T dy> by the oracle, and the sum of
  // the absolute values of the latter's terms. `chain`: how many roundings follow each other.
  struct AdjointIdentity {
    double forward = 0, backward = 0, size = 0, chain = 0;
  };
  virtual std::optional<AdjointIdentity> adjoint_identity(const Case& /*c*/,
                                                          const Tensors& /*inputs*/,
                                                          const Pair& /*pair*/) const {
    return std::nullopt;
  }

  // How a state leaves one call and enters the next; the axis heads live on. Empty: no carried
  // state.
  struct CarriedState {
    std::string input, output;
  };
  virtual std::vector<CarriedState> carried_states() const = 0;
  // Tokens after which a variant may be cut with the same bits: 1, its chunk length, or 0 (never).
  virtual Index resume_interval(const PathVariant& variant) const = 0;
};

}  // namespace groundstate::harness
