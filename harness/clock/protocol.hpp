// How a number comes about: the same work is timed many times, each time on another of a few sets
// of tensors, in turn.
#pragma once

#include <functional>
#include <vector>

#include "reference/core/axis.hpp"

namespace groundstate::harness {

struct Protocol {
  static constexpr Index fewest_repetitions = 30;
  // What long work is timed at least, whatever the budget.
  static constexpr Index fewest_within_budget = 3;
  static constexpr Index rotated_sets = 2;

  Index repetitions = fewest_repetitions;
  double budget = 10;  // seconds that are timed; over them, there are no more repetitions
  bool cold = true;    // no timing finds its tensors in a cache
};

// Seconds of one repetition on one set; what clock.hpp makes of a launch.
using Timed = std::function<double()>;

// The seconds of each repetition. `between` is called before each of them and may throw. Throws
// std::invalid_argument without sets.
std::vector<double> measure(const Protocol& protocol, const std::vector<Timed>& sets,
                            const std::function<void()>& between = {});

}  // namespace groundstate::harness
