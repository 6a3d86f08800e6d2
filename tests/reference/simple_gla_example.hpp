// A case of simple_gla with its inputs, and what the paths make of it, for the tests beside it.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "harness/case/case_file.hpp"
#include "harness/operators/registry.hpp"

namespace groundstate::harness {

struct Example {
  explicit Example(std::string_view text) : Example(parse_case(text, grammars())) {}
  explicit Example(const Case& c) : line(c), inputs(generate(op().inputs(c))) {}
  const Operator& op() const { return operator_of(line); }

  // What a variant makes of every sequence and head, in their order.
  std::vector<PairOutputs> operator()(std::string_view variant) const {
    const PathVariant parsed = parse_path_variant(variant, op().path_keys());
    std::vector<PairOutputs> result;
    for (const Pair& pair : op().pairs(line, inputs))
      result.push_back(op().emulate(line, parsed, inputs, pair));
    return result;
  }

  // On whole tensors, every byte of which is `filler` before.
  Tensors run(std::string_view variant, double filler = 0) const {
    Tensors outputs;
    for (const TensorSpec& spec : op().outputs(line)) {
      outputs.push_back(spec.allocate());
      for_each_element(outputs.back(),
                       [&](Index, Index offset) { outputs.back().store(offset, filler); });
    }
    op().run(line, parse_path_variant(variant, op().path_keys()), inputs, outputs);
    return outputs;
  }

  // The same case on the part [begin, begin + extent) of an axis of its inputs, which are shared.
  Example part(std::string_view axis, Index begin, Index extent) const {
    Example result = *this;
    for (Tensor& tensor : result.inputs)
      if (tensor.has_axis(axis)) tensor = tensor.slice(axis, begin, extent);
    return result;
  }
  Example without(std::string_view name) const {
    Example result = *this;
    std::erase_if(result.inputs, [&](const Tensor& tensor) { return tensor.name() == name; });
    return result;
  }
  // With one tensor in memory of its own; `value(index, old)` is the new value of an element.
  template <class Value>
  Example with(std::string_view name, Value&& value) const {
    Example result = *this;
    Tensor& tensor = *find(result.inputs, name);
    const Tensor old = tensor;
    tensor = Tensor::allocate(old.name(), old.type(), old.axes(), old.storage_order());
    std::vector<double> values;
    for_each_element(old, [&](Index, Index offset) { values.push_back(old.load(offset)); });
    for_each_element(tensor, [&](Index i, Index offset) {
      tensor.store(offset, value(i, values[static_cast<std::size_t>(i)]));
    });
    return result;
  }

  Case line;
  Tensors inputs;
};

// Every path in every recipe that it has and `accept` takes, cut into several chunks, segments,
// calls and tiles already by short sequences.
template <class Accept>
std::vector<std::string> variants(Accept&& accept) {
  const Operator& op = operator_of(parse_case("simple_gla", grammars()));
  std::vector<std::string> result;
  for (const Path& path : op.paths()) {
    if (path.needs_device) continue;
    std::vector<std::string> keys{""};
    if (path.name == "step") keys = {"[tokens=3]"};
    if (path.name == "chunked" || path.name == "chunk_scan") keys = {"[chunk=16]"};
    if (path.name == "segmented") keys = {"[chunk=16,segments=3]"};
    if (path.name == "fused")
      keys = {"[chunk=16,num_steps=3]", "[chunk=16,key_tile=8,value_tile=12]"};
    for (const std::string& recipe : path.recipes)
      if (accept(recipe))
        for (const std::string& key : keys) result.push_back(path.name + key + ":" + recipe);
  }
  return result;
}
// Of our recipes: profiles have the faults of their kernels.
inline std::vector<std::string> every_variant() {
  return variants([](std::string_view recipe) { return !recipe_units(recipe).is_profile(); });
}
inline std::vector<std::string> exact_variants() {
  return variants([](std::string_view recipe) { return recipe == "exact"; });
}

// ---- equality in every bit, with the first place that differs

inline testing::AssertionResult same_bits(const Matrix<double>& a, const Matrix<double>& b) {
  if (a.rows() != b.rows() || a.cols() != b.cols())
    return testing::AssertionFailure()
           << fmt::format("{} x {} against {} x {}", a.rows(), a.cols(), b.rows(), b.cols());
  for (Index i = 0; i < a.rows(); ++i)
    for (Index j = 0; j < a.cols(); ++j)
      if (std::bit_cast<std::uint64_t>(a(i, j)) != std::bit_cast<std::uint64_t>(b(i, j)))
        return testing::AssertionFailure()
               << fmt::format("[{}, {}]: {:.17g} against {:.17g}", i, j, a(i, j), b(i, j));
  return testing::AssertionSuccess();
}
inline testing::AssertionResult same_bits(const PairOutputs& a, const PairOutputs& b) {
  if (a.size() != b.size()) return testing::AssertionFailure() << "other tensors";
  for (std::size_t i = 0; i < a.size(); ++i)
    if (const auto same = same_bits(a[i], b[i]); !same)
      return testing::AssertionFailure() << (i == 0 ? "o" : "ht") << same.message();
  return testing::AssertionSuccess();
}
inline testing::AssertionResult same_bits(const std::vector<PairOutputs>& a,
                                          const std::vector<PairOutputs>& b) {
  if (a.size() != b.size()) return testing::AssertionFailure() << "other sequences or heads";
  for (std::size_t i = 0; i < a.size(); ++i)
    if (const auto same = same_bits(a[i], b[i]); !same)
      return testing::AssertionFailure() << "pair " << i << " " << same.message();
  return testing::AssertionSuccess();
}
// By logical index, whatever the storage order.
inline testing::AssertionResult same_bits(const Tensors& a, const Tensors& b) {
  if (a.size() != b.size()) return testing::AssertionFailure() << "other tensors";
  for (std::size_t i = 0; i < a.size(); ++i) {
    Matrix<double> x(1, a[i].elements()), y(1, b[i].elements());
    for_each_element(a[i], [&](Index at, Index offset) { x(0, at) = a[i].load(offset); });
    for_each_element(b[i], [&](Index at, Index offset) { y(0, at) = b[i].load(offset); });
    if (const auto same = same_bits(x, y); !same)
      return testing::AssertionFailure() << a[i].name() << same.message();
  }
  return testing::AssertionSuccess();
}

inline bool finite(const std::vector<PairOutputs>& outputs) {
  for (const PairOutputs& pair : outputs)
    for (const Matrix<double>& tensor : pair)
      if (!tensor.allFinite()) return false;
  return true;
}

// The hard inputs, those whose length is the point among them, each once where only types differ.
inline std::vector<CaseEntry> hard_inputs_in_fp64() {
  std::vector<CaseEntry> result;
  std::set<std::string> known;
  for (const char* const file : {"data/simple_gla.cases", "data/large.cases"})
    for (CaseEntry& entry : read_case_file(file, grammars())) {
      if (entry.value.operator_name() != "simple_gla") continue;
      entry.value = entry.value.with("dtype", "fp64");
      if (known.insert(entry.value.canonical()).second) result.push_back(std::move(entry));
    }
  return result;
}

}  // namespace groundstate::harness
