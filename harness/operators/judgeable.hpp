// What the judge needs to know of a set of tensors: the outputs of an operator, or the named
// intermediates of one of its forms.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "harness/case/case_line.hpp"
#include "harness/case/path_variant.hpp"
#include "harness/generate/tensor_spec.hpp"
#include "harness/judge/limits.hpp"
#include "harness/judge/units.hpp"
#include "harness/operators/perturbation.hpp"
#include "reference/core/matrix.hpp"

namespace groundstate::harness {

// One independent problem of a case: what it depends on and where its outputs lie.
struct Pair {
  Index number = 0;  // in the declared order of the case
  Index batch = 0, sequence = 0;
  Index head = 0, value_head = 0;  // of keys and queries; the one that the state lives on
  Index begin = 0, length = 0;     // tokens of its sequence
  bool reverse = false;
  double mean_gate = 0;  // log decay; the sample of a large case has the slowest and the fastest
  Index first_chunk = 0, chunks = 0;  // of its sequence, where tensors have an axis of chunks
};

// What one pair contributes to the tensors, in the order of Judgeable::judged_outputs(): [time, key
// or value] in the order of tokens for a tensor with a time axis, [key, value] or [value, state]
// for a state, [chunk x key, value] for a state of every chunk. An axis that a tensor lacks has one
// position. Pairs that lie at the same place of a tensor (gradients of a key head that several
// value heads share, or of a parameter that all sequences share) are summed there.
using PairOutputs = std::vector<Matrix<double>>;

class Judgeable {
 public:
  virtual ~Judgeable() = default;

  // The tensors as the judge sees them, and everything that speaks of values after it: those that
  // lie in codes and in slots of a pool are decoded, and gathered by the pair that they belong to.
  // Pairs, oracle() and the like speak of these. What the tensors at hand do not determine is left
  // out.
  virtual std::vector<TensorSpec> judged_outputs(const Case& c) const = 0;
  virtual Tensors judged(const Case& /*c*/, const Tensors& /*inputs*/,
                         const Tensors& outputs) const {
    return outputs;
  }

  virtual std::vector<Pair> pairs(const Case& c, const Tensors& inputs) const = 0;
  // The double recurrence on one pair, disturbed or not.
  virtual PairOutputs oracle(const Case& c, const Tensors& inputs, const Pair& pair,
                             const Perturbation& perturbation = {}) const = 0;
  // A variant on one pair, its results widened to double before any rounding to an output type; of
  // a path that needs a device, the reference's path of the same form.
  virtual PairOutputs emulate(const Case& c, const PathVariant& variant, const Tensors& inputs,
                              const Pair& pair) const = 0;
  // The elements of `tensor` that are zero by definition, in the shape of the oracle of this pair;
  // empty where none is.
  virtual Matrix<bool> zeros(const Case& c, const Tensors& inputs, std::string_view tensor,
                             const Pair& pair, const Matrix<double>& oracle) const = 0;

  // The row of limits that an output is held to.
  virtual Family family(std::string_view /*tensor*/) const { return Family::diagonal; }
  // How many elements of it share one error, so that an emulation may by chance be better than an
  // honest path.
  virtual double elements_per_error(const Case& /*c*/, std::string_view tensor) const {
    return harness::elements_per_error(family(tensor));
  }
  // The error of outputs that a path of this form computes as differences of larger terms: the form
  // term of judge/scaled_error.hpp, per output; empty where an output has none. `units(recipe)`
  // gives the units of the pair's outputs before they are stored.
  using InternalUnits = std::function<PairOutputs(const RecipeUnits&)>;
  virtual PairOutputs form_terms(const Case& c, const PathVariant& /*form*/,
                                 const RecipeUnits& /*recipe*/, const Tensors& /*inputs*/,
                                 const Pair& /*pair*/, const InternalUnits& /*units*/) const {
    return PairOutputs(judged_outputs(c).size());
  }

  // Outputs are short products of integers or one-hot rows: honest fp32 results lie on 16-bit
  // grids.
  virtual bool on_grid_by_nature(const Case& /*c*/) const { return false; }
};

}  // namespace groundstate::harness
