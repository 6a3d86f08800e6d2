// The clauses of a verdict on one tensor that need no coordinates, each printed as value / limit.
//
//   A  recipe limit  the errors' median, 99.9 % point and maximum within the recipe's limits
//   B  case limit    the same against the limits that follow the case's emulation (limits.hpp)
//   C  grid test     a tensor declared fp32 whose elements lie on the bf16, fp16 or tf32 grid was
//                    rounded on the way: at most half of its non-zero elements may
//   D  bias test     |mean of (y - r) sign(r) / unit| <= 0.1 for 16-bit outputs of 1e4 elements or
//                    more that are normal numbers: truncation instead of rounding
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

class BiasTest {
 public:
  static constexpr Index least_elements = 10'000;
  static constexpr double mean_limit = 0.1;

  // Finite values only. `unit` as in scaled_error.hpp.
  void add(double got, double oracle, double unit);
  Clause clause() const;

 private:
  double sum_ = 0;
  Index elements_ = 0;
};

}  // namespace groundstate::harness
