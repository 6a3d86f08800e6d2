// The checks of `groundstate doctor`, one source file each. What they find missing is a sentence
// for whoever adds an operator or a path; none of them runs a path, and an oracle is computed on
// one pair of the smallest hard input only, where it must have a certificate.
#pragma once

#include <chrono>
#include <span>
#include <string>
#include <vector>

#include "harness/doctor/finding.hpp"
#include "harness/doctor/hard_inputs.hpp"
#include "harness/doctor/source_tree.hpp"
#include "harness/evidence/evidence.hpp"
#include "harness/operators/operator.hpp"

namespace groundstate::harness {

// Every path is run by default on at least one hard input that it takes, and what is run by default
// exists. (A path that needs a device is a matter of evidence.)
Finding check_paths(const Operator& op, const HardInputs& inputs);

// The list can be read, so every line of it is a case with a reason, and its shapes are possible;
// every regime is used by a case in which it takes effect (takes_effect.hpp); no raised limit has
// expired or names a path that is gone.
Finding check_hard_inputs(const Operator& op, const HardInputs& inputs,
                          std::chrono::year_month_day today);

// An operator whose paths have variants declares pairs of them that agree bit for bit; each pair
// exists and meets on at least one hard input. (Run to run, threads, batch, heads and cuts of time
// are contracts of every path and need no declaration.)
Finding check_bitwise_pairs(const Operator& op, const HardInputs& inputs);

// It has mutants (harness/mutants/mutant.hpp), each of a variant that there is; one that is not run
// says what would show it. Whether they are killed is for `mutate` to say.
Finding check_mutants(const Operator& op);

// The oracle has a counterpart in long double, and one of gradients forward-mode derivatives to be
// held against, on the smallest hard input. How far they are apart is for `run --certificate`.
Finding check_certificate(const Operator& op, const HardInputs& inputs);

// data/golden.h5 holds exactly the cases of data/quick.cases, of every operator and of no other.
// Whether they are right is for `golden verify` to say.
std::vector<Finding> check_goldens(const SourceTree& tree);

// Of every one of these paths (the operator's that need a device) there is evidence, not STALE, of
// each of the cases that it takes by default; and the files that it is written in are those that
// the program was built from, as it knows no others.
Finding check_evidence(const SourceTree& tree, const Operator& op, std::span<const Path> paths,
                       const std::vector<Case>& cases, const std::vector<Evidence>& evidence);

// The rows between the markers of the README are those of `support`, and it names every verb.
std::vector<Finding> check_readme(const SourceTree& tree, std::span<const std::string> verbs,
                                  const std::vector<Evidence>& evidence);

// There are files tests/reference/<operator>_*test.cpp; for a backward, one that speaks of it.
Finding check_tests(const SourceTree& tree, const std::string& operator_name);

}  // namespace groundstate::harness
