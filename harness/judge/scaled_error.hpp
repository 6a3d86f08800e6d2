// The unit of an honest error, per element, and the error measured in it.
//
//   unit_i = u_out |r_i| + sqrt((u_operand s^I_i)^2 + (u_carry s^C_i)^2 + (u_gate s^G_i)^2 + F_i^2)
//            [+ 2^-25 s^open_i]  + floor                                        (unit of r)
//   e_i    = |y_i - r_i| / unit_i                                               (dimensionless)
//
// u_out is the roundoff of the output's declared type, the others are the recipe's; F is the form
// term of an output that is by its spec a difference of larger terms (optional, unit of r); s^open
// is the sensitivity to an absolute disturbance of the inputs with all gates 0, for recipes whose
// operands underflow (fp16). `floor` is the smallest
// normal number of the arithmetic, 2^-1022 for double and 2^-126 else, so that flushed subnormals
// are no error; an fp16 output adds 2^-25, half its subnormal spacing, which no relative roundoff
// describes.
//
// e is never NaN; it fails closed. A NaN matches only a NaN of the oracle, an infinity of the
// oracle only the same infinity; otherwise e = +infinity. An infinite y for a finite r stands for
// the nearest real number that rounds to it, the overflow threshold of the output's type (65520 for
// fp16): e = 0 where the rounded oracle is that infinity as well, small only where r is within a
// few units of it. A unit that is not finite measures nothing: e = 0 for y = r, +infinity else.
// Source: the study of the scale, sections 1, 3, 4.
#pragma once

#include "harness/judge/units.hpp"
#include "reference/core/matrix.hpp"

namespace groundstate::harness {

// The fields of one (sequence, head) pair and one output tensor, all of the tensor's shape.
struct ScaleFields {
  Matrix<double> input;  // s^I
  Matrix<double> carry;  // s^C(c), c as the recipe says
  Matrix<double> gate;   // s^G(C), C as the recipe and the path's chunk length say
  Matrix<double> open;   // s^open; empty unless the recipe has the underflow floor
};

// The unit before storage: without u_out, without `floor` and without a form term.
Matrix<double> internal_units(const RecipeUnits& recipe, const ScaleFields& fields);

// Throws std::logic_error where a needed field has another shape than the oracle.
Matrix<double> error_units(const RecipeUnits& recipe, ElementType output,
                           const Matrix<double>& oracle, const ScaleFields& fields,
                           const Matrix<double>* form = nullptr);

double scaled_error(double got, double oracle, double unit, ElementType output);

// An element that is zero by definition: 0 for +0 and -0, +infinity else.
double zero_error(double got);

// The least |x| that rounds to infinity in `type`; infinity for the 64-bit types.
double overflow_threshold(ElementType type);

// The nearest value of the type (infinite beyond its threshold); x itself for integers.
double round_to_type(ElementType type, double x);

// The distance of two neighbouring values of a 16-bit type at |x|, an ulp.
double spacing(ElementType type, double x);

// The absolute error that storage and flushing alone explain, whatever the value: `floor` above.
double storage_floor(const RecipeUnits& recipe, ElementType output);

}  // namespace groundstate::harness
