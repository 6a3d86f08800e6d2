// Fuzz target: the reader of `compare`. The input is a case line, a line end, and bytes that say
// what is to be done to the fixture file of that case, its sizes reduced to 3 at most: names,
// shapes, types, layouts, attributes and elements are changed, and then what the child says of the
// file.
//
// libhdf5 makes the file and reads it here, in this process, and crashes on neither: what crashes
// is ours. (Files that are spoilt from outside: tests/acceptance/mutated_files.py.) Either an error
// of one line says what is wrong, or there are cases, and the small ones of them are judged.
#include <fmt/format.h>
#include <fuzzer/FuzzedDataProvider.h>
#include <hdf5.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
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

namespace groundstate::harness {
namespace {

constexpr std::uint64_t max_bytes = 1 << 20;

// Never where the bytes are used up.
bool rarely(FuzzedDataProvider& bytes) { return bytes.ConsumeIntegralInRange(0, 15) == 15; }

// ---- a file as it is going to be

struct PlannedAttribute {
  std::string object, name;
  std::variant<std::string, std::int64_t, double, std::vector<std::string>> value;
};

enum class Layout { contiguous, compact, chunked, compressed, kMaxValue = compressed };

struct PlannedDataset {
  std::string path;
  int type = 0;  // of file_type()
  std::vector<hsize_t> extents;
  Layout layout = Layout::contiguous;
  std::string elements;  // cut or filled up with zeros
};

struct PlannedFile {
  std::vector<PlannedDataset> datasets;
  std::vector<PlannedAttribute> attributes;
  std::vector<std::array<std::string, 2>> soft_links, hard_links;  // from, to
};

constexpr int last_element_type = static_cast<int>(ElementType::int32), last_type = 19;

// The element types of the harness, and then others.
Handle file_type(int number) {
  if (number <= last_element_type) return stored_type(static_cast<ElementType>(number));
  const auto copy = [](hid_t type) { return Handle(H5Tcopy(type), H5Tclose); };
  const std::array<hid_t, 10> plain{H5T_IEEE_F64BE, H5T_IEEE_F32BE,    H5T_STD_I64BE, H5T_STD_U16BE,
                                    H5T_STD_U8LE,   H5T_STD_I8LE,      H5T_STD_I16BE, H5T_STD_U32LE,
                                    H5T_STD_U64LE,  H5T_NATIVE_LDOUBLE};
  const auto index = static_cast<std::size_t>(number - last_element_type - 1);
  if (index < plain.size()) return copy(plain[index]);
  if (index == plain.size()) return copy(H5T_C_S1);
  if (index == plain.size() + 1) {
    Handle truth(H5Tenum_create(H5T_STD_I8LE), H5Tclose);
    const std::int8_t yes = 1;
    check(H5Tenum_insert(truth, "yes", &yes));
    return truth;
  }
  if (index == plain.size() + 2) {
    Handle odd = copy(H5T_STD_I32LE);
    check(H5Tset_precision(odd, 17));
    check(H5Tset_offset(odd, 3));
    return odd;
  }
  Handle compound(H5Tcreate(H5T_COMPOUND, 8), H5Tclose);
  check(H5Tinsert(compound, "r", 0, H5T_IEEE_F32LE));
  check(H5Tinsert(compound, "i", 4, H5T_IEEE_F32LE));
  return compound;
}

void plan(const Tensor& tensor, const std::string& group, PlannedFile& file) {
  PlannedDataset dataset{group + tensor.name(), static_cast<int>(tensor.type()), {}, {}, {}};
  std::vector<std::string> labels;
  for (const std::size_t axis : tensor.storage_order()) {
    dataset.extents.push_back(static_cast<hsize_t>(tensor.axes()[axis].extent));
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
 public:
  Editor(FuzzedDataProvider& bytes, PlannedFile& file) : bytes_(bytes), file_(file) {}

  void edit() {
    const int what = bytes_.ConsumeIntegralInRange(0, 11);
    if (what == 0) file_.attributes.push_back({object(), attribute_name(), value()});
    if (what == 1) file_.soft_links.push_back({path(), path()});
    if (what == 2) file_.hard_links.push_back({path(), object()});
    if (what == 3) file_.datasets.push_back({path(), type(), {extent(), extent()}, {}, {}});
    if (what == 4) change_attribute();
    if (what > 4 && !file_.datasets.empty())
      change(
          file_.datasets[bytes_.ConsumeIntegralInRange<std::size_t>(0, file_.datasets.size() - 1)],
          what);
  }

  std::string text() { return bytes_.ConsumeRandomLengthString(80); }

 private:
  void change(PlannedDataset& dataset, int what) {
    if (what == 5) {
      const std::string before = dataset.path;
      dataset.path = path();
      for (PlannedAttribute& own : file_.attributes)
        if (own.object == before) own.object = dataset.path;
    }
    if (what == 6) dataset.type = type();
    if (what == 7) dataset.layout = bytes_.ConsumeEnum<Layout>();
    if (what == 8) change_extents(dataset.extents);
    if (what == 9) dataset.path.clear();  // none
    if (what >= 10 && !dataset.elements.empty()) {
      const auto at = bytes_.ConsumeIntegralInRange<std::size_t>(0, dataset.elements.size() - 1);
      dataset.elements[at] = bytes_.ConsumeIntegral<char>();
    }
  }

  void change_extents(std::vector<hsize_t>& extents) {
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

  void change_attribute() {
    if (file_.attributes.empty()) return;
    PlannedAttribute& own =
        file_
            .attributes[bytes_.ConsumeIntegralInRange<std::size_t>(0, file_.attributes.size() - 1)];
    if (bytes_.ConsumeBool())
      own.value = value();
    else
      own.name = attribute_name();
  }

  hsize_t extent() {
    return bytes_.ConsumeBool() ? bytes_.ConsumeIntegralInRange<hsize_t>(0, 4)
                                : bytes_.ConsumeIntegral<hsize_t>();
  }
  int type() { return bytes_.ConsumeIntegralInRange(0, last_type); }
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
    return file_.datasets[bytes_.ConsumeIntegralInRange<std::size_t>(0, file_.datasets.size() - 1)]
        .path;
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

// ---- the file itself

void write(hid_t file, const PlannedAttribute& planned) {
  const Handle object(H5Oopen(file, planned.object.c_str(), H5P_DEFAULT), H5Oclose);
  const auto put = [&](hid_t type, hid_t space, const void* data) {
    if (check(H5Aexists(object, planned.name.c_str())) > 0)
      check(H5Adelete(object, planned.name.c_str()));
    const Handle attribute(
        H5Acreate2(object, planned.name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    check(H5Awrite(attribute, type, data));
  };
  const Handle scalar(H5Screate(H5S_SCALAR), H5Sclose);
  Handle text(H5Tcopy(H5T_C_S1), H5Tclose);
  check(H5Tset_size(text, H5T_VARIABLE));
  if (const auto* const one = std::get_if<std::string>(&planned.value)) {
    const char* const data = one->c_str();
    put(text, scalar, &data);
  } else if (const auto* const integer = std::get_if<std::int64_t>(&planned.value)) {
    put(H5T_STD_I64LE, scalar, integer);
  } else if (const auto* const real = std::get_if<double>(&planned.value)) {
    put(H5T_IEEE_F64LE, scalar, real);
  } else {
    const auto& list = std::get<std::vector<std::string>>(planned.value);
    std::vector<const char*> data;
    for (const std::string& each : list) data.push_back(each.c_str());
    const hsize_t size = list.size();
    put(text, Handle(H5Screate_simple(1, &size, nullptr), H5Sclose), data.data());
  }
}

void write(hid_t file, hid_t links, const PlannedDataset& planned) {
  const Handle type = file_type(planned.type);
  const std::vector<hsize_t>& extents = planned.extents;
  const Handle space(
      extents.empty() ? H5Screate(H5S_SCALAR)
                      : H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr),
      H5Sclose);
  std::uint64_t bytes = H5Tget_size(type);
  for (const hsize_t extent : extents)
    bytes = __builtin_mul_overflow(bytes, extent, &bytes) ? max_bytes + 1 : bytes;
  const Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  if (planned.layout == Layout::compact) check(H5Pset_layout(properties, H5D_COMPACT));
  if (planned.layout == Layout::chunked || planned.layout == Layout::compressed) {
    const std::vector<hsize_t> chunk(extents.size(), 2);
    check(H5Pset_chunk(properties, static_cast<int>(chunk.size()), chunk.data()));
    if (planned.layout == Layout::compressed) check(H5Pset_deflate(properties, 1));
  }
  const Handle dataset(
      H5Dcreate2(file, planned.path.c_str(), type, space, links, properties, H5P_DEFAULT),
      H5Dclose);
  if (bytes > max_bytes) return;  // and is never allocated
  std::string elements = planned.elements;
  elements.resize(bytes);
  check(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, elements.data()));
}

// What libhdf5 does not let be made is left out.
template <class Make>
void attempt(const Make& make) {
  try {
    make();
  } catch (const LibraryError&) {
  }
}

// The bytes of the file.
std::string image_of(const PlannedFile& planned) {
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  check(H5Pset_fapl_core(access, 1 << 12, false));
  const Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  check(H5Pset_create_intermediate_group(links, 1));
  const Handle file(H5Fcreate("planned.h5", H5F_ACC_TRUNC, H5P_DEFAULT, access), H5Fclose);
  for (const PlannedDataset& each : planned.datasets) attempt([&] { write(file, links, each); });
  for (const PlannedAttribute& each : planned.attributes) attempt([&] { write(file, each); });
  for (const auto& [link, object] : planned.soft_links)
    attempt([&, &from = link, &to = object] {
      check(H5Lcreate_soft(to.c_str(), file, from.c_str(), links, H5P_DEFAULT));
    });
  for (const auto& [link, object] : planned.hard_links)
    attempt([&, &from = link, &to = object] {
      check(H5Lcreate_hard(file, to.c_str(), file, from.c_str(), links, H5P_DEFAULT));
    });
  check(H5Fflush(file, H5F_SCOPE_GLOBAL));
  std::string image(static_cast<std::size_t>(check(H5Fget_file_image(file, nullptr, 0))), '\0');
  check(H5Fget_file_image(file, image.data(), image.size()));
  return image;
}

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
  describe(original, copies, max_bytes,
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
    read(image_of(*file), bytes, options);
  } catch (const UsageError& error) {
    fuzz::demand(!good, "a good file is read", error.what());
    fuzz::demand_one_line(error.what());
  } catch (const ResourceError& error) {
    fuzz::demand_one_line(error.what());
  }
  return 0;
}

}  // namespace groundstate::harness
