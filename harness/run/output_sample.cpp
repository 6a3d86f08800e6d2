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

// `count` of `all`, one of each of as many equal parts.
std::vector<Index> draw(const RandomStream& stream, const Pair& pair, Index count, Index all) {
  std::vector<Index> result;
  for (Index i = 0; i < count; ++i) {
    const Index begin = all * i / count, end = all * (i + 1) / count;
    const double drawn =
        stream.uniform(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(pair.number));
    result.push_back(begin + static_cast<Index>(drawn * static_cast<double>(end - begin)));
  }
  return result;
}

Subset draw_subset(const TensorSpec& spec, const Pair& pair, std::uint64_t seed, Index elements) {
  const PairSlice at(spec.axes, pair);
  const auto stream = [&](std::string_view what) {
    return RandomStream(seed, fmt::format("{} of evidence: {}", what, spec.name));
  };
  const Index columns = std::clamp<Index>(elements / std::max<Index>(at.rows, 1), 1, at.columns);
  Subset subset{draw(stream("rows"), pair, std::min(at.rows, elements), at.rows),
                draw(stream("columns"), pair, columns, at.columns), at.rows};
  if (at.rows > 0) {
    subset.rows.back() = at.rows - 1;
    subset.rows.front() = 0;
  }
  return subset;
}

}  // namespace

OutputSample::OutputSample(const std::vector<TensorSpec>& specs, const std::vector<Pair>& pairs,
                           std::uint64_t seed, Index elements)
    : kept_(specs.size()), others_(specs.size()), contributors_(pairs.size(), false) {
  const std::vector<bool> drawn = draw_pairs(pairs, seed);
  for (std::size_t output = 0; output < specs.size(); ++output) {
    const Places places(specs[output], pairs);
    std::set<std::pair<Index, Index>> kept, seen;
    for (std::size_t p = 0; p < pairs.size(); ++p) {
      const Pair& pair = pairs[p];
      if (!drawn[p] || !kept.insert(places.key(pair)).second) continue;
      kept_[output].push_back({pair, draw_subset(specs[output], pair, seed, elements)});
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
