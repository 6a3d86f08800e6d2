// What a case line of simple_gla or simple_gla.backward means: its keys, its dimensions, and its
// tensors with the value of every element. Both operators share all of it.
//
// Throws UsageError where keys contradict each other.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "harness/operators/binding.hpp"
#include "reference/simple_gla/gather.hpp"

namespace groundstate::harness::simple_gla_binding {

namespace gla = groundstate::simple_gla;

enum class Direction { forward, backward };

// Path keys are named so that they are not taken for keys of a case.
Grammar make_grammar(Direction direction, const std::vector<Key>& path_keys);
std::vector<KeyValueHelp> regimes();

struct Dimensions {
  Index batch, time, heads, value_heads, key, value, sequences;
};
Dimensions dimensions(const Case& c);
Extents extents(const Dimensions& n);
gla::Options options(const Case& c);

// An optional tensor is part of the case: inputs as its keys say, dg, dg_gamma and dh0 with what
// they are gradients of.
bool given(const Case& c, std::string_view name);
std::string domain(std::string_view name);
ElementType type_of(const Case& c, ElementClass kind);
// The value of each element of an input (regime.hpp).
std::function<double(Index)> element(const Case& c, const Dimensions& n, std::string_view name);

// The case that these inputs belong to.
Case infer(const Case& c, const Tensors& inputs, Direction direction);

// The disturbance of the inputs and gates of one problem (perturbation.hpp).
void perturb(const Perturbation& how, gla::Problem<double>& p);
void perturb(const Perturbation& how, gla::BackwardProblem<double>& p);

// Keys and recipes of paths of both directions.
Key chunk_key();
Key segments_key();
Key num_steps_key();
Key value_tile_key();
Key gate_sum_key();
std::vector<std::string> matrix_recipes();
// Of a device's sweeps over chunks: products are those of the tensors' type.
std::vector<std::string> sweep_recipes();
std::string sweep_recipe(const std::string& type);
std::vector<std::string> with_profiles(std::vector<std::string> profiles);

}  // namespace groundstate::harness::simple_gla_binding
