// The clauses of a verdict on one tensor that need no coordinates, each printed as value / limit.
//
//   A  recipe limit  the errors' median, 99.9 % point and maximum within the recipe's limits
//   B  case limit    the same against the limits that follow the case's emulation (limits.hpp)
//   C  grid test     a tensor declared fp32 whose elements lie on the bf16, fp16 or tf32 grid was
//                    rounded on the way: at most half of its non-zero elements may
//   D  bias tests    of 16-bit outputs that are normal numbers, with e = (y - r') sign(r),
//                    r' the rounded oracle:
//      D.bias        |mean of e / unit| within bias_limit: operands, states or gates that are
//      always
//                    rounded to one side
//      D.truncation  |b| <= 0.1 + what chance makes, with b, c the least squares of
//                    e = b ulp(r) + c |r|, weighted by 1 / unit^2: an output that is rounded to
//                    one side has b = 1/2, towards zero -1/2, whatever else is done to it; not for
//                    states that are stored after each token
//
// The value of a counted clause is the error that decides it, the (n - k(n, q))-th smallest of n:
// the clause fails exactly when value > limit. With k >= n elements too few to decide, it does not
// apply. C leaves out elements whose exact value lies on the grid itself (integers, one-hot
// inputs): those say nothing about rounding. A random fp32 number lies on the tf32 grid with
// probability 2^-13, so that half of 64 elements by chance has probability below 1e-100. Source:
// the study of the scale, section 5.
#pragma once

#include <string>
#include <vector>

#include "harness/judge/error_list.hpp"
#include "reference/core/scalar.hpp"

namespace groundstate::harness {

struct Clause {
  std::string name;  // "A.median", "C.grid", ...
  double value = 0, limit = 0;
  bool applicable = true;
  bool passed = true;
  std::string detail;
  double raised = 1;  // the factor of a raised limit, which `limit` has in it and `detail` explains

  double ratio() const;  // value / limit; 0 where it does not apply, +infinity for 0 exceeded
};

// passed = value <= limit, so that NaN fails.
Clause make_clause(std::string name, double value, double limit, std::string detail = {});
Clause not_applicable(std::string name, std::string reason);

// `prefix` is "A" or "B"; the maximum's limit grows with n beyond 1e7 (counting.hpp).
std::vector<Clause> counted_clauses(const std::string& prefix, const ErrorList& errors,
                                    Triple limits);

class GridTest {
 public:
  static constexpr Index least_elements = 64;
  static constexpr double share_limit = 0.5;

  void add(double got, double oracle);
  Clause clause() const;

 private:
  struct Grid {
    Index eligible = 0, on_grid = 0;
  };
  Grid bf16_, fp16_, tf32_;
};

// Whatever changes results by a factor makes e proportional to |r|: a gate near 1 that is lost when
// an operand on the grid is multiplied by it and rounded, a stored state whose decay is below half
// a unit in the last place. Honest kernels do that. ulp(r) / |r| varies by 2 within every power of
// two, so that c takes all of it, and b is left with what rounding the output does. The rounded
// oracle, since results that lie a little below numbers of the grid are rounded up by everybody. A
// state that is stored after each token loses its decay where that is below ulp / 2 and not
// elsewhere, which looks like a b of 0.7; if it were truncated it would lose an ulp a token, which
// clauses A and B see.
class BiasTest {
 public:
  static constexpr Index least_elements = 10'000;
  // Twice the largest honest value; and of b, in ulp, with the largest limit that still tells
  // truncation apart.
  static constexpr double mean_limit = 0.28, truncation_limit = 0.1, useful_limit = 0.4;

  explicit BiasTest(ElementType type) : type_(type) {}
  // Finite values only. `unit` as in scaled_error.hpp.
  void add(double got, double oracle, double unit);
  Clause bias() const;
  Clause truncation() const;

 private:
  ElementType type_;
  Index elements_ = 0;
  double sum_ = 0;
  // Sums of products of ulp / unit, |r| / unit and e / unit.
  double uu_ = 0, ur_ = 0, rr_ = 0, ue_ = 0, re_ = 0, ee_ = 0;
};

}  // namespace groundstate::harness
