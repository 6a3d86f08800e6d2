// How far the oracle itself can be off.
//
//   e_i <= |r_i - R_i| + 2^-53 |R_i|      r: the double oracle, R: the same recurrence in long
//                                         double (64 bits), rounded to double
//
// in the units of `exact`, where it is an honest result like any other and keeps to the limits of
// that recipe, and in those of the recipe that a path was judged by: so much the oracle may move an
// error. An oracle of a coarser recipe's path must be a thousand times better than what it judges.
//
// Gradients besides: <J dx, dy> = <dx, J^T dy> in a random direction of all inputs, the left side
// by forward-mode derivatives of the forward (reference/core/dual.hpp), which has no line in common
// with the adjoint; the bound is that of two sums of `chain` roundings.
//
// An oracle that does not keep to this proves nothing: the case is MISTRUSTED.
#pragma once

#include "harness/run/judge_case.hpp"
#include "harness/run/result.hpp"

namespace groundstate::harness {

// What an exact path and one of a coarser recipe allow the oracle, in units of their own.
inline constexpr double certified_share = 1e-3;

// Measures while a case is judged: candidates() has one more than those given, of the recipe
// `exact`, and all of them note their units.
class Certifier {
 public:
  // Throws std::logic_error where the operator has no extended oracle.
  Certifier(const Operator& op, const Case& c, const std::vector<Candidate>& candidates,
            const Tensors& outputs);
  const std::vector<Candidate>& candidates() const { return candidates_; }

  struct Certificate {
    std::vector<std::vector<OracleCertificate>> paths;  // of each given candidate
    std::optional<GradientCertificate> gradients;
    bool good = true;
  };
  // After judge_case(), with its pairs and sample.
  Certificate finish(const Tensors& inputs, const std::vector<Pair>& pairs,
                     const std::vector<bool>& sampled) const;

 private:
  const Operator& op_;
  const Case& case_;
  Tensors exact_outputs_;
  std::vector<std::vector<MeasuredOutput>> measured_;
  std::vector<Candidate> candidates_;
};

// Notes it in the results of the candidates, which are MISTRUSTED where it is not good.
void apply_certificate(const Certifier::Certificate& certificate,
                       const std::vector<Result*>& results);

}  // namespace groundstate::harness
