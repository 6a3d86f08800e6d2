// Which (sequence, head) pairs of a large case are judged with sensitivities.
//
// The sensitivities cost some 25 runs of the oracle. Above a budget a sample of pairs has them:
// always the first, the last, the one with the slowest and the one with the fastest mean gate, the
// rest drawn by Philox from the seed of the case. The other pairs are judged against the plain
// oracle only (harness/judge/verdict.hpp, "unsampled"), or not at all.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "harness/generate/tensor_spec.hpp"
#include "harness/operators/operator.hpp"

namespace groundstate::harness {

// How many pairs get sensitivities: all of them up to `automatic_budget` flop (of 25 oracle runs),
// else 8.
inline constexpr Index sampled_pairs = 8;
inline constexpr double automatic_budget = 2e11;

// true for each pair of the sample; `count` >= 1, more than there are means all.
std::vector<bool> sample_pairs(const std::vector<Pair>& pairs, Index count, std::uint64_t seed);

// The same for the number that was asked for; without one it follows from the flop of measuring
// all.
std::vector<bool> choose_pairs(const std::vector<Pair>& pairs, std::optional<Index> wanted,
                               double flops, std::uint64_t seed);

// The chosen pairs and those that share a place of an output with one of them (places.hpp), and so
// on: what can be judged without the others.
std::vector<bool> with_sharers(std::vector<bool> chosen, const std::vector<Pair>& pairs,
                               const std::vector<TensorSpec>& outputs);

}  // namespace groundstate::harness
