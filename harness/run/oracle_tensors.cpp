#include "harness/run/oracle_tensors.hpp"

#include <fmt/format.h>

#include "harness/run/judge_case.hpp"
#include "harness/run/scale.hpp"
#include "reference/core/parallel.hpp"

namespace groundstate::harness {

void write_oracle(const Operator& op, const Case& c, const Tensors& inputs,
                  const std::function<void(std::string_view, const Tensor&)>& write) {
  const std::vector<TensorSpec> specs = op.outputs(c);
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
  parallel_for(static_cast<Index>(pairs.size()), [&](Index i) {
    const Pair& pair = pairs[static_cast<std::size_t>(i)];
    const PairScale scale = measure_scale(op, c, inputs, pair, wanted, true);
    for (std::size_t k = 0; k < specs.size(); ++k) {
      scatter_output(scale.oracle[k], pair, fields[k].oracle);
      scatter_output(scale.input[k], pair, fields[k].input);
      scatter_output(scale.carry.at(1)[k], pair, fields[k].carry);
      scatter_output(scale.gate.at(1)[k], pair, fields[k].gate);
    }
  });
  for (const Fields& own : fields) {
    write("oracle", own.oracle);
    for (const Tensor* const tensor : {&own.input, &own.carry, &own.gate}) write("scale", *tensor);
  }
}

}  // namespace groundstate::harness
