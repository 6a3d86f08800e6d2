// Judges outputs that somebody made, from a fixture file.
//
// Inputs in the file are the truth; without them they are generated from the case line. The recipe
// is the one declared, else it follows from the case's dtype, and then the stricter recipes that
// the outputs also meet are reported. The form is the path (with its chunk length) whose rounding
// points and order the kernel has; where it is not declared, the recurrence and the chunked form
// are both emulated, the worse of the two counts, and a violation of clauses B and E alone is
// MARGINAL.
//
// check_fixture finds everything that is wrong with a case of a file and throws UsageError, naming
// dataset and what is accepted; compare_case judges what was found good. So all cases of a file can
// be checked before the first one is judged.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "harness/fixture/fixture.hpp"
#include "harness/operators/operator.hpp"
#include "harness/run/result.hpp"

namespace groundstate::harness {

struct CompareOptions {
  std::string file;
  std::optional<std::string> case_text, recipe, form;
  std::vector<std::string> only;  // output tensors; empty: all
  std::optional<Index> pairs;
  bool strict = false;  // an input outside its domain is an error
  std::optional<std::string> against_path;
  std::optional<std::string> against_file;
  bool bitwise = false;
  std::function<void()> tick;
  std::function<void(const std::string&)> warn;
};

// Outputs of one path of a file.
struct Submission {
  std::string path;
  Tensors outputs;
  std::string recipe, form;
  bool recipe_declared = false;
  std::string note;
};

struct CheckedFixture {
  const Operator* op;
  Case value;
  Tensors inputs;         // empty when they are to be generated
  bool generated = true;  // they are
  std::vector<Submission> submissions;
  std::vector<std::string> missing;           // "o of path user"
  std::vector<std::vector<Tensors>> against;  // for each submission, what to compare it with
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

// `other` is the same case of CompareOptions::against_file.
CheckedFixture check_fixture(const FixtureCase& fixture, const CompareOptions& options,
                             const FixtureCase* other = nullptr);
Comparison compare_case(const CheckedFixture& fixture, const CompareOptions& options);

}  // namespace groundstate::harness
