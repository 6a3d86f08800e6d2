// A case line that stands for many cases.
//
//   T=63,64,65            a list of values
//   T=0:130, T=0:128:16   a range of an integer key, with an optional step; both ends belong to it
//   T/V=64/16,65/32       keys that move together: (64, 16), then (65, 32)
//
// Everything else is a product in the order written: the last key varies fastest. A value that is
// itself a list uses '+': lengths=5+0+17,8 is two cases.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "harness/case/case_line.hpp"

namespace groundstate::harness {

constexpr std::size_t most_cases = 1'000'000;

// The cases in order, equal ones once. Throws UsageError as parse_case does, and for a range that
// does not end where it says, joined values of the wrong number, and more than `most_cases`
// combinations.
std::vector<Case> expand(std::string_view text, std::span<const Grammar> grammars);

}  // namespace groundstate::harness
