// Defects that operators on pools of states share: lanes, slots, padding, what is stored.
#pragma once

#include "harness/mutants/edit.hpp"

namespace groundstate::harness {

// A padded lane is one whose slot in state_batch_indices is negative.
bool is_padded(const Tensors& inputs, Index lane);

// Mutants of lanes and slots. `contract` says what is right, `recurrent` is the path.
std::vector<Mutant> pool_mutants(const std::string& path, const std::string& contract);

// Edits of a pool before a run, where it holds what lanes read. `outputs` hold it.
Defect on_pool(std::string name, Edit edit);
// Elements that a lane has stored, by comparing a pool with what it held.
void edit_stored(const Tensors& inputs, Tensors& outputs, std::string_view pool, const Edit& edit);
// The bytes that the pool held before the run.
void restore(const Tensors& inputs, Tensors& outputs, std::string_view pool);

}  // namespace groundstate::harness
