#include "harness/run/output_sample.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "harness/run/places.hpp"
#include "reference/core/philox.hpp"

namespace groundstate::harness {
namespace {

// Which of the pairs are kept.
std::vector<bool> draw_pairs(const std::vector<Pair>& pairs, std::uint64_t seed) {
  std::vector<std::size_t> eligible;
  for (const bool with_tokens : {true, false})
    if (eligible.empty())
      for (std::size_t p = 0; p < pairs.size(); ++p)
        if (!with_tokens || pairs[p].length > 0) eligible.push_back(p);
  std::vector<bool> drawn(pairs.size(), false);
  const RandomStream stream(seed, "pairs of evidence");
  std::size_t left = std::min(kept_pairs, eligible.size());
  for (std::uint64_t draw = 0; left > 0; ++draw) {
    const auto i =
        static_cast<std::size_t>(stream.uniform(draw, 0) * static_cast<double>(eligible.size()));
    if (drawn[eligible[i]]) continue;
    drawn[eligible[i]] = true;
    --left;
  }
  return drawn;
}

std::vector<Index> draw_columns(const RandomStream& stream, const Pair& pair, Index rows,
                                Index columns, Index elements) {
  const Index count = std::clamp<Index>(elements / std::max<Index>(rows, 1), 1, columns);
  std::vector<Index> result;
  for (Index i = 0; i < count; ++i) {
    const Index begin = columns * i / count, end = columns * (i + 1) / count;
    const double drawn =
        stream.uniform(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(pair.number));
    result.push_back(begin + static_cast<Index>(drawn * static_cast<double>(end - begin)));
  }
  return result;
}

}  // namespace

OutputSample::OutputSample(const std::vector<TensorSpec>& specs, const std::vector<Pair>& pairs,
                           std::uint64_t seed, Index elements)
    : kept_(specs.size()), others_(specs.size()), contributors_(pairs.size(), false) {
  const std::vector<bool> drawn = draw_pairs(pairs, seed);
  for (std::size_t output = 0; output < specs.size(); ++output) {
    const Places places(specs[output], pairs);
    const RandomStream stream(seed, fmt::format("columns of evidence: {}", specs[output].name));
    std::set<std::pair<Index, Index>> kept, seen;
    for (std::size_t p = 0; p < pairs.size(); ++p) {
      const Pair& pair = pairs[p];
      if (!drawn[p] || !kept.insert(places.key(pair)).second) continue;
      const PairSlice at(specs[output].axes, pair);
      kept_[output].push_back({pair, draw_columns(stream, pair, at.rows, at.columns, elements)});
    }
    for (std::size_t p = 0; p < pairs.size(); ++p) {
      const auto key = places.key(pairs[p]);
      if (kept.contains(key))
        contributors_[p] = true;
      else if (seen.insert(key).second)
        others_[output].push_back(pairs[p]);
    }
  }
}

}  // namespace groundstate::harness
