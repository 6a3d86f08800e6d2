// Named input regimes: what a value of the keys `gate`, `values`, `keys` and `gamma` means, and
// what it is there to show. The one place where they are defined.
//
// Each value is a pure function of a random stream and of the element's place; only + - * / sqrt
// and fma. Throws UsageError for an unknown name (the case grammar has refused it before).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "reference/core/axis.hpp"
#include "reference/core/philox.hpp"

namespace groundstate::harness {

// Where an element lies: its index in the tensor, its token, head and channel; the channels of a
// row, the distance in index from one token to the next, and the tokens of the case.
struct ElementPlace {
  Index index, time, head, channel;
  Index channels, token_stride, length;
};

struct Regime {
  std::string_view name;
  std::string_view shows;
  double (*value)(const RandomStream&, const ElementPlace&);
};

std::span<const Regime> gate_regimes();   // log decay of one token and head
std::span<const Regime> value_regimes();  // q and v
std::span<const Regime> key_regimes();    // k
const Regime& regime(std::span<const Regime> table, std::string_view name);
std::vector<std::string> names(std::span<const Regime> table);

// Constant log decay of head `head` of `heads`: retnet log(1 - 2^(-5-h)), lightning -(8/H) h (layer
// 0), alibi -slope[h], or a number for every head.
double constant_log_decay(std::string_view gamma, Index head, Index heads);

}  // namespace groundstate::harness
