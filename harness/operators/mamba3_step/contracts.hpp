// What a call on pools must agree with, bit for bit, beside the contracts of every operator.
//
//   gathered              rows gathered, the dense form, rows scattered back: the whole pools
//   other pool order      the slots of the pools in reverse, and the indices with them
//   lane alone            up to four lanes, each by itself on the whole pools
//   head alone            the last group of heads by itself, or the last head
//   ones written out      projections that are absent
//   token by token        a call a token, where storing loses nothing or carry=storage
//   other destination     what is written in place, written to slots of its own
//   out of place          what is written in place, written to state_out
//   scattered by hand     k_state and x_state as the caller writes them, after a call that does not
//   bits are copied       NaN payloads, -0 and subnormals of B and x in k_state and x_state
//   replayed              the first tokens of the call, against a call that has no others
//   intermediate          the state after a token, against a call that ends there
//   prologue apart        B and C of the reference's own prologue, where storing them loses nothing
//   padding is ignored    0 instead of NaN in the tokens of padded lanes
//
// Stochastic rounding draws by slot and head: what moves a state between them is not run then.
#pragma once

#include "harness/operators/mamba3_step/pool.hpp"

namespace groundstate::harness::mamba3_step_binding {

std::vector<Contract> contracts(const Case& c, const PathVariant& variant, const Tensors& inputs);

}  // namespace groundstate::harness::mamba3_step_binding
