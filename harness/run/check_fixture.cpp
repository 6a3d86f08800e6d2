#include "harness/run/check_fixture.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "harness/case/error.hpp"
#include "harness/case/nearest.hpp"
#include "harness/case/text.hpp"
#include "harness/fixture/match.hpp"
#include "harness/judge/scaled_error.hpp"
#include "harness/judge/units.hpp"
#include "harness/operators/registry.hpp"
#include "harness/run/note.hpp"
#include "harness/run/outputs.hpp"
#include "harness/run/run_case.hpp"

namespace groundstate::harness {
namespace {

bool is_float(ElementType type) { return !is_integer(type); }

std::vector<std::string> names_of(const std::vector<TensorSpec>& specs) {
  std::vector<std::string> names;
  for (const TensorSpec& spec : specs) names.push_back(spec.name);
  return names;
}

const TensorSpec& known_spec(const std::vector<TensorSpec>& specs, const FixtureDataset& dataset) {
  for (const TensorSpec& spec : specs)
    if (spec.name == dataset.name) return spec;
  const std::vector<std::string> names = names_of(specs);
  throw UsageError(fmt::format("{}: no such tensor{} (accepted: {})", dataset.location,
                               did_you_mean(shown(dataset.name), names), fmt::join(names, " ")));
}

Tensor shape_of(const TensorSpec& spec) {
  return Tensor::borrow(spec.name, spec.type, spec.axes, nullptr, nullptr, spec.storage_order);
}

// The type whose values a dataset holds: an fp32 dataset may be marked as widened bf16 or fp16.
ElementType meant_type(const FixtureDataset& dataset) {
  const auto found = dataset.attributes.find("dtype");
  if (found == dataset.attributes.end() || dataset.type != ElementType::float32)
    return dataset.type;
  const auto* const text = std::get_if<std::string>(&found->second);
  if (text != nullptr && *text == "bfloat16") return ElementType::bfloat16;
  if (text != nullptr && *text == "float16") return ElementType::float16;
  throw UsageError(
      fmt::format("{}: attribute dtype of an fp32 dataset must be \"bfloat16\" or \"float16\"",
                  dataset.location));
}

// The dataset with the axes of its specification and its own extents.
Tensor as_it_is(const FixtureDataset& dataset, const TensorSpec& spec) {
  if (dataset.extents.size() != spec.axes.size()) {
    std::vector<std::string_view> axes;
    for (std::size_t i = 0; i < spec.axes.size(); ++i)
      axes.push_back(spec.axes[spec.storage_order.empty() ? i : spec.storage_order[i]].name);
    throw UsageError(fmt::format("{}: has {} dimensions; expected [{}]", dataset.location,
                                 dataset.extents.size(), fmt::join(axes, ", ")));
  }
  std::vector<AxisExtent> axes = spec.axes;
  for (std::size_t i = 0; i < axes.size(); ++i)
    axes[spec.storage_order.empty() ? i : spec.storage_order[i]].extent = dataset.extents[i];
  return Tensor::borrow(dataset.name, meant_type(dataset), std::move(axes), dataset.data,
                        dataset.owner, spec.storage_order);
}

Case case_of(const FixtureCase& fixture, const CompareOptions& options) {
  if (!fixture.case_text && !options.case_text)
    throw UsageError(
        fmt::format("{}: {} has no attribute `case`; give one with --case 'simple_gla'",
                    options.file, fixture.group));
  const Case c =
      parse_case(options.case_text ? *options.case_text : *fixture.case_text, grammars());
  if (fixture.case_text && options.case_text) {
    const Case own = parse_case(*fixture.case_text, grammars());
    if (!(own == c))
      throw UsageError(fmt::format("{}: the file says case '{}', --case says '{}'", options.file,
                                   shown(own.canonical(), longest_shown_line),
                                   shown(c.canonical(), longest_shown_line)));
  }
  if (fixture.operator_name && *fixture.operator_name != c.operator_name())
    throw UsageError(fmt::format("{}: attribute operator is '{}', the case is of '{}'",
                                 options.file, shown(*fixture.operator_name), c.operator_name()));
  return c;
}

// A mark must be true: the oracle sees the values as they are, a kernel sees them rounded.
void check_mark(const FixtureDataset& dataset, const Tensor& tensor) {
  const ElementType meant = meant_type(dataset);
  if (meant == dataset.type) return;
  Index count = 0;
  double first = 0;
  for_each_element(tensor, [&](Index, Index offset) {
    const double value = tensor.load(offset);
    if (!std::isnan(value) && round_to_type(meant, value) != value && count++ == 0) first = value;
  });
  if (count > 0)
    throw UsageError(fmt::format("{}: marked as {}, but {} elements are no such numbers, like {:a}",
                                 dataset.location, name_of(meant), count, first));
}

// To a Case a key at its default is a key that nobody wrote, and follows from the inputs.
void check_written_keys(const std::string& text, const Case& written, const Case& inferred) {
  for (const Assignment& assignment : split_case_line(text, grammars()).assignments) {
    const std::string_view key = assignment.keys.front();
    if (inferred.get(key) != written.get(key))
      throw UsageError(fmt::format("the case line says {}={}, the inputs say {}={}", key,
                                   shown(written.get(key)), key, shown(inferred.get(key))));
  }
}

// Case and inputs.
CheckedFixture given_by(const FixtureCase& fixture, const CompareOptions& options) {
  const Case named = case_of(fixture, options);
  const Operator& op = operator_of(named);
  if (fixture.inputs.datasets.empty()) {
    check_case(op, named);
    return {&op, named, {}, true, {}, {}, {}};
  }
  const std::vector<TensorSpec> every = op.inputs(op.with_every_input(named));
  Tensors own;
  for (const FixtureDataset& dataset : fixture.inputs.datasets)
    own.push_back(as_it_is(dataset, known_spec(every, dataset)));
  const Case inferred = op.infer(named, own);
  check_written_keys(options.case_text ? *options.case_text : *fixture.case_text, named, inferred);
  const std::vector<TensorSpec> specs = op.inputs(inferred);
  for (const TensorSpec& spec : specs)
    if (find(own, spec.name) == nullptr)
      throw UsageError(fmt::format("inputs/{} is missing; the case '{}' has it", spec.name,
                                   shown(inferred.canonical(), longest_shown_line)));
  Tensors inputs;
  for (const FixtureDataset& dataset : fixture.inputs.datasets) {
    const TensorSpec& spec = known_spec(specs, dataset);
    if (is_float(spec.type) ? meant_type(dataset) != spec.type : is_float(dataset.type))
      throw UsageError(fmt::format("{}: the elements are {}; the case '{}' has {} here",
                                   dataset.location, name_of(meant_type(dataset)),
                                   shown(inferred.canonical(), longest_shown_line),
                                   name_of(spec.type)));
    inputs.push_back(to_tensor(dataset, shape_of(spec)));
    check_mark(dataset, inputs.back());
  }
  op.validate(inferred, inputs);
  return {&op, inferred, std::move(inputs), false, {}, {}, {}};
}

// Counts what lies outside an input's domain; one warning a tensor.
void check_domains(const CheckedFixture& given, const CompareOptions& options) {
  for (const TensorSpec& spec : given.op->inputs(given.value)) {
    const Tensor* const tensor = find(given.inputs, spec.name);
    if (tensor == nullptr || !spec.finite) continue;
    Index count = 0, first = 0;
    for_each_element(*tensor, [&](Index i, Index offset) {
      if (!std::isfinite(tensor->load(offset)) && count++ == 0) first = i;
    });
    if (count == 0) continue;
    const std::string text = fmt::format(
        "{}: inputs/{} has {} elements that are NaN or infinite, the first at {}; its domain is: "
        "{}",
        options.file, spec.name, count, coordinate(spec.axes, first), spec.domain);
    if (options.strict) throw UsageError(text);
    if (options.warn) options.warn(text);
  }
}

std::string default_recipe(const std::vector<TensorSpec>& outputs) {
  switch (outputs.front().type) {
    case ElementType::float64:
      return "exact";
    case ElementType::float32:
      return "single";
    case ElementType::float16:
      return "tensorcore-fp16";
    default:
      return "tensorcore-bf16";
  }
}

std::string resolve_recipe(const std::string& name, const std::vector<TensorSpec>& outputs) {
  if (name == "tensorcore")
    return outputs.front().type == ElementType::float16 ? "tensorcore-fp16" : "tensorcore-bf16";
  return recipe_units(name).name;
}

bool is_wanted(const std::string& output, const CompareOptions& options) {
  return options.only.empty() ||
         std::find(options.only.begin(), options.only.end(), output) != options.only.end();
}

void note_missing(const std::vector<TensorSpec>& specs, const Tensors& outputs,
                  std::string_view path, const CompareOptions& options,
                  std::vector<std::string>& missing) {
  for (const TensorSpec& spec : specs)
    if (find(outputs, spec.name) == nullptr && is_wanted(spec.name, options))
      missing.push_back(fmt::format("{} of path {}", spec.name, shown(path)));
}

Submission read_submission(const CheckedFixture& given, const FixtureOutput& output,
                           const CompareOptions& options, std::vector<std::string>& missing) {
  const std::vector<TensorSpec> specs = given.op->outputs(given.value);
  Submission submission{output.path, {}, {}, {}, false, {}, {}};
  for (const FixtureDataset& dataset : output.tensors.datasets) {
    const TensorSpec& spec = known_spec(specs, dataset);
    if (!is_wanted(dataset.name, options)) continue;
    Tensor tensor = to_tensor(dataset, shape_of(spec));
    if (!is_float(tensor.type()) && is_float(spec.type))
      throw UsageError(fmt::format("{}: the elements are {}; expected {} or another float",
                                   dataset.location, name_of(tensor.type()), name_of(spec.type)));
    if (size_of(tensor.type()) > size_of(spec.type))
      add_remark(submission.note, fmt::format("{} is {}, not rounded to {}", spec.name,
                                              name_of(tensor.type()), name_of(spec.type)));
    submission.outputs.push_back(std::move(tensor));
  }
  note_missing(specs, submission.outputs, output.path, options, missing);
  const std::optional<std::string> recipe = options.recipe ? options.recipe : output.recipe;
  submission.recipe_declared = recipe.has_value();
  submission.recipe = recipe ? resolve_recipe(*recipe, specs) : default_recipe(specs);
  submission.form = options.form ? *options.form : output.form.value_or("");
  return submission;
}

// Somebody has put a number there.
bool is_written(const FixtureDataset& dataset) {
  const Index elements = checked_elements(dataset.extents, dataset.location);
  bool written = false;
  for (Index i = 0; i < elements && !written; ++i)
    written = !std::isnan(load_element(dataset.type, dataset.data, i));
  return written;
}

// Of the submission's form; where it declares none, of the chunked one. Nothing where the file has
// no stages of this path, or only unused room for those of another form.
std::optional<GivenStages> read_stages(const CheckedFixture& given, const Submission& submission,
                                       const FixtureCase& fixture) {
  const auto found =
      std::find_if(fixture.stages.begin(), fixture.stages.end(),
                   [&](const FixtureOutput& each) { return each.path == submission.path; });
  if (found == fixture.stages.end()) return std::nullopt;
  const Operator& op = *given.op;
  const auto attribute = found->tensors.attributes.find("chunk");
  std::optional<Index> chunk;
  if (attribute != found->tensors.attributes.end()) {
    const auto* const number = std::get_if<std::int64_t>(&attribute->second);
    if (number == nullptr)
      throw UsageError(fmt::format("stages of path {}: the attribute chunk is no integer",
                                   shown(submission.path)));
    chunk = *number;
  }
  const std::string form =
      submission.form.empty() ? staged_variant(op, std::to_string(chunk.value_or(undeclared_chunk)))
                                    .text(op.path_keys())
                              : submission.form;
  GivenStages stages{checked_variant(op, form, submission.recipe), {}, {}};
  const auto known = op.stages(stages.form);
  const auto& datasets = found->tensors.datasets;
  const bool unused = std::none_of(datasets.begin(), datasets.end(), is_written);
  if (known == nullptr) {
    if (unused) return std::nullopt;
    throw UsageError(fmt::format("stages of path {}: the form {} has none", shown(submission.path),
                                 submission.form));
  }
  const Index own = stages.form.integer("chunk", op.path_keys());
  if (chunk && *chunk != own) {
    if (unused) return std::nullopt;
    throw UsageError(fmt::format(
        "stages of path {}: they are of chunks of {} (attribute chunk), and the form {} "
        "has chunks of {}",
        shown(submission.path), *chunk, submission.form, own));
  }
  const std::vector<TensorSpec> specs = known->judged_outputs(given.value);
  for (const FixtureDataset& dataset : datasets) {
    Tensor tensor = to_tensor(dataset, shape_of(known_spec(specs, dataset)));
    if (!is_float(tensor.type()))
      throw UsageError(fmt::format("{}: the elements are {}; expected a float", dataset.location,
                                   name_of(tensor.type())));
    if (tensor.elements() == 0 || is_written(dataset)) stages.tensors.push_back(std::move(tensor));
  }
  for (const TensorSpec& spec : specs)
    if (find(stages.tensors, spec.name) == nullptr) stages.missing.push_back(spec.name);
  return stages;
}

// What the other file has for a submission: the outputs of the path of that name, or of its only
// path.
std::vector<Tensors> counterparts(const CheckedFixture& given, const Submission& submission,
                                  const FixtureCase& other, const CompareOptions& options) {
  std::vector<Tensors> result;
  bool shared = false;
  for (const FixtureOutput& output : other.outputs) {
    if (output.path != submission.path && other.outputs.size() > 1) continue;
    std::vector<std::string> ignored;
    result.push_back(read_submission(given, output, options, ignored).outputs);
    for (const Tensor& tensor : submission.outputs)
      shared = shared || find(result.back(), tensor.name()) != nullptr;
  }
  if (!shared)
    throw UsageError(fmt::format("{}: {} has no outputs to compare path {} with",
                                 *options.against_file, other.group, shown(submission.path)));
  return result;
}

CheckedFixture checked(const FixtureCase& fixture, const CompareOptions& options,
                       const FixtureCase* other) {
  CheckedFixture given = given_by(fixture, options);
  check_domains(given, options);
  const Operator& op = *given.op;
  const std::vector<TensorSpec> specs = op.outputs(given.value);
  const std::vector<std::string> names = names_of(specs);
  for (const std::string& name : options.only)
    if (std::find(names.begin(), names.end(), name) == names.end())
      throw UsageError(fmt::format("--only {}: no such output{} (accepted: {})", name,
                                   did_you_mean(name, names), fmt::join(names, " ")));
  if (options.against_path) checked_variant(op, *options.against_path);
  if (fixture.outputs.empty()) note_missing(specs, {}, "user", options, given.missing);
  for (const FixtureOutput& output : fixture.outputs) {
    Submission submission = read_submission(given, output, options, given.missing);
    if (!submission.form.empty()) checked_variant(op, submission.form, submission.recipe);
    if (submission.outputs.empty()) continue;
    submission.stages = read_stages(given, submission, fixture);
    if (options.sample_only && submission.stages && !submission.stages->tensors.empty())
      throw UsageError("--sample-only is of outputs; the file has stages, which are judged whole");
    if (other != nullptr) given.against.push_back(counterparts(given, submission, *other, options));
    given.submissions.push_back(std::move(submission));
  }
  for (const FixtureOutput& stages : fixture.stages)
    if (std::none_of(given.submissions.begin(), given.submissions.end(),
                     [&](const Submission& each) { return each.path == stages.path; }))
      throw UsageError(
          fmt::format("stages of path {}, which has no outputs to be judged", shown(stages.path)));
  return given;
}

}  // namespace

CheckedFixture check_fixture(const FixtureCase& fixture, const CompareOptions& options,
                             const FixtureCase* other) {
  try {
    return checked(fixture, options, other);
  } catch (const UsageError& error) {
    // What comes from a case line or an attribute does not know its file.
    const std::string_view message = error.what();
    if (message.starts_with(options.file) ||
        (options.against_file && message.starts_with(*options.against_file)))
      throw;
    throw UsageError(fmt::format("{}: {}{}", options.file,
                                 fixture.group == "/" ? "" : fixture.group + ": ", message));
  }
}

}  // namespace groundstate::harness
