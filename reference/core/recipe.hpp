// Precision as a recipe: one compute scalar, and one named rounding function per rounding point of
// a kernel. The maths of an operator is written once and instantiated per recipe; `Exact` is the
// oracle, the others say what an honest kernel of that precision computes.
//
//   point            what is rounded there
//   operand          an input as operand of a matrix product (q, k, v, do)
//   score            q k^T or do v^T after gate and mask, as operand of the next product
//   update           the decayed value as operand of the update of S
//   gradient_update  the decayed query as operand of the update of dS
//   decayed_key      the decayed key as operand of the product with dS
//   state            S or dS as operand of a product
//   carry            S or dS itself, after each write of it
//
// A point that a recipe does not name rounds nothing. `carry(time, row, column)` returns the
// function that is applied to one row of the state as it is written: `time` is the last token that
// has entered the state, `row` the key index, and element j of the row is value index column + j.
// It is a function of its place so that a recipe may also disturb the state (the harness measures
// sensitivity to it that way).
#pragma once

#include "reference/core/axis.hpp"
#include "reference/core/scalar.hpp"

namespace groundstate {

// Three steps may be ordered as other libraries do (simple_gla/profiles.hpp); a recipe of ours sets
// none of these.
//   scale_query_first      the scale enters with the query, as operand(scale q)
//   decay_after_product    a decay multiplies a product instead of its operand
//   decay_output_gradient  the decay of a query multiplies do instead
template <class S>
struct Rounding {
  using Scalar = S;
  static constexpr bool scale_query_first = false, decay_after_product = false,
                        decay_output_gradient = false;
  static S operand(S x) { return x; }
  static S score(S x) { return x; }
  static S update(S x) { return x; }
  static S gradient_update(S x) { return x; }
  static S decayed_key(S x) { return x; }
  static S state(S x) { return x; }
  static auto carry(Index /*time*/, Index /*row*/, Index /*column*/) {
    return [](S x, Index /*j*/) { return x; };
  }
};

template <class Recipe>
using ScalarOf = typename Recipe::Scalar;

// The oracle.
struct Exact : Rounding<double> {};
// 64 significant bits on x86: bounds the oracle's own error.
struct Extended : Rounding<long double> {};
// IEEE fp32 throughout, no tensor core.
struct Single : Rounding<float> {};

// Operands of one 16- or 19-bit format, fp32 accumulation, fp32 state.
template <class Format>
struct TensorCoreRounding : Rounding<float> {
  static float operand(float x) { return round_to<Format>(x); }
  static float score(float x) { return round_to<Format>(x); }
  static float update(float x) { return round_to<Format>(x); }
  static float gradient_update(float x) { return round_to<Format>(x); }
  static float decayed_key(float x) { return round_to<Format>(x); }
  static float state(float x) { return round_to<Format>(x); }
};
struct TensorCore : TensorCoreRounding<Bfloat16Format> {};
struct TensorCoreHalf : TensorCoreRounding<Float16Format> {};
struct Tf32 : TensorCoreRounding<Tf32Format> {};

// A state that is kept in bf16: rounded after each write, that is once per token in a recurrent
// path and once per chunk in a chunked one.
template <class Base>
struct WithBf16State : Base {
  static auto carry(Index, Index, Index) {
    return [](float x, Index) { return round_to<Bfloat16Format>(x); };
  }
};
struct SingleBf16State : WithBf16State<Single> {};
struct TensorCoreBf16State : WithBf16State<TensorCore> {};

}  // namespace groundstate
