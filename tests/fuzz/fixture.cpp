// Fuzz target: the reader of `compare`. The input is a case line, a line end, and bytes that say
// what is to be done to the fixture file of that case, its sizes reduced to 3 at most: names,
// shapes, types, layouts, attributes and elements are changed, and then what the child says of the
// file.
//
// libhdf5 makes the file and reads it here, in this process, and crashes on neither: what crashes
// is ours. (Files that are spoilt from outside: tests/acceptance/mutated_files.py.) Either an error
// of one line says what is wrong, which is no answer where nothing was done to the file, or its
// cases are ready to be judged.
#include <fmt/format.h>
#include <fuzzer/FuzzedDataProvider.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "harness/case/error.hpp"
#include "harness/case/sweep.hpp"
#include "harness/fixture/describe.hpp"
#include "harness/fixture/description.hpp"
#include "harness/fixture/library.hpp"
#include "harness/fixture/stored_type.hpp"
#include "harness/operators/registry.hpp"
#include "harness/run/check_fixture.hpp"
#include "reference/core/parallel.hpp"
#include "tests/fuzz/demand.hpp"
#include "tests/fuzz/planned_file.hpp"

namespace groundstate::harness {
namespace {

using fuzz::PlannedAttribute, fuzz::PlannedDataset, fuzz::PlannedFile;

// Never where the bytes are used up.
bool rarely(FuzzedDataProvider& bytes) { return bytes.ConsumeIntegralInRange(0, 15) == 15; }

void plan(const Tensor& tensor, const std::string& group, PlannedFile& file) {
  PlannedDataset dataset{group + tensor.name(), static_cast<int>(tensor.type()), {}, {}, {}};
  std::vector<std::string> labels;
  for (const std::size_t axis : tensor.storage_order()) {
    dataset.extents.push_back(static_cast<std::uint64_t>(tensor.axes()[axis].extent));
    labels.emplace_back(tensor.axes()[axis].name);
  }
  dataset.elements.assign(static_cast<const char*>(tensor.data()), tensor.bytes());
  if (tensor.type() == ElementType::bfloat16)
    file.attributes.push_back({dataset.path, "dtype", std::string(bfloat16_mark)});
  file.attributes.push_back({dataset.path, "DIMENSION_LABELS", std::move(labels)});
  file.datasets.push_back(std::move(dataset));
}

// Every size of the case at most 3. Throws UsageError where that contradicts another key.
Case reduced(Case c) {
  for (const Key& key : c.grammar().keys) {
    if (c.get(key.name).empty() || key.name == "seed") continue;
    const auto small = [&](std::int64_t value, std::int64_t minimum) {
      return std::to_string(std::max(value % 4, minimum));
    };
    if (const auto* const domain = std::get_if<Key::Integer>(&key.domain))
      c = c.with(key.name, small(c.integer(key.name), domain->minimum));
    if (std::holds_alternative<Key::IntegerList>(key.domain)) {
      std::vector<std::string> list;
      for (const std::int64_t value : c.integers(key.name)) list.push_back(small(value, 0));
      list.resize(std::min<std::size_t>(list.size(), 4));
      c = c.with(key.name, fmt::format("{}", fmt::join(list, "+"))).without("T");
    }
  }
  return c;
}

PlannedFile good_file(const Case& c) {
  const Operator& op = operator_of(c);
  PlannedFile file;
  for (const Tensor& tensor : generate(op.inputs(c))) plan(tensor, "/inputs/", file);
  for (const TensorSpec& spec : op.outputs(c)) plan(spec.allocate(), "/outputs/", file);
  file.attributes.push_back({"/", "case", c.canonical()});
  file.attributes.push_back({"/", "schema", std::int64_t{fixture_schema}});
  file.attributes.push_back({"/", "operator", c.operator_name()});
  return file;
}

// ---- what is done to it

class Editor {
  static constexpr fuzz::Layout layouts[] = {fuzz::Layout::contiguous, fuzz::Layout::compact,
                                             fuzz::Layout::chunked, fuzz::Layout::compressed};

 public:
  Editor(FuzzedDataProvider& bytes, PlannedFile& file) : bytes_(bytes), file_(file) {}

  void edit() {
    const int what = bytes_.ConsumeIntegralInRange(0, 11);
    if (what == 0) file_.attributes.push_back({object(), attribute_name(), value()});
    if (what == 1) file_.links.push_back({path(), object(), bytes_.ConsumeBool()});
    if (what == 2) file_.datasets.push_back({path(), type(), {extent(), extent()}, {}, {}});
    if (what == 3 && !file_.attributes.empty()) change(any(file_.attributes));
    if (what >= 4 && !file_.datasets.empty()) change(any(file_.datasets), what);
  }

  std::string text() { return bytes_.ConsumeRandomLengthString(80); }

 private:
  template <class T>
  T& any(std::vector<T>& list) {
    return list[bytes_.ConsumeIntegralInRange<std::size_t>(0, list.size() - 1)];
  }

  void change(PlannedDataset& dataset, int what) {
    if (what == 4) {
      const std::string before = dataset.path;
      dataset.path = path();
      for (PlannedAttribute& own : file_.attributes)
        if (own.object == before) own.object = dataset.path;
    }
    if (what == 5) dataset.type = type();
    if (what == 6) dataset.layout = bytes_.PickValueInArray(layouts);
    if (what == 7) change_extents(dataset.extents);
    if (what == 8) dataset.path.clear();  // none
    if (what >= 9 && !dataset.elements.empty()) {
      const auto at = bytes_.ConsumeIntegralInRange<std::size_t>(0, dataset.elements.size() - 1);
      dataset.elements[at] = bytes_.ConsumeIntegral<char>();
    }
  }

  void change_extents(std::vector<std::uint64_t>& extents) {
    const auto at = bytes_.ConsumeIntegralInRange<std::size_t>(0, extents.size());
    if (at == extents.size())
      extents.push_back(extent());
    else if (bytes_.ConsumeBool())
      extents[at] = extent();
    else if (bytes_.ConsumeBool())
      extents.erase(extents.begin() + static_cast<std::ptrdiff_t>(at));
    else
      std::swap(extents[at], extents.back());
  }

  void change(PlannedAttribute& attribute) {
    if (bytes_.ConsumeBool())
      attribute.value = value();
    else
      attribute.name = attribute_name();
  }

  std::uint64_t extent() {
    return bytes_.ConsumeBool() ? bytes_.ConsumeIntegralInRange<std::uint64_t>(0, 4)
                                : bytes_.ConsumeIntegral<std::uint64_t>();
  }
  int type() { return bytes_.ConsumeIntegralInRange(0, fuzz::last_file_type); }
  std::string one_of(const std::vector<std::string>& words) {
    const auto at = bytes_.ConsumeIntegralInRange<std::size_t>(0, words.size());
    return at < words.size() ? words[at] : text();
  }
  std::string name() {
    return one_of({"inputs", "outputs", "oracle", "scale", "user", "q", "k", "v", "g", "h0", "o",
                   "ht", "x", "y", "cu_seqlens", "do", "dht", "0123456789abcdef"});
  }
  std::string path() {
    std::string result;
    for (int left = bytes_.ConsumeIntegralInRange(1, 3); left > 0; --left) result += "/" + name();
    return result;
  }
  std::string object() {
    if (file_.datasets.empty() || bytes_.ConsumeBool()) return one_of({"/", "/outputs", "/inputs"});
    return any(file_.datasets).path;
  }
  std::string attribute_name() {
    return one_of(
        {"case", "schema", "operator", "recipe", "form", "dtype", "DIMENSION_LABELS", "note"});
  }
  decltype(PlannedAttribute::value) value() {
    switch (bytes_.ConsumeIntegralInRange(0, 4)) {
      case 0:
        return text();
      case 1:
        return bytes_.ConsumeIntegral<std::int64_t>();
      case 2:
        return bytes_.ConsumeFloatingPoint<double>();
      case 3:
        return one_of({"single", "exact", "tensorcore", "chunked", "recurrent", "bfloat16",
                       "float16", "float8_e4m3fn"});
      default:
        return std::vector<std::string>{name(), name(), name(), name()};
    }
  }

  FuzzedDataProvider& bytes_;
  PlannedFile& file_;
};

// A file of this process, removed at its end; libhdf5 wants one with a name.
class TemporaryFile {
 public:
  TemporaryFile()
      : path_(std::filesystem::temp_directory_path() / "fuzz_fixture_XXXXXX"),
        descriptor_(mkstemp(path_.data())) {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() { unlink(path_.c_str()); }

  // The descriptor, with this content.
  int with(std::string_view content) const {
    const auto size = static_cast<ssize_t>(content.size());
    if (ftruncate(descriptor_, 0) != 0 ||
        pwrite(descriptor_, content.data(), content.size(), 0) != size)
      std::abort();
    return descriptor_;
  }

 private:
  std::string path_;
  int descriptor_;
};

// ---- the reader

// A child that has lost its mind says something else.
void corrupt(std::vector<std::string>& messages, FuzzedDataProvider& bytes) {
  for (int left = bytes.ConsumeIntegralInRange(1, 3); left > 0 && !messages.empty(); --left) {
    const auto number = bytes.ConsumeIntegralInRange<std::size_t>(0, messages.size() - 1);
    std::string& message = messages[number];
    const auto at = bytes.ConsumeIntegralInRange<std::size_t>(0, message.size());
    const auto length = bytes.ConsumeIntegralInRange<std::size_t>(0, 8);
    if (bytes.ConsumeBool())
      message.replace(at, length, bytes.ConsumeRandomLengthString(20));
    else if (bytes.ConsumeBool())
      messages.push_back(message);
    else
      messages.erase(messages.begin() + static_cast<std::ptrdiff_t>(number));
  }
}

void read(const std::string& image, FuzzedDataProvider& bytes, const CompareOptions& options) {
  static const TemporaryFile original_file, copies_file;
  const int original = original_file.with(image), copies = copies_file.with("");
  std::vector<std::string> messages;
  describe(original, copies, fuzz::most_written,
           [&](std::string_view message) { messages.emplace_back(message); });
  if (rarely(bytes)) corrupt(messages, bytes);
  Description description;
  for (const std::string& message : messages) description.take(message);
  for (const FixtureCase& fixture : description.cases(options.file, original, copies, ""))
    check_fixture(fixture, options);
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  silence_library();
  set_threads(1);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto* const end = data + size;
  const auto* const line_end = std::find(data, end, std::uint8_t{'\n'});
  const std::string line(data, line_end);
  std::optional<PlannedFile> file;
  try {
    file = good_file(reduced(expand(line, grammars()).front()));
  } catch (const UsageError&) {
    return -1;
  }
  const auto* const rest = line_end == end ? end : line_end + 1;
  FuzzedDataProvider bytes(rest, static_cast<std::size_t>(end - rest));
  const bool good = bytes.remaining_bytes() == 0;  // nothing is done to it
  Editor editor(bytes, *file);
  for (int left = bytes.ConsumeIntegralInRange(0, 12); left > 0; --left) editor.edit();
  CompareOptions options;
  options.file = "a.h5";
  if (rarely(bytes)) options.recipe = editor.text();
  if (rarely(bytes)) options.form = editor.text();
  if (rarely(bytes)) options.case_text = editor.text();
  options.warn = fuzz::demand_one_line;
  try {
    read(fuzz::image_of(*file), bytes, options);
  } catch (const UsageError& error) {
    fuzz::demand(!good, "a good file is read", error.what());
    fuzz::demand_one_line(error.what());
  } catch (const ResourceError& error) {
    fuzz::demand_one_line(error.what());
  }
  return 0;
}

}  // namespace groundstate::harness
