#include "harness/run/oracle_tensors.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "harness/run/places.hpp"
#include "harness/run/scale.hpp"
#include "reference/core/parallel.hpp"

namespace groundstate::harness {

void write_oracle(const Operator& op, const Case& c, const Tensors& inputs,
                  const std::function<void(std::string_view, const Tensor&)>& write) {
  const std::vector<TensorSpec> specs = op.judged_outputs(c);
  struct Fields {
    Tensor oracle, input, carry, gate;
  };
  std::vector<Fields> fields;
  for (const TensorSpec& spec : specs) {
    const auto allocate = [&](std::string name, ElementType type) {
      return Tensor::allocate(std::move(name), type, spec.axes, spec.storage_order);
    };
    fields.push_back({allocate(spec.name, ElementType::float64),
                      allocate(spec.name + ".input", ElementType::float32),
                      allocate(spec.name + ".carry", ElementType::float32),
                      allocate(spec.name + ".gate", ElementType::float32)});
  }
  const std::vector<Pair> pairs = op.pairs(c, inputs);
  WantedFields wanted;
  wanted.carry_intervals = {1};
  wanted.gate_intervals = {1};
  const auto sum = [](double a, double b) { return a + b; };
  const auto root_of_squares = [](double a, double b) { return std::hypot(a, b); };
  // Pairs may share a place of a tensor: they are measured in parallel and added in their order.
  const auto count = static_cast<Index>(pairs.size());
  const Index batch = 4 * threads();
  for (Index begin = 0; begin < count; begin += batch) {
    std::vector<PairScale> scales(static_cast<std::size_t>(std::min(batch, count - begin)));
    const std::span own_pairs(pairs.begin() + begin, scales.size());
    const auto all_have_sensitivities = [](Index) { return true; };
    for_each_pair(own_pairs, all_have_sensitivities, [&](Index i) {
      const auto number = static_cast<std::size_t>(i);
      scales[number] = measure_scale(op, c, inputs, own_pairs[number], wanted, true);
    });
    for (std::size_t i = 0; i < scales.size(); ++i)
      for (std::size_t k = 0; k < specs.size(); ++k) {
        const Pair& pair = pairs[static_cast<std::size_t>(begin) + i];
        update_output(scales[i].oracle[k], pair, fields[k].oracle, sum);
        update_output(scales[i].input[k], pair, fields[k].input, root_of_squares);
        update_output(scales[i].carry.at(1)[k], pair, fields[k].carry, root_of_squares);
        update_output(scales[i].gate.at(1)[k], pair, fields[k].gate, root_of_squares);
      }
  }
  for (const Fields& own : fields) {
    write("oracle", own.oracle);
    for (const Tensor* const tensor : {&own.input, &own.carry, &own.gate}) write("scale", *tensor);
  }
}

}  // namespace groundstate::harness
