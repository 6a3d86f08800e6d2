// The paths of simple_gla, forward and backward, as functions of one problem, chosen by name.
//
// Instantiated once per recipe, each in a source file of its own (exact.cpp, single.cpp, ...), so
// that recipes compile in parallel and in bounded memory.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "harness/operators/judgeable.hpp"
#include "reference/simple_gla/fused.hpp"
#include "reference/simple_gla/fused_backward.hpp"
#include "reference/simple_gla/parallel.hpp"
#include "reference/simple_gla/recurrent.hpp"
#include "reference/simple_gla/segmented.hpp"
#include "reference/simple_gla/segmented_backward.hpp"

namespace groundstate::harness::simple_gla_binding {

using namespace groundstate::simple_gla;

// A path variant with every key resolved.
struct Variant {
  std::string path;
  Index chunk, num_steps, segments, key_tile, value_tile, tokens;
  GateSum gate_sum;
};
struct BackwardVariant {
  std::string path;
  BackwardForm form;
  Index segments, num_steps, value_tile;
  GateSum gate_sum;
};

template <class Recipe>
Result<ScalarOf<Recipe>> compute(const Variant& v, Problem<ScalarOf<Recipe>> p, bool packed) {
  p.gate_sum = v.gate_sum;
  if (v.path == "recurrent") return recurrent<Recipe>(p);
  if (v.path == "step") return stepwise<Recipe>(p, v.tokens);
  if (v.path == "scan") return pairwise<Recipe>(p);
  if (v.path == "hillis_steele") return hillis_steele<Recipe>(p);
  if (v.path == "chunk_scan") return chunk_scan<Recipe>(p, v.chunk);
  if (v.path == "chunked") return chunked<Recipe>(p, v.chunk);
  if (v.path == "fused")
    return fused<Recipe>(p, {v.chunk, v.num_steps, v.key_tile, v.value_tile, packed});
  if (v.path == "segmented") return segmented<Recipe>(p, v.segments, v.chunk);
  if (v.path == "parallel") return parallel<Recipe>(p);
  throw std::logic_error("simple_gla has no path " + v.path);
}

template <class Recipe>
Gradients<ScalarOf<Recipe>> compute(const BackwardVariant& v, BackwardProblem<ScalarOf<Recipe>> p,
                                    bool /*packed*/) {
  p.gate_sum = v.gate_sum;
  if (v.path == "recurrent") return backward<Recipe>(p);
  if (v.path == "chunked") return chunked_backward<Recipe>(p, v.form);
  if (v.path == "fused") return fused_backward<Recipe>(p, v.form);
  if (v.path == "segmented") return segmented_backward<Recipe>(p, v.segments, v.form);
  throw std::logic_error("simple_gla.backward has no path " + v.path);
}

// The named intermediates of a path that goes chunk by chunk. `fused` keeps its own on chip; with
// one tile of keys they have the bits of `chunked`.
template <class Recipe>
Stages<ScalarOf<Recipe>> kept(const Variant& v, Problem<ScalarOf<Recipe>> p) {
  p.gate_sum = v.gate_sum;
  Stages<ScalarOf<Recipe>> stages;
  if (v.path == "segmented")
    segmented<Recipe>(p, v.segments, v.chunk, &stages);
  else
    chunked<Recipe>(p, v.chunk, {}, &stages);
  return stages;
}
template <class Recipe>
BackwardStages<ScalarOf<Recipe>> kept(const BackwardVariant& v,
                                      BackwardProblem<ScalarOf<Recipe>> p) {
  p.gate_sum = v.gate_sum;
  BackwardStages<ScalarOf<Recipe>> stages;
  if (v.path == "segmented")
    segmented_backward<Recipe>(p, v.segments, v.form, &stages);
  else
    chunked_backward<Recipe>(p, v.form, &stages);
  return stages;
}

template <class Scalar>
Result<double> widened(const Result<Scalar>& r) {
  return {r.o.template cast<double>(), r.ht.template cast<double>()};
}
template <class Scalar>
Gradients<double> widened(const Gradients<Scalar>& r) {
  return {r.dq.template cast<double>(),    r.dk.template cast<double>(),
          r.dv.template cast<double>(),    r.dg.template cast<double>(),
          static_cast<double>(r.dg_gamma), r.dh0.template cast<double>()};
}

// The states of all chunks, one below the other.
template <class Scalar>
Matrix<double> stacked(const std::vector<Matrix<Scalar>>& states, Index keys, Index values) {
  Matrix<double> result(static_cast<Index>(states.size()) * keys, values);
  for (std::size_t c = 0; c < states.size(); ++c)
    result.middleRows(static_cast<Index>(c) * keys, keys) = states[c].template cast<double>();
  return result;
}
// In the order of stage_specs() (stages.hpp).
template <class Scalar>
PairOutputs widened(const Stages<Scalar>& r, const Problem<Scalar>& p) {
  return {r.cumulative_decay.template cast<double>(), stacked(r.chunk_states, p.key(), p.value()),
          r.scores.template cast<double>()};
}
template <class Scalar>
PairOutputs widened(const BackwardStages<Scalar>& r, const BackwardProblem<Scalar>& p) {
  PairOutputs result =
      widened(static_cast<const Stages<Scalar>&>(r), static_cast<const Problem<Scalar>&>(p));
  result.push_back(stacked(r.dh_states, p.key(), p.value()));
  result.push_back(r.dscores.template cast<double>());
  return result;
}

// The uses of a path: on whole tensors, and on one place with its results, or what lies between,
// widened to double.
template <class Path, class In, class Out, class Outcome>
struct Uses {
  void (*run)(const Path&, const In&, const Options&, const Out&);
  Outcome (*emulate)(const Path&, const In&, const Options&, const Place&);
  PairOutputs (*stages)(const Path&, const In&, const Options&, const Place&);
};
struct PathRunner {
  Uses<Variant, HostInputs, HostOutputs, Result<double>> forward;
  Uses<BackwardVariant, HostBackwardInputs, HostBackwardOutputs, Gradients<double>> backward;
};

template <class Recipe, class Path, class In, class Out, class Outcome>
constexpr Uses<Path, In, Out, Outcome> uses(Uses<Path, In, Out, Outcome> /*type*/ = {}) {
  using Scalar = ScalarOf<Recipe>;
  return {[](const Path& v, const In& x, const Options& options, const Out& y) {
            for_each_problem<Scalar>(x, options, y, [&](const auto& p) {
              return compute<Recipe>(v, p, static_cast<bool>(x.offsets));
            });
          },
          [](const Path& v, const In& x, const Options& options, const Place& at) -> Outcome {
            return widened(
                compute<Recipe>(v, gather<Scalar>(x, options, at), static_cast<bool>(x.offsets)));
          },
          [](const Path& v, const In& x, const Options& options, const Place& at) {
            const auto p = gather<Scalar>(x, options, at);
            return widened(kept<Recipe>(v, p), p);
          }};
}

// A profile rounds differently in its two directions.
template <class Forward, class Backward = Forward>
PathRunner make_runner() {
  PathRunner runner{};
  runner.forward = uses<Forward>(runner.forward);
  runner.backward = uses<Backward>(runner.backward);
  return runner;
}

PathRunner exact();
PathRunner single();
PathRunner tf32();
PathRunner tensorcore_bf16();
PathRunner tensorcore_fp16();
PathRunner tensorcore_bf16_state();
PathRunner single_bf16_state();
PathRunner fla_chunk_bf16();
PathRunner fla_chunk_fp16();
PathRunner fla_fused_chunk_bf16();
PathRunner fla_fused_chunk_fp16();
PathRunner tpu_fused_bf16();

// By the recipe's name in a path variant; empty is exact. Throws std::logic_error for an unknown
// one.
PathRunner runner(std::string_view recipe);
// Another library's (reference/simple_gla/profiles.hpp), and how it sums its gates.
bool is_profile(std::string_view recipe);
GateSum recipe_gate_sum(std::string_view recipe);

}  // namespace groundstate::harness::simple_gla_binding
