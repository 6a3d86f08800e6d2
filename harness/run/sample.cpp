#include "harness/run/sample.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "harness/run/places.hpp"
#include "reference/core/philox.hpp"

namespace groundstate::harness {

std::vector<bool> sample_pairs(const std::vector<Pair>& pairs, Index count, std::uint64_t seed) {
  const auto size = static_cast<Index>(pairs.size());
  if (count >= size) return std::vector<bool>(pairs.size(), true);
  std::vector<bool> chosen(pairs.size(), false);
  const auto slower = [](const Pair& a, const Pair& b) { return a.mean_gate < b.mean_gate; };
  const auto [fastest, slowest] = std::minmax_element(pairs.begin(), pairs.end(), slower);
  Index taken = 0;
  const auto take = [&](Index i) {
    if (taken == count || chosen[static_cast<std::size_t>(i)]) return;
    chosen[static_cast<std::size_t>(i)] = true;
    ++taken;
  };
  take(0);
  take(size - 1);
  take(slowest - pairs.begin());
  take(fastest - pairs.begin());
  const RandomStream stream(seed, "sample of pairs");
  std::uint64_t draw = 0;
  while (taken < count)
    take(static_cast<Index>(stream.uniform(draw++, 0) * static_cast<double>(size)));
  return chosen;
}

std::vector<bool> choose_pairs(const std::vector<Pair>& pairs, std::optional<Index> wanted,
                               double flops, std::uint64_t seed) {
  const auto all = static_cast<Index>(pairs.size());
  return sample_pairs(pairs, wanted.value_or(flops > automatic_budget ? sampled_pairs : all), seed);
}

std::vector<bool> with_sharers(std::vector<bool> chosen, const std::vector<Pair>& pairs,
                               const std::vector<TensorSpec>& outputs) {
  for (bool grown = true; std::exchange(grown, false);)
    for (const TensorSpec& output : outputs) {
      const Places places(output, pairs);
      std::set<std::pair<Index, Index>> taken;
      for (std::size_t p = 0; p < pairs.size(); ++p)
        if (chosen[p]) taken.insert(places.key(pairs[p]));
      for (std::size_t p = 0; p < pairs.size(); ++p) {
        if (chosen[p] || !taken.contains(places.key(pairs[p]))) continue;
        chosen[p] = grown = true;
      }
    }
  return chosen;
}

}  // namespace groundstate::harness
