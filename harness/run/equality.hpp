// Bitwise contracts: what must agree in every bit, run on the case at hand.
//
//   variants        two variants that the operator declares equal (num_steps, tiles, ...)
//   rerun           the same call again
//   threads         1, 2, 3 and 7 threads; not of a path that runs on a device
//   poison          outputs and every fresh allocation, a workspace on the device too, filled with
//                   one of three bytes
//
//   batch alone     the last batch element by itself
//   head alone      the last head, with its group of value heads, by itself
//   sequence alone  each of up to four sequences of a packed case by itself
//   resumed         time cut where the path may be cut, the final state fed back as the initial one
//   state layout    states stored [key, value] against [value, key]
//   and what the operator declares (Operator::contracts)
//
// A violation names the first byte that differs, its coordinate and both values.
//
// What nobody promises can be observed all the same (EqualityOptions::observe): the relations above
// where the path does not declare them, a cut of time at any token, other values of each path key
// (how it is launched), the outputs of a fresh process, and the replay of a captured graph on a
// device. They are no contracts: a difference is reported, and breaks nothing.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "harness/operators/operator.hpp"

namespace groundstate::harness {

struct EqualityResult {
  std::string name;    // "fused[num_steps=1] = fused[num_steps=2]", "chunked: rerun"
  std::string reason;  // why they must agree
  std::optional<std::string> violation;  // absent: equal
  bool declared = true;                  // a contract; else an observation

  bool broken() const { return declared && violation.has_value(); }
};

struct EqualityOptions {
  bool observe = false;
  // A program of ours whose fresh process runs a path for it; empty: none does.
  std::string program = {};
};

// Called before a variant is run for the contract of that name.
using AtContract = std::function<void(const PathVariant&, const std::string& contract)>;

// The contracts among these variants (an operator's pair is run when both of its paths are among
// the paths of `variants`). Cases that a contract says nothing about (one batch element, ...) give
// no entry.
std::vector<EqualityResult> check_equalities(const Operator& op, const Case& c,
                                             const Tensors& inputs,
                                             const std::vector<PathVariant>& variants,
                                             const AtContract& at = {},
                                             const EqualityOptions& options = {});

// First difference of two tensors of one shape, or nothing.
std::optional<std::string> first_difference(const Tensor& left, const Tensor& right);

}  // namespace groundstate::harness
