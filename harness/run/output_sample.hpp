// The part of a case's outputs that evidence keeps, small enough to be committed.
//
//   pairs     two of those that have tokens (of all where none has), drawn by Philox from the seed
//             of the case; all where there are no more
//   columns   of an output at the place of such a pair, R rows by C columns: clamp(elements / R, 1,
//             C) of them, one of each of as many equal parts, drawn likewise
//   rows      all of them, so that a channel is kept from the first token to the last; where they
//             are more than `elements`, that many, in the same way, with the first and the last
//
// An output that several pairs share (harness/run/places.hpp) is kept once a place.
#pragma once

#include <cstdint>
#include <vector>

#include "harness/generate/tensor_spec.hpp"
#include "harness/judge/verdict.hpp"
#include "harness/operators/operator.hpp"

namespace groundstate::harness {

inline constexpr std::size_t kept_pairs = 2;
inline constexpr Index kept_elements = 256;  // at most, of an output and pair

class OutputSample {
 public:
  struct Part {
    Pair pair;  // the first of those at this place that was drawn
    Subset subset;
  };

  OutputSample(const std::vector<TensorSpec>& specs, const std::vector<Pair>& pairs,
               std::uint64_t seed, Index elements = kept_elements);

  // Of an output by its number, in the order of the pairs: the parts that are kept, and of each
  // other place the first pair.
  const std::vector<Part>& kept(std::size_t output) const { return kept_[output]; }
  const std::vector<Pair>& others(std::size_t output) const { return others_[output]; }

  // Those among the pairs that contribute to a part that is kept.
  const std::vector<bool>& contributors() const { return contributors_; }

 private:
  std::vector<std::vector<Part>> kept_;
  std::vector<std::vector<Pair>> others_;
  std::vector<bool> contributors_;
};

}  // namespace groundstate::harness
