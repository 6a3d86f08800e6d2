// groundstate generate CASE... -o FILE.h5: inputs, and outputs full of NaN for somebody to fill.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "harness/case/error.hpp"
#include "harness/cli/arguments.hpp"
#include "harness/cli/interrupt.hpp"
#include "harness/cli/progress.hpp"
#include "harness/cli/verbs.hpp"
#include "harness/fixture/write.hpp"
#include "harness/judge/sensitivity.hpp"
#include "harness/operators/registry.hpp"
#include "harness/run/judge_stages.hpp"
#include "harness/run/oracle_tensors.hpp"

namespace groundstate::harness::cli {
namespace {

struct Options {
  std::vector<std::string> cases;
  std::string output, as;
  std::string stages;  // length of a chunk; empty: without
  bool with_oracle = false, json = false, progress = false;
};

// A copy of a tensor in a wider type.
Tensor widened(const Tensor& tensor, ElementType type) {
  Tensor wide = Tensor::allocate(tensor.name(), type, tensor.axes(), tensor.storage_order());
  for_each_pair(wide, tensor,
                [&](Index, Index to, Index from) { wide.store(to, tensor.load(from)); });
  return wide;
}

bool is_half(ElementType type) {
  return type == ElementType::bfloat16 || type == ElementType::float16;
}

// The marking of an fp32 dataset whose values are those of a 16-bit type.
std::string_view marking(ElementType type) {
  return type == ElementType::bfloat16 ? "bfloat16" : "float16";
}

void poison(FixtureWriter& writer, std::string_view group, const TensorSpec& spec) {
  writer.create(
      group, Tensor::borrow(spec.name, spec.type, spec.axes, nullptr, nullptr, spec.storage_order),
      std::numeric_limits<double>::quiet_NaN());
}

PathVariant staged(const Operator& op, const std::string& chunk) {
  try {
    return staged_variant(op, chunk);
  } catch (const UsageError& error) {
    throw UsageError(fmt::format("--stages: {}", error.what()));
  }
}

int generate(const Options& options) {
  const std::vector<CaseEntry> entries = expand_arguments(options.cases);
  if (!options.stages.empty())
    for (const CaseEntry& entry : entries) staged(operator_of(entry.value), options.stages);
  FixtureWriter writer(options.output);
  Progress progress(static_cast<Index>(entries.size()), options.progress);
  for (const CaseEntry& entry : entries) {
    check_interrupt();
    const Case& c = entry.value;
    const Operator& op = operator_of(c);
    progress.start(c.canonical());
    writer.begin_case(entries.size() == 1 ? "/" : "/" + c.id(), c.canonical(), c.operator_name());
    const Tensors inputs = harness::generate(op.inputs(c));
    for (const Tensor& tensor : inputs) {
      check_interrupt();
      const bool wide = options.as == "fp32" && is_half(tensor.type());
      writer.write("inputs", wide ? widened(tensor, ElementType::float32) : tensor);
      if (wide)
        writer.attribute("inputs/" + tensor.name(), "dtype", std::string(marking(tensor.type())));
    }
    if (options.with_oracle) {
      write_oracle(op, c, inputs, [&](std::string_view group, const Tensor& tensor) {
        check_interrupt();
        writer.write(group, tensor);
      });
      writer.attribute("scale", "epsilon", perturbation);
      writer.attribute("scale", "runs", std::int64_t{perturbed_runs});
      writer.attribute("scale", "carry_interval", std::int64_t{1});
      writer.attribute("scale", "gate_interval", std::int64_t{1});
      writer.attribute("scale", "seed", c.integer("seed"));
    }
    for (const TensorSpec& spec : op.outputs(c)) {
      if (const Tensor* const in_place = find(inputs, spec.name)) {
        writer.write("outputs", *in_place);
        continue;
      }
      TensorSpec own = spec;
      if (options.as == "fp32" && is_half(spec.type)) own.type = ElementType::float32;
      poison(writer, "outputs", own);
    }
    if (!options.stages.empty()) {
      const PathVariant variant = staged(op, options.stages);
      for (const TensorSpec& spec : op.stages(variant)->judged_outputs(c))
        poison(writer, "stages", spec);
      writer.attribute("stages", "chunk", std::int64_t{variant.integer("chunk", op.path_keys())});
    }
    progress.finish(false);
  }
  check_interrupt();
  writer.commit();
  progress.clear();
  if (options.json)
    fmt::print("{}\n", nlohmann::json{{"file", options.output}, {"cases", entries.size()}}.dump());
  else
    fmt::print("{}: {} case{}; fill outputs/{} and run: groundstate compare {}\n", options.output,
               entries.size(), entries.size() == 1 ? "" : "s",
               !options.stages.empty() ? ", what you have of stages/," : "", options.output);
  return passed;
}

}  // namespace

void add_generate(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* const verb =
      app.add_subcommand("generate", "Write the inputs of cases to an HDF5 file");
  verb->add_option("case", options->cases, "Case lines and @files.cases")->required();
  verb->add_option("-o,--output", options->output, "HDF5 file")->required()->check(file_name);
  verb->add_option("--as", options->as, "Store 16-bit tensors as fp32, for numpy")
      ->check(CLI::IsMember({"fp32"}));
  verb->add_flag("--with-oracle", options->with_oracle,
                 "Also write the double oracle and its sensitivities");
  verb->add_flag(
      "--stages{64}", options->stages,
      "Room for the intermediates of a chunked kernel as well; --stages=128: of chunks of "
      "128 tokens");
  verb->add_flag("--json", options->json, "JSON");
  verb->add_flag("--progress", options->progress,
                 "Progress on standard error even when it is no terminal");
  verb->callback([options, &action] { action = [options] { return generate(*options); }; });
}

}  // namespace groundstate::harness::cli
