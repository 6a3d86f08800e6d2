// Judges outputs that somebody made, from a fixture file.
//
// Inputs in the file are the truth; without them they are generated from the case line. The recipe
// is the one declared, else it follows from the case's dtype, and then the stricter recipes that
// the outputs also meet are reported. The form is the path (with its chunk length) whose rounding
// points and order the kernel has; where it is not declared, the recurrence and the chunked form
// are both emulated, the worse of the two counts, and a violation of clauses B and E alone is
// MARGINAL. Throws UsageError for everything that is wrong with the file, naming dataset and what
// is accepted.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "harness/fixture/fixture.hpp"
#include "harness/run/result.hpp"

namespace groundstate::harness {

struct CompareOptions {
  std::string file;
  std::optional<std::string> case_text, recipe, form;
  std::vector<std::string> only;  // output tensors; empty: all
  std::optional<Index> pairs;
  bool strict = false;  // an input outside its domain is an error
  std::optional<std::string> against_path;
  std::optional<FixtureCase> against_file;
  bool bitwise = false;
  std::function<void()> tick;
  std::function<void(const std::string&)> warn;
};

// How two sets of outputs agree, tensor by tensor.
struct Agreement {
  std::string path, tensor;
  double relative_norm = 0, largest = 0;  // ||a - b|| / ||b||, max |a - b|
  Index elements = 0, different = 0;      // differing in value
  std::optional<std::string> first_difference;
};

struct Comparison {
  CaseReport report;
  std::vector<std::string> missing;  // "o of path user"
  std::vector<std::string> remarks;  // stricter recipes that are met too
  std::vector<Agreement> agreements;
};

Comparison compare_case(const FixtureCase& fixture, const CompareOptions& options);

}  // namespace groundstate::harness
