// What the calibration runs: implementations, honest ones and known-wrong ones, and the cases on
// which they are judged.
//
// An honest implementation is one of our paths. A wrong one computes something else than it
// declares, or spoils its outputs afterwards. Both are judged as anybody's outputs with a declared
// recipe and form are; where what runs is not what is declared, what is declared is the emulation
// of clauses B and E. The `sibling` is other honest code of the same recipe, the baseline of the 2x
// rule.
//
// Faults of precision are wrong variants and spoiled outputs; faults of logic are the mutants of
// harness/mutants/, which run as variants of with_mutants(). All mutants of an operator are run on
// a few small cases of every regime, with the first seed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "harness/case/case_line.hpp"
#include "harness/mutants/mutated_operator.hpp"

namespace groundstate::harness {

// Done to outputs before they are judged.
enum class Spoil : std::uint8_t {
  nothing,
  truncated,     // 16-bit outputs are cut off instead of rounded
  through_bf16,  // fp32 outputs are rounded to bf16 on the way
};

struct StudyImplementation {
  std::string fault;     // what is wrong with it, of a mutant its name; empty: honest
  std::string runs;      // a variant, perhaps a mutant's: what is computed
  std::string declares;  // a variant: the recipe and form by which it is judged
  std::string sibling;   // a variant, or empty
  Spoil spoil = Spoil::nothing;

  bool honest() const { return fault.empty(); }
};

struct StudyCase {
  Case value;
  std::string regime;  // of the sweep that it belongs to: "slow", "A=strong", "quick preset"
  std::string shape;   // "T=64 K=16 V=16"; empty for the quick preset
  std::vector<StudyImplementation> implementations;
};

struct StudyOptions {
  int seeds = 20;
  double share = 1;         // of all cases, drawn by their id
  bool kernels = false;     // the paths that need a device, instead of those that do not
  std::vector<Case> quick;  // the quick preset: with every seed, and all paths
};

// Seed by seed, and mixed within one: however far a run gets, it has seen some of everything.
std::vector<StudyCase> study(const StudyOptions& options);

// The operator with its mutants beside its paths; one object an operator.
const MutatedOperator& with_mutants(const Operator& op);

// The faults of precision, the regimes and the shapes of the study in their order, each once.
std::vector<std::string> faults();
std::vector<std::string> study_regimes();
std::vector<std::string> study_shapes();

}  // namespace groundstate::harness
