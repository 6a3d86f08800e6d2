// The scaled errors of one tensor, one float per element in the order of arrival, and their exact
// order statistics.
//
// Selection reads the list twice (a histogram of the high, then of the low 16 bits of the float,
// whose order for non-negative numbers is that of its bits) and neither moves nor copies it, so
// that an element's place still tells its coordinate afterwards. Elements that take no part in the
// statistics (zero by definition, non-finite oracle matched) keep their place as -1. A NaN becomes
// +infinity.
#pragma once

#include <cstddef>
#include <vector>

#include "reference/core/axis.hpp"

namespace groundstate::harness {

struct Triple {
  double median = 0, p999 = 0, maximum = 0;  // p999: the 99.9 % point
};

class ErrorList {
 public:
  void reserve(Index places) { values_.reserve(static_cast<std::size_t>(places)); }
  void push(double error);
  void push_unjudged() { values_.push_back(-1); }

  Index places() const { return static_cast<Index>(values_.size()); }
  Index elements() const { return elements_; }  // places that take part
  float operator[](Index place) const { return values_[static_cast<std::size_t>(place)]; }

  // The element with `smaller` elements before it in ascending order. Throws std::out_of_range.
  double ascending(Index smaller) const;
  // Nearest-rank quantiles: the ceil(q n)-th smallest; all 0 without elements.
  Triple triple() const;

 private:
  std::vector<float> values_;
  Index elements_ = 0;
};

}  // namespace groundstate::harness
