#include "harness/clock/ceilings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "harness/clock/statistics.hpp"

namespace groundstate::harness {

std::string impossible(double percent, const Ceiling& ceiling, double bytes, double cache) {
  constexpr double most = 105, sure = 2;
  if (percent <= most || (ceiling.of == copy_ceiling && bytes <= sure * cache)) return "";
  return fmt::format("{:.0f} % of {} cannot be: the count of work or the measurement is wrong",
                     percent, ceiling.of);
}

std::vector<double> Ceilings::measured(const std::vector<Launch>& sets) {
  std::vector<Timed> timed;
  for (const Launch& launch : sets) timed.push_back(clock_.timed(launch, protocol_.cold));
  return measure(protocol_, timed, between_);
}

double Ceilings::empty_seconds() {
  if (!empty_) empty_ = quartiles(measured({clock_.empty()})).median;
  return *empty_;
}

double Ceilings::copy_seconds(double bytes) {
  const auto found = copies_.find(bytes);
  if (found != copies_.end()) return found->second;
  std::vector<std::vector<Launch>> ways;  // each on the rotated sets
  for (Index i = 0; i < Protocol::rotated_sets; ++i) {
    const std::vector<Launch> copies = clock_.copies(bytes);
    ways.resize(copies.size());
    for (std::size_t way = 0; way < copies.size(); ++way) ways[way].push_back(copies[way]);
  }
  double fastest = std::numeric_limits<double>::infinity();
  for (const std::vector<Launch>& sets : ways)
    fastest = std::min(fastest, std::ranges::min(measured(sets)));
  return copies_[bytes] = fastest;
}

Ceiling Ceilings::least(const Work& work) {
  const Peak peak = clock_.peak(work.arithmetic, protocol_);
  peaks_[peak.of] = peak.flops_per_second;
  const double copied = copy_seconds(work.bytes), computed = work.flops / peak.flops_per_second;
  return computed > copied ? Ceiling{peak.of, computed} : Ceiling{copy_ceiling, copied};
}

}  // namespace groundstate::harness
