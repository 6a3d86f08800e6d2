#include "harness/clock/protocol.hpp"

#include <cstddef>
#include <stdexcept>

namespace groundstate::harness {

std::vector<double> measure(const Protocol& protocol, const std::vector<Timed>& sets,
                            const std::function<void()>& between) {
  if (sets.empty()) throw std::invalid_argument("nothing to be timed");
  std::vector<double> seconds;
  double sum = 0;
  for (Index i = 0; i < protocol.repetitions; ++i) {
    if (i >= Protocol::fewest_within_budget && sum >= protocol.budget) break;
    if (between) between();
    seconds.push_back(sets[static_cast<std::size_t>(i) % sets.size()]());
    sum += seconds.back();
  }
  return seconds;
}

}  // namespace groundstate::harness
