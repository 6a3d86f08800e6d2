// What a case line of selective_state_update means: its keys, its sizes, which lane reads and
// writes which slot, and the value of each element of an input.
#pragma once

#include <memory>

#include "harness/operators/slots.hpp"
#include "reference/selective_state_update/gather.hpp"

namespace groundstate::harness::selective_state_update_binding {

namespace ssu = groundstate::selective_state_update;

// Path keys are named so that they are not taken for keys of a case.
Grammar make_grammar(std::vector<std::string> path_keys);
std::vector<KeyValueHelp> regimes();

struct Plan : SlotPlan {
  Index heads = 0, groups = 0, value = 0, state = 0;
};
// Throws UsageError where keys contradict each other, and where the lanes' slots are refused.
std::shared_ptr<const Plan> make_plan(const Case& c);

ssu::Options options(const Case& c);

bool given(const Case& c, std::string_view name);
ElementType type_of(const Case& c, ElementClass kind);
bool is_pool(std::string_view name);
std::string domain(std::string_view name);
// May hold NaN: gates of a kind, and what nobody reads.
bool may_be_not_finite(const Case& c, std::string_view name);
Extents extents(const Plan& plan);
// The axes of a tensor where some of them are shorter, or others, than the contract's names say.
std::vector<AxisExtent> axes(const Case& c, const Plan& plan, std::string_view name,
                             std::vector<AxisExtent> full);
std::function<double(Index)> element(const Case& c, std::shared_ptr<const Plan> plan,
                                     std::string_view name);

// The case that these inputs belong to.
Case infer(const Case& c, const Tensors& inputs);

}  // namespace groundstate::harness::selective_state_update_binding
