// What a case line of mamba3_step means: its keys, its sizes, and the value of each element of an
// input.
#pragma once

#include <memory>

#include "harness/operators/slots.hpp"
#include "reference/mamba3_step/gather.hpp"

namespace groundstate::harness::mamba3_step_binding {

namespace mamba3 = groundstate::mamba3_step;

Grammar make_grammar();
std::vector<KeyValueHelp> regimes();

struct Plan : SlotPlan {
  Index heads = 0, groups = 0, ranks = 0, value = 0, state = 0, frequencies = 0;
};
// Throws UsageError where keys contradict each other, and where the contract refuses the call.
std::shared_ptr<const Plan> make_plan(const Case& c);

mamba3::Options options(const Case& c);
// The layout that the states of the pools are said to have.
mamba3::Rotation pool_rotation(const Case& c);
bool has_prologue(const Case& c);

bool given(const Case& c, std::string_view name);
ElementType type_of(const Case& c, ElementClass kind);
std::string domain(std::string_view name);
// May hold NaN: what nobody reads.
bool may_be_not_finite(const Case& c, std::string_view name);
Extents extents(const Plan& plan);
std::function<double(Index)> element(const Case& c, std::shared_ptr<const Plan> plan,
                                     std::string_view name);

// The case that these inputs belong to.
Case infer(const Case& c, const Tensors& inputs);

}  // namespace groundstate::harness::mamba3_step_binding
