// Oracle and sensitivities of one pair: computed once, used for every path and path variant of a
// case.
//
// Which fields are wanted follows from the recipes and forms of the paths that are judged: the
// input field always, carry fields per interval c, gate fields per interval C, the open-gate field
// for fp16 operands.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <span>
#include <vector>

#include "harness/judge/scaled_error.hpp"
#include "harness/operators/judgeable.hpp"

namespace groundstate::harness {

struct WantedFields {
  std::set<Index> carry_intervals, gate_intervals;
  bool open = false;
};

// All in the order of Operator::outputs().
struct PairScale {
  PairOutputs oracle;
  PairOutputs input, open;                   // empty for a pair without sensitivities
  std::map<Index, PairOutputs> carry, gate;  // by interval

  bool sampled() const { return !input.empty(); }
  ScaleFields fields(std::size_t output, Index carry_interval, Index gate_interval,
                     bool with_open) const;
};

PairScale measure_scale(const Judgeable& op, const Case& c, const Tensors& inputs, const Pair& pair,
                        const WantedFields& wanted, bool sampled);

// Calls measure(i) for each of the pairs, side by side; few long ones with sensitivities come one
// by one, since the runs of measure_scale() then share the threads.
void for_each_pair(std::span<const Pair> pairs, const std::function<bool(Index)>& sampled,
                   const std::function<void(Index)>& measure);

// Runs of the oracle that it takes.
double oracle_runs(const WantedFields& wanted);

}  // namespace groundstate::harness
