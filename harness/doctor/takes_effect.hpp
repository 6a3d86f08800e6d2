// Whether a case shows what it says: `gate=closed` beside `gate_inputs=none` is the case of no gate
// at all, and `gate=reset` of 30 tokens, none of which is reset, that of `gate=medium`.
#pragma once

#include <string_view>

#include "harness/operators/operator.hpp"

namespace groundstate::harness {

// With any other word for the key the inputs would be others: other tensors, or other elements
// among a thousand of each. Throws std::logic_error when there is no such key.
bool takes_effect(const Operator& op, const Case& c, std::string_view key);

}  // namespace groundstate::harness
