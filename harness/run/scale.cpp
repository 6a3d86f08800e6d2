#include "harness/run/scale.hpp"

#include <algorithm>

#include "harness/judge/sensitivity.hpp"
#include "reference/core/parallel.hpp"

namespace groundstate::harness {
namespace {

constexpr int open_runs = 2;
// Of so many tokens a pair is long enough for its runs to share the threads.
constexpr Index long_pair = 4096;

}  // namespace

ScaleFields PairScale::fields(std::size_t output, Index carry_interval, Index gate_interval,
                              bool with_open) const {
  return {input[output], carry.at(carry_interval)[output], gate.at(gate_interval)[output],
          with_open ? open[output] : Matrix<double>()};
}

PairScale measure_scale(const Judgeable& op, const Case& c, const Tensors& inputs, const Pair& pair,
                        const WantedFields& wanted, bool sampled) {
  PairScale scale;
  scale.oracle = op.oracle(c, inputs, pair);
  if (!sampled) return scale;
  const auto seed = static_cast<std::uint64_t>(c.integer("seed"));
  const auto measure = [&](Field field, Index interval, int runs) {
    // The open-gate field is a spread about the oracle with open gates, not about that of the case.
    const PairOutputs centre =
        field == Field::open
            ? op.oracle(c, inputs, pair, {field, seed, 0, pair.number, interval, 0.0})
            : scale.oracle;
    std::vector<Sensitivity> fields;
    for (const Matrix<double>& output : centre) fields.emplace_back(output);
    // As many at once as there are threads, and no more are held.
    const bool alone = pair.length >= long_pair && !in_parallel();
    const int together = alone ? std::min(runs, threads()) : 1;
    for (int begin = 0; begin < runs; begin += together) {
      std::vector<PairOutputs> disturbed(
          static_cast<std::size_t>(std::min(together, runs - begin)));
      parallel_for(static_cast<Index>(disturbed.size()), [&](Index i) {
        disturbed[static_cast<std::size_t>(i)] =
            op.oracle(c, inputs, pair,
                      {field, seed, static_cast<std::uint32_t>(begin + i), pair.number, interval});
      });
      for (const PairOutputs& run : disturbed)
        for (std::size_t i = 0; i < fields.size(); ++i) fields[i].add(run[i]);
    }
    PairOutputs result;
    for (const Sensitivity& field_of_output : fields) result.push_back(field_of_output.field());
    return result;
  };
  scale.input = measure(Field::input, 1, perturbed_runs);
  for (const Index c_interval : wanted.carry_intervals)
    scale.carry[c_interval] = measure(Field::carry, c_interval, perturbed_runs);
  for (const Index g_interval : wanted.gate_intervals)
    scale.gate[g_interval] = measure(Field::gate, g_interval, perturbed_runs);
  if (wanted.open) scale.open = measure(Field::open, 1, open_runs);
  return scale;
}

void for_each_pair(std::span<const Pair> pairs, const std::function<bool(Index)>& sampled,
                   const std::function<void(Index)>& measure) {
  std::vector<Index> slow, others;
  for (Index i = 0; i < static_cast<Index>(pairs.size()); ++i) {
    const bool is_slow = pairs[static_cast<std::size_t>(i)].length >= long_pair && sampled(i);
    (is_slow ? slow : others).push_back(i);
  }
  if (slow.size() > 1 && 4 * static_cast<Index>(slow.size()) > threads()) {
    others.insert(others.begin(), slow.begin(), slow.end());
    slow.clear();
  }
  parallel_for(static_cast<Index>(others.size()),
               [&](Index i) { measure(others[static_cast<std::size_t>(i)]); });
  for (const Index i : slow) measure(i);
}

double oracle_runs(const WantedFields& wanted) {
  return 1 +
         perturbed_runs *
             static_cast<double>(1 + wanted.carry_intervals.size() + wanted.gate_intervals.size()) +
         (wanted.open ? open_runs + 1 : 0);
}

}  // namespace groundstate::harness
