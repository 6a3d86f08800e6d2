#include "harness/golden/golden.hpp"

#include <fmt/format.h>
#include <gnu/libc-version.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <string_view>
#include <utility>

#include "harness/case/error.hpp"
#include "harness/case/text.hpp"
#include "harness/fixture/read.hpp"
#include "harness/fixture/write.hpp"
#include "harness/generate/tensor_digest.hpp"
#include "harness/judge/scaled_error.hpp"
#include "harness/operators/registry.hpp"
#include "harness/run/oracle_tensors.hpp"

namespace groundstate::harness {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

bool same_bits(double a, double b) {
  return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

// ---- computing

// Irregular, since with a fixed step one channel of every row might be all that is seen.
std::vector<Index> sample_positions(Index elements) {
  const Index count = std::min(elements, golden_sample);
  std::vector<Index> positions;
  for (Index i = 0; i < count; ++i) {
    const Index begin = elements * i / count, end = elements * (i + 1) / count;
    const Index drawn = i * Index{2654435761} % (Index{1} << 32) % (end - begin);
    positions.push_back(i == count - 1 ? end - 1 : begin + drawn);
  }
  return positions;
}

std::vector<double> sample_of(const Tensor& tensor) {
  std::vector<double> values;
  for (Index position : sample_positions(tensor.elements())) {
    Index offset = 0;
    for (std::size_t a = tensor.axes().size(); a-- > 0;) {
      const AxisExtent& axis = tensor.axes()[a];
      offset += position % axis.extent * axis.stride;
      position /= axis.extent;
    }
    values.push_back(tensor.load(offset));
  }
  return values;
}

GoldenTensor sampled(std::string_view group, const Tensor& tensor) {
  return {fmt::format("{}/{}", group, tensor.name()),
          std::string(name_of(tensor.type())),
          shape_of(tensor.axes()),
          sha256_of(tensor),
          sample_of(tensor),
          {}};
}

// `tensors` has the oracle's and the fields of its sensitivities, as write_oracle names them.
std::vector<double> units_of(const std::string& name, const Tensors& tensors) {
  const auto sample = [&](std::string_view suffix) {
    const std::vector<double> values = sample_of(*find(tensors, fmt::format("{}{}", name, suffix)));
    return Matrix<double>(
        Eigen::Map<const Vector<double>>(values.data(), static_cast<Index>(values.size())));
  };
  const Matrix<double> units =
      error_units(recipe_units("exact"), ElementType::float64, sample(""),
                  {sample(".input"), sample(".carry"), sample(".gate"), {}});
  return {units.data(), units.data() + units.size()};
}

// ---- reading

[[noreturn]] void refuse(std::string_view location, std::string_view reason) {
  throw UsageError(fmt::format("{}: {}", location, reason));
}

std::vector<double> sample_in(const FixtureDataset& dataset) {
  if (dataset.type != ElementType::float64 || dataset.extents.size() != 1 ||
      dataset.extents[0] > golden_sample)
    refuse(dataset.location, fmt::format("a golden has at most {} fp64 here", golden_sample));
  const auto* const data = static_cast<const double*>(dataset.data);
  return {data, data + dataset.extents[0]};
}

GoldenTensor tensor_in(std::string_view group, const FixtureDataset& dataset) {
  return {fmt::format("{}/{}", group, dataset.name),
          text_attribute(dataset.attributes, "type", dataset.location),
          text_attribute(dataset.attributes, "shape", dataset.location),
          text_attribute(dataset.attributes, "sha256", dataset.location),
          sample_in(dataset),
          {}};
}

GoldenCase case_in(const std::string& path, const FixtureCase& fixture) {
  const std::string location = fmt::format("{}: {}", path, fixture.group);
  GoldenCase result{fixture.group.substr(1),
                    text_attribute(fixture.attributes, "case", location),
                    text_attribute(fixture.attributes, "operator", location),
                    {}};
  for (const FixtureDataset& dataset : fixture.inputs.datasets)
    result.tensors.push_back(tensor_in("inputs", dataset));
  for (const FixtureDataset& dataset : fixture.oracle.datasets) {
    const FixtureDataset* const units = fixture.scale.find(dataset.name);
    if (units == nullptr || units->extents != dataset.extents)
      refuse(dataset.location, "has no units of the same number in scale");
    result.tensors.push_back(tensor_in("oracle", dataset));
    result.tensors.back().units = sample_in(*units);
  }
  if (fixture.oracle.datasets.empty()) refuse(location, "holds no golden: there is no oracle");
  return result;
}

Golden golden_of(const std::string& path, const std::vector<FixtureCase>& fixtures) {
  const Attributes& file = fixtures.front().file_attributes;
  const auto version = file.find("golden");
  if (version == file.end()) refuse(path, "not a golden file, whose root has the attribute golden");
  if (version->second != Attribute(std::int64_t{golden_version}))
    refuse(path, fmt::format("this program reads goldens of version {}", golden_version));
  Golden golden{text_attribute(file, "libm", path), {}};
  for (const FixtureCase& fixture : fixtures) {
    if (fixture.group == "/") refuse(path, "holds no golden: there are no groups of cases");
    golden.cases.push_back(case_in(path, fixture));
  }
  return golden;
}

// ---- writing

void write_sample(FixtureWriter& writer, std::string_view group, std::string name,
                  const std::vector<double>& values) {
  Tensor tensor = Tensor::allocate(std::move(name), ElementType::float64,
                                   {{"sample", static_cast<Index>(values.size()), 0}});
  if (!values.empty()) std::memcpy(tensor.data(), values.data(), tensor.bytes());
  writer.write(group, tensor);
}

void write_tensor(FixtureWriter& writer, const GoldenTensor& tensor) {
  const std::size_t slash = tensor.name.find('/');
  const std::string group = tensor.name.substr(0, slash), name = tensor.name.substr(slash + 1);
  write_sample(writer, group, name, tensor.values);
  writer.attribute(tensor.name, "sha256", tensor.sha256);
  writer.attribute(tensor.name, "type", tensor.type);
  writer.attribute(tensor.name, "shape", tensor.shape);
  if (tensor.is_oracle()) write_sample(writer, "scale", name, tensor.units);
}

// ---- comparing

// Where a sampled element lies in a shape that shape_of() wrote, by the names of the axes.
std::string coordinate_text(const std::string& shape, std::size_t sample) {
  const std::vector<std::string_view> axes = words(shape);
  std::vector<std::string> parts(axes.size());
  const auto extent = [&](std::size_t a) { return integer_of(split(axes[a], '=')[1]).value(); };
  Index elements = 1;
  for (std::size_t a = 0; a < axes.size(); ++a) elements *= extent(a);
  Index position = sample_positions(elements)[sample];
  for (std::size_t a = axes.size(); a-- > 0; position /= extent(a))
    parts[a] = fmt::format("{}={}", split(axes[a], '=')[0], position % extent(a));
  return fmt::format("{}", fmt::join(parts, " "));
}

const GoldenTensor* tensor_of(const GoldenCase& golden, std::string_view name) {
  const auto found = std::ranges::find(golden.tensors, name, &GoldenTensor::name);
  return found == golden.tensors.end() ? nullptr : &*found;
}

std::string incomparable(const GoldenTensor& golden, const GoldenTensor& now) {
  if (golden.type != now.type)
    return fmt::format("the elements were {}, are {}", shown(golden.type), now.type);
  if (golden.shape != now.shape)
    return fmt::format("the shape was {}, is {}", shown(golden.shape, 200), now.shape);
  if (golden.values.size() != now.values.size())
    return fmt::format("{} elements were sampled, {} are", golden.values.size(), now.values.size());
  return "";
}

GoldenDifference difference(const GoldenTensor& golden, const GoldenTensor& now) {
  GoldenDifference result;
  result.tensor = now.name;
  result.golden_sha256 = golden.sha256;
  result.sha256 = now.sha256;
  result.incomparable = incomparable(golden, now);
  if (!result.incomparable.empty()) return result;
  result.sampled = static_cast<Index>(now.values.size());
  result.limit = recipe_limits("exact", now.family).maximum;
  for (std::size_t i = 0; i < now.values.size(); ++i) {
    const double was = golden.values[i], is = now.values[i];
    if (now.is_oracle() && !same_bits(golden.units[i], now.units[i])) result.other_units = true;
    if (same_bits(was, is)) continue;
    if (result.different++ == 0) result.first = {coordinate_text(now.shape, i), was, is};
    const bool equal = was == is || (std::isnan(was) && std::isnan(is));
    const double distance = equal ? 0 : std::abs(is - was);
    result.largest = std::max(result.largest, std::isnan(distance) ? infinity : distance);
    result.largest_scaled = std::max(
        result.largest_scaled,
        now.is_oracle() ? scaled_error(is, was, golden.units[i], ElementType::float64) : infinity);
  }
  return result;
}

}  // namespace

std::string libm_name() { return fmt::format("glibc {}", gnu_get_libc_version()); }

GoldenCase compute_golden(const Case& c) {
  const Operator& op = operator_of(c);
  const Tensors inputs = generate(op.inputs(c));
  GoldenCase result{c.id(), c.canonical(), c.operator_name(), {}};
  for (const Tensor& tensor : inputs) result.tensors.push_back(sampled("inputs", tensor));
  Tensors tensors;
  write_oracle(op, c, inputs,
               [&](std::string_view, const Tensor& tensor) { tensors.push_back(tensor); });
  for (const TensorSpec& spec : op.judged_outputs(c)) {
    result.tensors.push_back(sampled("oracle", *find(tensors, spec.name)));
    result.tensors.back().units = units_of(spec.name, tensors);
    result.tensors.back().family = op.family(spec.name);
  }
  return result;
}

Golden read_golden(const std::string& path) { return golden_of(path, read_fixture(path)); }

void write_golden(const std::filesystem::path& path, const Golden& golden) {
  std::map<std::string_view, const GoldenCase*> cases;
  for (const GoldenCase& own : golden.cases) cases.emplace(own.id, &own);
  FixtureWriter writer(path);
  for (const auto& [id, own] : cases) {
    writer.begin_case(fmt::format("/{}", id), own->text, own->operator_name);
    for (const GoldenTensor& tensor : own->tensors) write_tensor(writer, tensor);
  }
  writer.attribute("/", "schema", std::int64_t{fixture_schema});
  writer.attribute("/", "golden", std::int64_t{golden_version});
  writer.attribute("/", "libm", golden.libm);
  writer.commit();
}

bool GoldenDifference::within_bound() const {
  return tensor.starts_with("oracle/") && incomparable.empty() && largest_scaled <= limit;
}

std::vector<GoldenDifference> differences(const GoldenCase& golden, const GoldenCase& now) {
  std::vector<GoldenDifference> result;
  for (const GoldenTensor& own : now.tensors) {
    const GoldenTensor* const other = tensor_of(golden, own.name);
    if (other == nullptr) {
      result.push_back({own.name, "the golden has no such tensor", "", own.sha256});
      continue;
    }
    GoldenDifference found = difference(*other, own);
    if (!found.only_units() || found.other_units) result.push_back(std::move(found));
  }
  for (const GoldenTensor& other : golden.tensors)
    if (tensor_of(now, other.name) == nullptr)
      result.push_back({other.name, "the case has no such tensor", other.sha256, ""});
  return result;
}

}  // namespace groundstate::harness
