// The rules by which other libraries' tests accept a tensor, each with the constants that it has
// there, so that they can be asked about the same outputs as our judge.
//
//   allclose 1e-2   |e| <= 1e-2 + 1e-2 |r| everywhere
//   assert_close    the same with PyTorch's defaults for the type of the output
//   RMS ratio       rms(e) / (rms(r) + 1e-8) < 5e-3, or |e| <= 1e-6 everywhere
//   NMSE            sum e^2 / sum r^2 <= 5e-4
//   cosine          1 - 2 <y, r> / (<y, y> + <r, r>) < 1e-3
//   2x              max |e| <= 2 max |b - r| + 2 max |((r + 0.3) - 0.3) - r|
//
// with outputs y, reference r, e = y - r, and b the same computed by other code in the same
// precision; the last term is evaluated in the type of the output. r is the double oracle, which is
// better than the reference that these rules have where they come from. A NaN fails each of them.
//
// Source: allclose and its constants, KernelBench and gpu-mode; assert_close, torch.testing; RMS
// ratio, flash-linear-attention (fla/utils.py); NMSE, ggml (tests/test-backend-ops.cpp); cosine,
// DeepGEMM (testing/numeric.py); 2x, FlashAttention (tests/test_flash_attn.py).
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "reference/core/matrix.hpp"
#include "reference/core/scalar.hpp"

namespace groundstate::harness {

// What the rules need to know of one tensor, collected part by part.
class Comparison {
 public:
  explicit Comparison(ElementType type) : type_(type) {}
  // Parts of the same shape; `baseline` is b, where there is one, for all parts or for none.
  void add(const Matrix<double>& got, const Matrix<double>& reference,
           const Matrix<double>* baseline);

  // The reference fits the type: else no rule applies.
  bool applicable() const { return elements_ > 0 && fits_; }

 private:
  friend struct Rule;
  ElementType type_;
  Index elements_ = 0;
  bool fits_ = true, has_baseline_ = false;
  Index beyond_percent_ = 0, beyond_default_ = 0;  // elements that are not close
  double error_squares_ = 0, reference_squares_ = 0, got_squares_ = 0, product_ = 0;
  double largest_error_ = 0, largest_baseline_ = 0, largest_rounding_ = 0;
};

struct Rule {
  std::string_view name;
  bool (*passes)(const Comparison&);
  bool needs_baseline = false;

  // Nothing where it does not apply.
  std::optional<bool> verdict(const Comparison& comparison) const;

  static bool allclose(const Comparison&);
  static bool assert_close(const Comparison&);
  static bool rms_ratio(const Comparison&);
  static bool nmse(const Comparison&);
  static bool cosine(const Comparison&);
  static bool twice_the_baseline(const Comparison&);
};

inline constexpr std::array<Rule, 6> rules = {{{"allclose 1e-2", Rule::allclose},
                                               {"assert_close", Rule::assert_close},
                                               {"RMS ratio", Rule::rms_ratio},
                                               {"NMSE", Rule::nmse},
                                               {"cosine", Rule::cosine},
                                               {"2x", Rule::twice_the_baseline, true}}};

}  // namespace groundstate::harness
