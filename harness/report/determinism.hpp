// Bits by path and property: what is declared (bitwise contracts, harness/run/equality.hpp) against
// what was observed.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "harness/report/table.hpp"

namespace groundstate::harness {

// Of one path in one respect, over all cases.
struct BitsOfProperty {
  Index held = 0, broken = 0;   // times that a contract was checked
  Index same = 0, differs = 0;  // times that what nobody declares was observed
  std::string first_difference;

  bool declared() const { return held + broken > 0; }
};

class DeterminismProfile {
 public:
  // One row for all variants of a path and recipe ("chunked[chunk=128]:single" is
  // "chunked:single"), and a column for a property whatever its numbers are ("7 threads" is "n
  // threads").
  void add(const EqualityResult& equality);

  const std::vector<std::string>& columns() const { return columns_; }  // by first appearance
  std::vector<std::string> rows() const;                                // broken ones first
  const BitsOfProperty* find(const std::string& row, const std::string& column) const;

 private:
  std::vector<std::string> rows_, columns_;
  std::map<std::pair<std::string, std::string>, BitsOfProperty> cells_;
};

// A block a path with a line a property; empty without observations.
std::string render(const DeterminismProfile& profile, const TableStyle& style);

}  // namespace groundstate::harness
