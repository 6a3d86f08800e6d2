// Goldens: what the generator and the double oracle once gave, small enough to be committed.
//
//   /                    attributes golden (1), libm ("glibc 2.36"), schema
//   /<id>                one case: attributes case, operator, schema, as in every fixture
//     inputs/<name>      sampled elements as double; attributes sha256, type, shape
//     oracle/<name>      the same of the double oracle
//     scale/<name>       the unit of an honest double error (judge/scaled_error.hpp, recipe exact,
//                        intervals of one token) at the sampled elements of the oracle
//
// sha256 is of all elements in their own type, little endian, row-major in the declared order of
// the axes (attribute shape). n elements in that order are cut into m = min(n, 64) parts, and one
// of each part is sampled: the first of the first, the last of the last, and element
//   begin + (i 2654435761 mod 2^32) mod (end - begin),   begin = n i / m, end = n (i + 1) / m
// of part i. Inputs come from a generator without libm, so they are the same bits everywhere; the
// oracle is where the libm is the same, and anywhere else within some units.
//
// Throws UsageError, naming file and object, for a file that is no golden; what reading, writing
// and computing throw besides.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "harness/case/case_line.hpp"
#include "harness/judge/limits.hpp"

namespace groundstate::harness {

inline constexpr int golden_version = 1;
inline constexpr Index golden_sample = 64;

struct GoldenTensor {
  std::string name;                   // "inputs/q", "oracle/o"
  std::string type, shape, sha256;    // "bf16", "batch=2 time=300 head=4 key=64", hexadecimal
  std::vector<double> values, units;  // of the sample; units: of the oracle only
  Family family = Family::diagonal;   // of the oracle; follows from the operator and is not stored

  bool is_oracle() const { return name.starts_with("oracle/"); }
};

struct GoldenCase {
  std::string id, text, operator_name;  // not checked against the operators of today
  std::vector<GoldenTensor> tensors;
};

struct Golden {
  std::string libm;
  std::vector<GoldenCase> cases;
};

// The C library whose exp and so on this process calls.
std::string libm_name();

GoldenCase compute_golden(const Case& c);

Golden read_golden(const std::string& path);
// The order of the cases does not matter: the same content is the same bytes.
void write_golden(const std::filesystem::path& path, const Golden& golden);

// What a tensor of a case was in the golden and is now, where the two are not the same.
struct GoldenDifference {
  struct Element {
    std::string at;  // "batch=0 time=511 head=3 value=17"
    double golden = 0, now = 0;
  };
  std::string tensor;
  std::string incomparable;  // why no element is compared: "the shape was ..., is ..."
  std::string golden_sha256, sha256;
  Index sampled = 0, different = 0;  // elements whose bits differ
  std::optional<Element> first = {};
  double largest = 0;         // |now - golden|
  double largest_scaled = 0;  // in units; infinity for an input, which has none
  double limit = 0;           // of largest_scaled: the maximum of clause A for the recipe exact
  bool other_units = false;   // the yardstick has changed, whether or not the tensor has

  bool only_units() const {
    return incomparable.empty() && different == 0 && sha256 == golden_sha256;
  }
  // Another libm may be to blame: an oracle whose sampled elements are no farther from the golden's
  // than an honest double path may be from the oracle.
  bool within_bound() const;
};

std::vector<GoldenDifference> differences(const GoldenCase& golden, const GoldenCase& now);

}  // namespace groundstate::harness
