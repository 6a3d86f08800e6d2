// How far two implementations of one problem may be apart, and how far they are.
//
// An honest implementation computes each output in the arithmetic of its recipe (roundoff u: 2^-53
// or 2^-24), within l units of an error there (clause A; l: the limit of the maximum), and stores
// it in the type of the output (roundoff v), with one rounding more where that is coarser:
//
//   |y_i - r_i| <= bound_i = w |r_i| + l inner_i       w = v where v > u, else 0
//   inner_i = min(u, v) |r_i| + what the recipe's roundoffs make of the sensitivities, and form and
//             floor                                                          (scaled_error.hpp)
//
// so that two of them, a and b, keep to
//
//   max      |a_i - b_i| <= bound_A,i + bound_B,i      of all elements
//   99.8 %   the same with the limits of the 99.9 % point: each may leave it in one element of a
//            thousand
//
// The tolerance of an allclose, |a - b| <= atol + rtol |b|, that no such pair fails on this
// problem:
//
//   rtol = w_A + l_A min(u_A, v_A) + w_B + l_B min(u_B, v_B)
//   atol = max over i of bound_A,i + bound_B,i - rtol (|r_i| - bound_B,i)
//
// One atol has to serve the element that is hardest to compute; `slack` says by how much it is then
// too wide for the others. Distances d_i = |a_i - b_i| / sqrt(unit_A,i^2 + unit_B,i^2) are in units
// of both recipes. Elements whose unit is infinite (not measured) are compared bit for bit only. An
// infinity or a NaN that the other has not is infinitely far off; both NaN agree.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "harness/judge/clauses.hpp"
#include "harness/judge/limits.hpp"

namespace groundstate::harness {

// What an implementation promises of one output.
struct Promise {
  Triple limits;          // of clause A
  ElementType type{};     // of the output, as declared
  double arithmetic = 0;  // its roundoff u
};

struct ComparedElement {
  double left = 0, right = 0, oracle = 0;
  double left_unit = 0, right_unit = 0;
  bool same_bits = false;
};

// A tolerance that people use, and what it does here.
struct UsualTolerance {
  std::string name;
  double rtol = 0, atol = 0;
  Index exceeded = 0;  // elements
  // Of the tolerance to what an honest pair may need, over the elements that are not 0: below 1 an
  // honest pair may fail there; what is far above 1 lets a wrong result pass.
  double narrowest = 0, median = 0;
};

// How near one of the two is to the oracle.
struct Nearness {
  Index nearer = 0;          // elements that differ in value, in which it is the nearer one
  double relative_norm = 0;  // ||x - r|| / ||r||
};

struct MeasuredAgreement {
  Index elements = 0, same_bits = 0;
  Index measured = 0;  // elements with a unit
  Triple difference;   // of d
  std::array<Clause, 2> clauses;
  double largest = 0;  // |a - b|
  Nearness left, right;
  double rtol = 0, atol = 0;
  Index decisive = -1;  // the element that atol is for, by number; -1: none
  double slack = 0;     // median of (atol + rtol |r|) / (bound_A + bound_B), as below
  Index worst = -1;     // the element with the largest d
  std::vector<UsualTolerance> usual;

  bool passed() const { return clauses[0].passed && clauses[1].passed; }
};

class AgreementJudge {
 public:
  // `elements` with a unit; the limit of a maximum grows with their number (counting.hpp).
  AgreementJudge(const Promise& left, const Promise& right, Index elements);
  // In one fixed order.
  void add(const ComparedElement& element);
  MeasuredAgreement finish() const;

 private:
  Promise left_, right_;
  MeasuredAgreement found_;
  ErrorList differences_, shares_, rare_shares_;  // of d, and of both bounds
  double worst_ = -1;
  long double left_squares_ = 0, right_squares_ = 0, oracle_squares_ = 0;
  struct Need {
    double bound, size;  // bound_A + bound_B and |r|, which is not 0
  };
  std::vector<Need> needs_;
};

}  // namespace groundstate::harness
