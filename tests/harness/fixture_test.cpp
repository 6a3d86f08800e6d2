// Fixture files: what is written comes back, h5py reads and writes the same, and a damaged or
// hostile file is one UsageError whatever it does to libhdf5.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "harness/case/error.hpp"
#include "harness/fixture/match.hpp"
#include "harness/fixture/read.hpp"
#include "harness/fixture/write.hpp"
#include "tests/harness/expect_contains.hpp"
#include "tests/harness/program.hpp"
#include "tests/harness/temporary_folder.hpp"

namespace groundstate::harness {
namespace {

namespace fs = std::filesystem;

constexpr std::array all_types{ElementType::float64, ElementType::float32, ElementType::bfloat16,
                               ElementType::float16, ElementType::int64,   ElementType::int32,
                               ElementType::int16,   ElementType::int8,    ElementType::float8};

class Fixture : public TemporaryFolder {
 protected:
  std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
};

// Element (t, k) is 10 t + k.
Tensor time_key(std::string name, ElementType type, std::vector<std::size_t> storage_order = {},
                Index times = 3, Index keys = 2) {
  Tensor tensor = Tensor::allocate(std::move(name), type,
                                   {{Time::name, times, 0}, {Key::name, keys, 0}}, storage_order);
  const Index time_stride = tensor.axes()[0].stride, key_stride = tensor.axes()[1].stride;
  for (Index t = 0; t < times; ++t)
    for (Index k = 0; k < keys; ++k)
      tensor.store(t * time_stride + k * key_stride, static_cast<double>(10 * t + k));
  return tensor;
}

Tensor number(std::string name, double value) {
  Tensor tensor = Tensor::allocate(std::move(name), ElementType::float64, {});
  tensor.store(0, value);
  return tensor;
}

void expect_time_key(const Tensor& tensor) {
  for (Index t = 0; t < tensor.extent(Time::name); ++t)
    for (Index k = 0; k < tensor.extent(Key::name); ++k)
      EXPECT_EQ(tensor.load(t * tensor.axes()[0].stride + k * tensor.axes()[1].stride),
                tensor.type() == ElementType::float8
                    ? static_cast<double>(fp8(static_cast<double>(10 * t + k)))
                    : static_cast<double>(10 * t + k))
          << tensor.name() << " " << t << " " << k;
}

void write_sample(const std::string& path) {
  FixtureWriter writer(path);
  writer.begin_case("/", "simple_gla T=3 K=2", "simple_gla");
  std::string name = "a";
  for (const ElementType type : all_types) {
    writer.write("inputs", time_key(name, type, {1, 0}));
    ++name[0];
  }
  writer.write("scale", number("s", 2.5));
  writer.create("outputs", time_key("o", ElementType::bfloat16),
                std::numeric_limits<double>::quiet_NaN());
  writer.attribute("outputs", "recipe", std::string("single"));
  writer.write("outputs/chunked[chunk=128]", time_key("o", ElementType::float32));
  writer.attribute("outputs/chunked[chunk=128]", "form", std::string("chunked"));
  writer.attribute("outputs/chunked[chunk=128]/o", "seconds", 0.25);
  writer.commit();
}

std::string usage_error(const std::string& path, const ReadOptions& options = {}) {
  try {
    read_fixture(path, options);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no error";
}

// False when h5py is missing.
bool h5py(const std::string& mode, const std::string& argument, std::string* output) {
  const fs::path script = fs::current_path() / "tests/harness/fixture_h5py.py";
  const Ended end =
      shell(fmt::format("/usr/bin/python3 '{}' {} '{}'", script.string(), mode, argument));
  *output += end.text;
  if (end.code == 77 || end.code == 127) return false;
  EXPECT_EQ(end.code, 0) << *output;
  return true;
}

constexpr const char* needs_h5py = "needs /usr/bin/python3 with h5py: ";

TEST_F(Fixture, every_type_and_storage_order_comes_back) {
  for (const std::vector<std::size_t>& order : {std::vector<std::size_t>{0, 1}, {1, 0}}) {
    FixtureWriter writer(path("a.h5"));
    writer.begin_case("/", "x T=3", "x");
    for (const ElementType type : all_types)
      writer.write("inputs", time_key(std::string(name_of(type)), type, order));
    writer.commit();

    const std::vector<FixtureCase> cases = read_fixture(path("a.h5"));
    ASSERT_EQ(cases.size(), 1u);
    EXPECT_EQ(cases[0].group, "/");
    EXPECT_EQ(cases[0].case_text, "x T=3");
    EXPECT_EQ(cases[0].operator_name, "x");
    EXPECT_EQ(cases[0].schema, 1);
    ASSERT_EQ(cases[0].inputs.datasets.size(), all_types.size());
    for (const ElementType type : all_types) {
      const FixtureDataset* const dataset = cases[0].inputs.find(name_of(type));
      ASSERT_NE(dataset, nullptr);
      EXPECT_EQ(dataset->type, type);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(dataset->data) % size_of(type), 0u);
      expect_time_key(to_tensor(*dataset, time_key("x", type, order)));
    }
  }
  EXPECT_EQ(files(), 1u);
}

TEST_F(Fixture, data_outlives_everything_but_its_owner) {
  write_sample(path("a.h5"));
  Tensor tensor;
  {
    const std::vector<FixtureCase> cases = read_fixture(path("a.h5"));
    tensor = to_tensor(*cases[0].inputs.find("a"), time_key("a", ElementType::float64, {1, 0}));
  }
  fs::remove(path("a.h5"));
  expect_time_key(tensor);
}

TEST_F(Fixture, outputs_are_loose_tensors_and_paths) {
  write_sample(path("a.h5"));
  const FixtureCase sample = read_fixture(path("a.h5"))[0];
  ASSERT_EQ(sample.outputs.size(), 2u);
  EXPECT_EQ(sample.outputs[0].path, "user");
  EXPECT_EQ(sample.outputs[0].recipe, "single");
  EXPECT_FALSE(sample.outputs[0].form.has_value());
  EXPECT_EQ(sample.outputs[1].path, "chunked[chunk=128]");
  EXPECT_EQ(sample.outputs[1].form, "chunked");
  EXPECT_FALSE(sample.outputs[1].recipe.has_value());
  const FixtureDataset& o = sample.outputs[1].tensors.datasets.at(0);
  EXPECT_EQ(o.labels, (std::vector<std::string>{"time", "key"}));
  EXPECT_EQ(std::get<double>(o.attributes.at("seconds")), 0.25);
  EXPECT_EQ(o.location, path("a.h5") + ": /outputs/chunked[chunk=128]/o");
}

TEST_F(Fixture, created_outputs_are_nan) {
  write_sample(path("a.h5"));
  const FixtureDataset o = read_fixture(path("a.h5"))[0].outputs[0].tensors.datasets.at(0);
  EXPECT_EQ(o.type, ElementType::bfloat16);
  for (Index i = 0; i < 6; ++i) EXPECT_TRUE(std::isnan(load_element(o.type, o.data, i)));
}

TEST_F(Fixture, same_content_is_the_same_bytes) {
  write_sample(path("a.h5"));
  sleep(1);  // a time of one second's resolution would show
  write_sample(path("b.h5"));
  EXPECT_EQ(bytes_of(path("a.h5")), bytes_of(path("b.h5")));
}

TEST_F(Fixture, parts_make_the_whole) {
  for (const std::vector<std::size_t>& order : {std::vector<std::size_t>{0, 1}, {1, 0}}) {
    const Tensor whole = time_key("q", ElementType::float16, order, 7, 5);
    FixtureWriter writer(path("a.h5"));
    writer.begin_case("/", "x", "x");
    writer.create("inputs", whole);
    for (Index t = 0; t < 7; t += 2) {
      const Tensor rows = whole.slice(Time::name, t, std::min<Index>(2, 7 - t));
      writer.write_part("inputs", rows.slice(Key::name, 0, 3), {t, 0});
      writer.write_part("inputs", rows.slice(Key::name, 3, 2), {t, 3});
    }
    writer.commit();
    expect_time_key(to_tensor(read_fixture(path("a.h5"))[0].inputs.datasets.at(0), whole));
  }
}

TEST_F(Fixture, a_slice_is_written_dense) {
  const Tensor whole = time_key("q", ElementType::int32, {1, 0}, 7, 5);
  FixtureWriter writer(path("a.h5"));
  writer.begin_case("/", "x", "x");
  writer.write("inputs", whole.slice(Time::name, 0, 4));
  writer.commit();
  const FixtureDataset q = read_fixture(path("a.h5"))[0].inputs.datasets.at(0);
  EXPECT_EQ(q.extents, (std::vector<Index>{5, 4}));
  expect_time_key(to_tensor(q, time_key("q", ElementType::int32, {1, 0}, 4, 5)));
}

TEST_F(Fixture, several_cases_are_groups) {
  {
    FixtureWriter writer(path("a.h5"));
    for (const std::string id : {"/0123", "/4567"}) {
      writer.begin_case(id, "x id=" + id, "x");
      writer.write("inputs", time_key("q", ElementType::float32));
    }
    writer.attribute("/", "provenance", std::string("a test"));
    writer.commit();
  }
  const std::vector<FixtureCase> cases = read_fixture(path("a.h5"));
  ASSERT_EQ(cases.size(), 2u);
  EXPECT_EQ(cases[0].group, "/0123");
  EXPECT_EQ(cases[1].case_text, "x id=/4567");
  EXPECT_NE(cases[1].inputs.find("q"), nullptr);
}

TEST_F(Fixture, long_texts_links_and_the_compact_format_come_back) {
  const std::string text(300'000, 'x'), other = "{\"a\": \"\xc3\xa9\\n\"}";
  std::size_t plain = 0;
  for (const FileFormat format : {FileFormat::plain, FileFormat::compact}) {
    FixtureWriter writer(path("a.h5"), format);
    writer.begin_case("/0123456789abcdef", "x T=3", "x");
    writer.text("", "record", text);
    writer.write("outputs/one", number("o", 2.5));
    writer.link("outputs/one/o", "outputs/two", "o");
    writer.text("/", "origin", other);
    writer.commit();
    const std::vector<FixtureCase> cases = read_fixture(path("a.h5"));
    ASSERT_EQ(cases.size(), 1u);
    EXPECT_EQ(std::get<std::string>(cases[0].attributes.at("record")), text);
    EXPECT_EQ(std::get<std::string>(cases[0].file_attributes.at("origin")), other);
    ASSERT_EQ(cases[0].outputs.size(), 2u);
    for (const FixtureOutput& output : cases[0].outputs)
      EXPECT_EQ(*static_cast<const double*>(output.tensors.find("o")->data), 2.5);
    const std::size_t size = bytes_of(path("a.h5")).size();
    EXPECT_LT(size, text.size() / 10) << "texts are compressed";
    EXPECT_TRUE(format == FileFormat::plain || size < plain / 2);
    plain = size;
  }
}

TEST_F(Fixture, without_commit_nothing_is_left) {
  {
    FixtureWriter writer(path("a.h5"));
    writer.begin_case("/", "x", "x");
    writer.write("inputs", time_key("q", ElementType::float64));
    EXPECT_EQ(files(), 1u);
  }
  EXPECT_EQ(files(), 0u);
}

TEST_F(Fixture, commit_replaces_and_keeps_the_old_file_until_then) {
  write("a.h5", "old");
  {
    FixtureWriter writer(path("a.h5"));
    writer.begin_case("/", "x", "x");
    EXPECT_EQ(bytes_of(path("a.h5")), "old");
    writer.commit();
  }
  EXPECT_EQ(read_fixture(path("a.h5"))[0].case_text, "x");
  EXPECT_EQ(files(), 1u);
}

TEST_F(Fixture, unwritable_target_is_a_usage_error) {
  write("file", "x");
  fs::create_directory(path("folder"));
  for (const char* const target : {"folder", "missing/a.h5", "file/a.h5"})
    EXPECT_THROW(FixtureWriter writer(path(target)), UsageError) << target;
  EXPECT_THROW(FixtureWriter writer("/dev/null"), UsageError);
}

// In a child, since a limit cannot be raised again; it must end well, also in libhdf5's own end.
TEST_F(Fixture, full_disk_is_a_resource_error_and_leaves_nothing) {
  write_sample(path("a.h5"));
  const auto size = static_cast<rlim_t>(fs::file_size(path("a.h5")));
  fs::remove(path("a.h5"));
  for (rlim_t limit : {rlim_t{0}, rlim_t{90}, rlim_t{500}, rlim_t{3000}, size - 1}) {
    const pid_t child = fork();
    if (child == 0) {
      const rlimit limits{limit, limit};
      setrlimit(RLIMIT_FSIZE, &limits);
      int result = 1;
      try {
        write_sample(path("a.h5"));
      } catch (const ResourceError& error) {
        const std::string message = error.what();
        result =
            message.find("a.h5") != message.npos && message.find("File too large") != message.npos
                ? 0
                : 2;
      }
      std::exit(result);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0) << "limit " << limit;
    EXPECT_EQ(files(), 0u) << "limit " << limit;
  }
}

TEST_F(Fixture, full_disk_in_a_large_dataset_is_a_resource_error) {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limits{1 << 20, 1 << 20};
    setrlimit(RLIMIT_FSIZE, &limits);
    int result = 1;
    try {
      FixtureWriter writer(path("a.h5"));
      writer.begin_case("/", "x", "x");
      writer.write("inputs", time_key("q", ElementType::float64, {}, 1 << 10, 1 << 8));
      writer.commit();
    } catch (const ResourceError&) {
      result = 0;
    }
    std::exit(result);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(files(), 0u);
}

TEST_F(Fixture, h5py_reads_what_is_written) {
  write_sample(path("a.h5"));
  std::string output;
  if (!h5py("check", path("a.h5"), &output)) GTEST_SKIP() << needs_h5py << output;
}

TEST_F(Fixture, what_h5py_writes_is_read) {
  std::string output;
  if (!h5py("write", folder_.string(), &output)) GTEST_SKIP() << needs_h5py << output;
  const auto expect_ramp = [](const FixtureDataset* dataset, ElementType type) {
    ASSERT_NE(dataset, nullptr);
    EXPECT_EQ(dataset->type, type) << dataset->location;
    ASSERT_EQ(dataset->extents, (std::vector<Index>{2, 3, 4})) << dataset->location;
    for (Index i = 0; i < 24; ++i)
      EXPECT_EQ(load_element(type, dataset->data, i), static_cast<double>(i) / 4)
          << dataset->location;
  };
  const auto expect_integers = [](const FixtureDataset* dataset, ElementType type,
                                  const std::vector<std::int64_t>& values) {
    ASSERT_NE(dataset, nullptr);
    ASSERT_EQ(dataset->type, type) << dataset->location;
    for (std::size_t i = 0; i < values.size(); ++i)
      EXPECT_EQ(type == ElementType::int64 ? static_cast<const std::int64_t*>(dataset->data)[i]
                                           : static_cast<std::int64_t>(load_element(
                                                 type, dataset->data, static_cast<Index>(i))),
                values[i])
          << dataset->location;
  };

  const FixtureCase plain = read_fixture(path("plain.h5")).at(0);
  EXPECT_EQ(plain.case_text, "simple_gla T=3");
  EXPECT_EQ(plain.operator_name, "simple_gla");
  EXPECT_EQ(plain.schema, 1);
  EXPECT_FALSE(plain.attributes.contains("tags"));
  expect_ramp(plain.inputs.find("q"), ElementType::float32);
  EXPECT_EQ(plain.inputs.find("q")->labels, (std::vector<std::string>{"", "time", ""}));
  expect_ramp(plain.inputs.find("h"), ElementType::float16);
  expect_ramp(plain.inputs.find("b"), ElementType::bfloat16);
  EXPECT_TRUE(plain.inputs.find("s")->extents.empty());
  EXPECT_EQ(*static_cast<const double*>(plain.inputs.find("s")->data), 0.5);
  EXPECT_EQ(plain.inputs.find("z")->extents, (std::vector<Index>{0, 4}));
  ASSERT_EQ(plain.outputs.size(), 2u);
  EXPECT_EQ(plain.outputs[0].recipe, "single");
  expect_ramp(plain.outputs[0].tensors.find("o"), ElementType::float64);
  EXPECT_EQ(plain.outputs[1].path, "mine");
  EXPECT_EQ(plain.outputs[1].form, "chunked");

  const FixtureGroup layouts = read_fixture(path("layouts.h5")).at(0).inputs;
  for (const char* const name : {"gzip", "checksum", "big", "compact", "committed"})
    expect_ramp(layouts.find(name), ElementType::float32);
  expect_ramp(layouts.find("big_half"), ElementType::float16);
  expect_ramp(layouts.find("big_bfloat"), ElementType::bfloat16);
  expect_integers(layouts.find("big_int"), ElementType::int32, {0, 1, 2, 3, 4, 5});
  expect_integers(layouts.find("u8"), ElementType::int64, {0, 255});
  expect_integers(layouts.find("i8"), ElementType::int8, {-128, 127});
  expect_integers(layouts.find("i16"), ElementType::int16, {-5, 5});
  expect_integers(layouts.find("u32"), ElementType::int64, {0, (std::int64_t{1} << 32) - 1});
  expect_integers(layouts.find("u64"), ElementType::int64,
                  {0, std::numeric_limits<std::int64_t>::max()});
  for (Index i = 0; i < 4; ++i)
    EXPECT_TRUE(std::isnan(static_cast<const double*>(layouts.find("unwritten")->data)[i]));

  for (const char* const name : {"block.h5", "latest.h5"})
    expect_ramp(read_fixture(path(name)).at(0).inputs.find("q"), ElementType::float32);

  const FixtureGroup unaligned = read_fixture(path("unaligned.h5")).at(0).inputs;
  for (const char* const name : {"b", "c"}) expect_ramp(unaligned.find(name), ElementType::float32);
  ReadOptions options;
  options.max_bytes = 2 * 24 * sizeof(float) - 1;
  expect_contains(usage_error(path("unaligned.h5"), options),
                  "aligned arrays take more than the 191");

  const std::vector<FixtureCase> cases = read_fixture(path("cases.h5"));
  ASSERT_EQ(cases.size(), 2u);
  EXPECT_EQ(cases[1].group, "/4567");
  EXPECT_EQ(cases[1].case_text, "simple_gla seed=4567");
  EXPECT_TRUE(read_fixture(path("nothing.h5")).at(0).inputs.datasets.empty());
}

TEST_F(Fixture, what_has_no_place_is_refused_with_its_name) {
  std::string output;
  if (!h5py("write", folder_.string(), &output)) GTEST_SKIP() << needs_h5py << output;
  const std::vector<std::array<std::string, 3>> expected{
      {"soft", "/inputs/k", "soft links are refused"},
      {"external_link", "/inputs/k", "external links are refused"},
      {"external_storage", "/inputs/k", "external storage is refused"},
      {"virtual", "/inputs/k", "virtual datasets are refused"},
      {"cycle", "/inputs/again", "linked to twice"},
      {"named_type", "/inputs/q", "neither a group nor a dataset"},
      {"unmarked", "/inputs/q", "uint16 without the attribute dtype; accepted are IEEE fp16"},
      {"complex", "/inputs/q", "a compound"},
      {"text", "/inputs/q", "text"},
      {"bool", "/inputs/q", "an enumeration"},
      {"float8", "/inputs/q", "dtype=\"float8_e5m2\""},
      {"long_double", "/inputs/q", "a float of 128 bits"},
      {"null", "/inputs/q", "no shape"},
      {"too_large_integer", "/inputs/q", "a value exceeds int64"},
      {"misspelt", "/input", "nearest: inputs"},
      {"stray", "/o", "belong in outputs"},
      {"nested", "/inputs/q", "only datasets are expected"},
      {"mixed", "/0123", "beside one in /"},
      {"schema", "/", "schema 2; this program reads schema 1"},
      {"case_list", "/", "attribute case is not one text"},
      {"user_twice", "/outputs", "of the path user too"},
      {"huge", "/inputs/q", "2147483648 x 2147483648 of fp32 are more than"},
      {"overflow", "/inputs/q", "1099511627776 x 1099511627776 of fp32 are more than"},
      {"empty_of_many", "/inputs/q", "0 x 1099511627776 x 1099511627776 elements overflow"},
      {"control", "", "control characters"},
      {"control_of_one_byte", "", "control characters"},
      {"mark_of_two_lines", "/inputs/q", "dtype=\"bfloat16\\x0a\\x1b[2J\""},
      {"unknown_filter", "/q", "filter 40000 (no name)"},
      {"many", "", "more than 10000 groups and datasets"},
      {"deep", "/g", "nested deeper"}};
  for (const auto& [name, object, reason] : expected) {
    const std::string message = usage_error(path(name + ".h5"));
    expect_contains(message, path(name + ".h5") + ": " + object);
    expect_contains(message, reason);
  }
}

TEST_F(Fixture, limits_hold_before_anything_is_allocated) {
  write_sample(path("a.h5"));
  ReadOptions options;
  options.max_bytes = 47;
  expect_contains(usage_error(path("a.h5"), options),
                  "/inputs/a: 2 x 3 of fp64 are more than the 47 bytes accepted");
  options.max_bytes = 48;
  EXPECT_EQ(usage_error(path("a.h5"), options), "no error");
}

TEST_F(Fixture, files_that_are_no_fixture_are_one_usage_error) {
  write_sample(path("a.h5"));
  const std::string sample = bytes_of(path("a.h5"));
  write("empty", "");
  write("foreign", std::string(5000, 'x'));
  write("signature", sample.substr(0, 8));
  fs::create_directory(path("folder"));
  ASSERT_EQ(mkfifo(path("pipe").c_str(), 0600), 0);
  for (const char* const name : {"empty", "foreign", "signature"})
    expect_contains(usage_error(path(name)),
                    path(name) + ": damaged or not a readable HDF5 file (");
  for (std::size_t size = 16; size < sample.size(); size += sample.size() / 20) {
    write("short", sample.substr(0, size));
    expect_contains(usage_error(path("short")), "damaged or not a readable HDF5 file (");
  }
  expect_contains(usage_error(path("folder")), "not a file");
  expect_contains(usage_error(path("pipe")), "not a file");
  expect_contains(usage_error(path("missing")), "No such file");
}

TEST_F(Fixture, a_file_without_end_to_its_reading_is_damaged) {
  // An object of no size in the heap of the texts: libhdf5 1.10 looks for the next one forever.
  write_sample(path("a.h5"));
  std::string sample = bytes_of(path("a.h5"));
  constexpr std::size_t heap_header = 16, object_header = 16;
  const std::size_t heap = sample.find("GCOL");
  ASSERT_NE(heap, sample.npos);
  sample.replace(heap + heap_header, object_header, object_header, '\0');
  write("b.h5", sample);
  ReadOptions options;
  options.time_out = std::chrono::hours(1);
  options.processor_time = std::chrono::milliseconds(300);
  expect_contains(usage_error(path("b.h5"), options),
                  path("b.h5") + ": damaged or not a readable HDF5 file (");
}

TEST_F(Fixture, flipped_bits_are_an_error_or_nothing) {
  write_sample(path("a.h5"));
  const std::string sample = bytes_of(path("a.h5"));
  std::mt19937 random(7);
  ReadOptions options;
  options.processor_time = std::chrono::milliseconds(300);
  options.max_bytes = std::uint64_t{1} << 28;
  int refused = 0;
  for (int i = 0; i < 400; ++i) {
    std::string flipped = sample;
    // Zeros are mostly unused room; the file is read where it says something.
    std::size_t place;
    do place = random() % flipped.size();
    while (flipped[place] == 0 && random() % 8 != 0);
    flipped[place] = static_cast<char>(flipped[place] ^ (1 << (random() % 8)));
    write("b.h5", flipped);
    const std::string message = usage_error(path("b.h5"), options);
    refused += message != "no error";
  }
  EXPECT_GT(refused, 20);
}

FixtureDataset dataset_of(std::vector<Index> extents, std::vector<std::string> labels = {}) {
  FixtureDataset dataset;
  dataset.location = "a.h5: /outputs/ht";
  dataset.extents = std::move(extents);
  dataset.labels = std::move(labels);
  return dataset;
}

std::string mismatch(const FixtureDataset& dataset, const Tensor& expected) {
  try {
    to_tensor(dataset, expected);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no error";
}

TEST(FixtureShape, transposition_is_named_as_such) {
  const auto state = [](Index keys, Index values, std::vector<std::size_t> order = {}) {
    return Tensor::allocate("ht", ElementType::float32,
                            {{Key::name, keys, 0}, {Value::name, values, 0}}, order);
  };
  EXPECT_EQ(mismatch(dataset_of({4, 2}), state(2, 4)),
            "a.h5: /outputs/ht: 4 x 2: this is [value, key]; expected [key, value]: transposed");
  EXPECT_EQ(mismatch(dataset_of({2, 4}), state(2, 4, {1, 0})),
            "a.h5: /outputs/ht: 2 x 4: this is [key, value]; expected [value, key]: transposed");
  EXPECT_EQ(mismatch(dataset_of({2, 5}), state(2, 4)),
            "a.h5: /outputs/ht: the shape is 2 x 5; expected [key, value] = 2 x 4");
  EXPECT_EQ(mismatch(dataset_of({2, 4, 1}), state(2, 4)),
            "a.h5: /outputs/ht: the shape is 2 x 4 x 1; expected [key, value] = 2 x 4");
  EXPECT_EQ(mismatch(dataset_of({}), state(2, 4)),
            "a.h5: /outputs/ht: the shape is a single number; expected [key, value] = 2 x 4");
}

TEST(FixtureShape, labels_tell_a_transposed_square) {
  const Tensor state =
      Tensor::allocate("ht", ElementType::float32, {{Key::name, 4, 0}, {Value::name, 4, 0}});
  EXPECT_EQ(mismatch(dataset_of({4, 4}), state), "no error");
  EXPECT_EQ(mismatch(dataset_of({4, 4}, {"key", "value"}), state), "no error");
  EXPECT_EQ(mismatch(dataset_of({4, 4}, {"K", "V"}), state), "no error");
  expect_contains(mismatch(dataset_of({4, 4}, {"value", "key"}), state), "transposed");
}

}  // namespace
}  // namespace groundstate::harness
