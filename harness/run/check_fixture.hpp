// Finds everything that is wrong with a case of somebody's fixture file, before anything is judged.
//
// Inputs in the file are the truth; without them they are generated from the case line. Throws
// UsageError naming file, dataset and what is accepted.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "harness/fixture/fixture.hpp"
#include "harness/operators/operator.hpp"
#include "harness/run/judge_stages.hpp"

namespace groundstate::harness {

struct CompareOptions {
  std::string file;
  std::optional<std::string> case_text, recipe, form;
  std::vector<std::string> only;  // output tensors; empty: all
  std::optional<Index> pairs;
  bool sample_only = false;  // the pairs without sensitivities are not judged at all (sample.hpp)
  bool strict = false;       // an input outside its domain is an error
  std::optional<std::string> against_path;
  std::optional<std::string> against_file;
  bool bitwise = false;
  bool checks = false;       // properties instead of the oracle (properties.hpp)
  bool certificate = false;  // of the oracle (certificate.hpp)
  std::function<void()> tick;
  std::function<void(const std::string&)> warn;
};

// Of a form that nobody declares.
inline constexpr Index undeclared_chunk = 64;

// Outputs of one path of a file.
struct Submission {
  std::string path;
  Tensors outputs;
  std::string recipe, form;
  bool recipe_declared = false;
  std::string note;
  std::optional<GivenStages> stages;  // where the file has any; tensors: those that were written to
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

// `other` is the same case of CompareOptions::against_file.
CheckedFixture check_fixture(const FixtureCase& fixture, const CompareOptions& options,
                             const FixtureCase* other = nullptr);

}  // namespace groundstate::harness
