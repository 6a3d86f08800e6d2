// What a call on pools must agree with, bit for bit, beside the contracts of every operator.
//
//   gathered            rows gathered, the dense form, rows scattered back: the whole pool
//   other pool order    the slots of the pool in reverse, and the indices with them
//   lane alone          up to four lanes, each by itself on the whole pool
//   head alone          the last group of heads by itself
//   materialised        one number a head written out for every element
//   token by token      a call a token; only where storing a state loses nothing
//   other destination   what is written in place, written to slots of its own
//   padding is ignored  0 instead of NaN in the tokens of padded lanes
//
// Stochastic rounding draws by slot and head: what moves a state between them is not run then.
#pragma once

#include "harness/operators/selective_state_update/pool.hpp"

namespace groundstate::harness::selective_state_update_binding {

std::vector<Contract> contracts(const Case& c, const PathVariant& variant, const Tensors& inputs);

}  // namespace groundstate::harness::selective_state_update_binding
