// The least time that an amount of work can take on a clock: the larger of what its bytes take as a
// copy of as many bytes, timed in the same run under the same protocol, and of what its operations
// take at the peak of the units that compute them.
//
//   percent = 100 least / median
//
// Of a copy and of a measured peak the fastest repetition counts: what else runs on a machine makes
// them slower, and a bound must hold.
//
// A cold time has a percentage, a warm one has none: no copy from memory bounds what is in a cache.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "harness/clock/clock.hpp"

namespace groundstate::harness {

struct Work {
  double flops = 0, bytes = 0;
  Arithmetic arithmetic = Arithmetic::fp64;
};

struct Ceiling {
  std::string of;  // copy_ceiling, or the units (Peak::of)
  double seconds = 0;
};

inline constexpr const char* copy_ceiling = "copy";

// Why the percentage cannot be, empty where it can: more than 105 % of a peak, or of a copy of more
// than twice what the cache holds. (The end of a smaller copy may stay in the cache.)
std::string impossible(double percent, const Ceiling& ceiling, double bytes, double cache);

// What the measurements of one clock have in common, each measured once, when it is wanted first.
class Ceilings {
 public:
  // `between` is called between repetitions and may throw.
  Ceilings(Clock& clock, const Protocol& protocol, std::function<void()> between = {})
      : clock_(clock), protocol_(protocol), between_(std::move(between)) {}

  Clock& clock() { return clock_; }
  const Protocol& protocol() const { return protocol_; }
  const std::function<void()>& between() const { return between_; }

  double empty_seconds();  // the median
  Ceiling least(const Work& work);

  // What has been measured so far: nothing, where nothing was timed.
  bool used() const { return empty_.has_value(); }
  const std::map<double, double>& copies() const { return copies_; }  // bytes -> seconds
  const std::map<std::string, double, std::less<>>& peaks() const { return peaks_; }  // flop/s

 private:
  std::vector<double> measured(const std::vector<Launch>& sets);
  double copy_seconds(double bytes);

  Clock& clock_;
  Protocol protocol_;
  std::function<void()> between_;
  std::map<double, double> copies_;
  std::map<std::string, double, std::less<>> peaks_;  // by Peak::of
  std::optional<double> empty_;
};

}  // namespace groundstate::harness
