// The paths of simple_gla as functions of one problem, chosen by name.
//
// Instantiated once per recipe, each in a source file of its own (exact.cpp, single.cpp, ...), so
// that recipes compile in parallel and in bounded memory.
#pragma once

#include <stdexcept>
#include <string>

#include "reference/simple_gla/fused.hpp"
#include "reference/simple_gla/parallel.hpp"
#include "reference/simple_gla/recurrent.hpp"
#include "reference/simple_gla/segmented.hpp"

namespace groundstate::harness::simple_gla_paths {

using namespace groundstate::simple_gla;

// A path variant with every key resolved.
struct Variant {
  std::string path;
  Index chunk, num_steps, segments, key_tile, value_tile, tokens;
  GateSum gate_sum;
};

template <class Recipe>
Result<ScalarOf<Recipe>> compute(const Variant& v, const Problem<ScalarOf<Recipe>>& p,
                                 bool packed) {
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

// The two uses of a path: on whole tensors, and on one place with its results widened to double.
struct PathRunner {
  void (*run)(const Variant&, const HostInputs&, const Options&, const HostOutputs&);
  Result<double> (*emulate)(const Variant&, const HostInputs&, const Options&, const Place&);
};

template <class Recipe>
PathRunner make_runner() {
  using Scalar = ScalarOf<Recipe>;
  return {[](const Variant& v, const HostInputs& x, const Options& options, const HostOutputs& y) {
            for_each_problem<Scalar>(x, options, y, [&](Problem<Scalar> p) {
              p.gate_sum = v.gate_sum;
              return compute<Recipe>(v, p, static_cast<bool>(x.offsets));
            });
          },
          [](const Variant& v, const HostInputs& x, const Options& options, const Place& at) {
            Problem<Scalar> p = gather<Scalar>(x, options, at);
            p.gate_sum = v.gate_sum;
            const Result<Scalar> r = compute<Recipe>(v, p, static_cast<bool>(x.offsets));
            return Result<double>{r.o.template cast<double>(), r.ht.template cast<double>()};
          }};
}

PathRunner exact();
PathRunner single();
PathRunner tf32();
PathRunner tensorcore_bf16();
PathRunner tensorcore_fp16();
PathRunner tensorcore_bf16_state();
PathRunner single_bf16_state();

}  // namespace groundstate::harness::simple_gla_paths
