// Who may include whom:
//
//   reference/core <- reference/<op> <- gpu/<op> <- harness/operators/<op> <- harness/cli, tests
//
// Two tables say it: `layers` for the files of the tree (what is not listed is forbidden),
// `libraries` for what comes from outside (what is not listed is free). The tests read the #include
// lines of all sources under the working directory, which is the root of the tree.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace groundstate {
namespace {

// ---- the rule

// Headers that compile for a device: they include neither Eigen nor OpenMP.
const std::string device_core =
    "reference/core/"
    "(axis|view|scalar|gate|philox|tensor_list|elementary|trigonometric|encoding|lane)\\.hpp";
const std::string device_contract = "reference/OP/(contract|lane)\\.hpp";
// How the harness knows operators: a description and a table of them.
const std::string registry =
    "harness/operators/"
    "(operator|forwarding_operator|judgeable|stage_axes|registry|device_run)\\.hpp";
const std::string support_table = "harness/operators/support_table\\.hpp";

// The first layer that matches a file is its layer. Both are regular expressions, of a path from
// the root; OP in `files` stands for the name of one operator, and in `may_include` for the same
// name.
struct Layer {
  std::string files, may_include;
};
const std::vector<Layer> layers = {
    {device_core, device_core},
    {"reference/core/.*", "reference/core/.*"},
    {device_contract, device_core + "|" + device_contract},
    {"reference/OP/.*", "reference/(core|OP)/.*"},
    {"gpu/core/.*", "gpu/core/.*|" + device_core},
    {"gpu/OP/.*", "gpu/(core|OP)/.*|" + device_core + "|" + device_contract},
    {"harness/case/.*", "harness/case/.*|reference/core/.*"},
    {"harness/process/.*", "harness/(case|process)/.*|reference/core/.*"},
    {"harness/fixture/.*", "harness/(case|process|fixture)/.*|reference/core/.*"},
    {"harness/(generate|judge)/.*", "harness/(case|SAME)/.*|reference/core/.*"},
    {"harness/operators/OP/.*", "(harness/(case|generate|judge|operators)|reference|gpu)/.*"},
    {"harness/operators/.*",
     "(harness/(case|generate|judge|operators)|reference/core|gpu/core)/.*"},
    {"harness/mutants/(OP(_backward)?\\.cpp|edit\\.[ch]pp|pool_edit\\.[ch]pp)",
     "(harness/(case|generate|mutants|operators)|reference)/.*"},
    {"harness/calibrate/.*",
     "harness/(case|generate|judge|run|mutants|calibrate)/.*|reference/core/.*|" + registry},
    {"harness/(run|golden|mutants)/.*",
     "harness/(case|generate|judge|process|fixture|run|SAME)/.*|reference/core/.*|" + registry},
    {"harness/evidence/.*",
     "harness/(case|generate|judge|fixture|run|evidence)/.*|reference/core/.*|" + registry},
    {"harness/clock/.*",
     "harness/(case|generate|judge|run|clock)/.*|reference/core/.*|" + registry + "|gpu/core/.*"},
    {"harness/doctor/.*", "harness/(case|generate|run|golden|evidence|mutants|doctor)/.*|" +
                              registry + "|" + support_table},
    {"harness/report/.*",
     "harness/(case|judge|run|calibrate|clock|evidence|report)/.*|reference/core/.*|" + registry},
    {"harness/cli/.*", "(harness|reference|gpu)/.*"},
    {"tests/.*", "(tests|harness|reference|gpu)/.*"},
};

// A library, by what follows `#include` or `#pragma`, and the only files that may name it.
struct Library {
  std::string name, line, files;
};
const std::vector<Library> libraries = {
    {"OpenMP", "#include <omp\\.h>|#pragma omp\\b.*", "reference/core/parallel\\.hpp"},
    {"Eigen", "#include [<\"](unsupported/)?Eigen/.*", "(reference|harness|tests)/.*"},
    {"CUDA", "#include [<\"](cuda|cub/|thrust/|nv/|cooperative_groups).*", "gpu/.*|tests/gpu/.*"},
    {"HDF5", "#include [<\"](hdf5|H5)[^>\"]*[>\"].*",
     "(harness/fixture/|tests/harness/fixture|tests/fuzz/planned_file).*"},
    {"CLI11", "#include [<\"]CLI/.*", "harness/cli/.*"},
    {"mustache", "#include <kainjow/.*", "harness/report/.*"},
    {"GoogleTest", "#include [<\"](gtest|gmock)/.*", "tests/.*"},
};

// ---- its check

std::string replaced(std::string text, std::string_view word, std::string_view by) {
  for (std::size_t at = 0; (at = text.find(word, at)) != std::string::npos; at += by.size())
    text.replace(at, word.size(), by);
  return text;
}

// What a file of this path may include of the tree; none when the path belongs to no layer.
std::string allowed_includes(const std::string& path) {
  static const std::regex folders("([^/]+)/([^/]+)/.*");
  std::smatch part;
  const std::string folder = std::regex_match(path, part, folders) ? part[2].str() : "";
  for (const Layer& layer : layers)
    if (std::regex_match(path, std::regex(replaced(layer.files, "OP", "[a-z0-9_]+"))))
      return replaced(replaced(layer.may_include, "OP", folder), "SAME", folder);
  return {};
}

// Each violation as a sentence. `text` is the content of the file at `path`.
std::vector<std::string> violations(const std::string& path, const std::string& text) {
  static const std::regex directive("[ \\t]*#[ \\t]*(include|pragma)[ \\t]+(.*)"),
      quoted("#include \"([^\"]*)\".*");
  const std::string allowed = allowed_includes(path);
  if (allowed.empty()) return {path + " belongs to no layer of tests/dependency_test.cpp"};
  const std::regex may_include(allowed);
  std::vector<std::string> result;
  std::istringstream lines(text);
  std::smatch match;
  for (std::string raw; std::getline(lines, raw);) {
    if (!std::regex_match(raw, match, directive)) continue;
    const std::string line = "#" + match[1].str() + " " + match[2].str();
    const auto library = std::find_if(libraries.begin(), libraries.end(), [&](const Library& l) {
      return std::regex_match(line, std::regex(l.line));
    });
    if (library != libraries.end()) {
      if (!std::regex_match(path, std::regex(library->files)))
        result.push_back(path + " may not see " + library->name + ": " + line);
    } else if (std::regex_match(line, match, quoted) &&
               !std::regex_match(match[1].str(), may_include)) {
      result.push_back(path + " may not see " + match[1].str());
    }
  }
  return result;
}

// ---- tests

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> sources() {
  std::vector<std::string> result;
  for (const char* const root : {"reference", "gpu", "harness", "tests"})
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root))
      if (std::regex_match(entry.path().filename().string(), std::regex(".*\\.(hpp|cpp|cu|cuh|h)")))
        result.push_back(entry.path().generic_string());
  std::sort(result.begin(), result.end());
  return result;
}

TEST(Dependency, EverySourceKeepsTheRule) {
  const std::vector<std::string> all = sources();
  ASSERT_GT(all.size(), 20u) << "run from the root of the tree";
  for (const std::string& path : all)
    for (const std::string& violation : violations(path, content(path))) ADD_FAILURE() << violation;
}

TEST(Dependency, EveryQuotedIncludeNamesAFileOfTheTree) {
  const std::regex quoted("#include \"([^\"]*)\".*");
  for (const std::string& path : sources()) {
    std::istringstream lines(content(path));
    std::smatch match;
    for (std::string line; std::getline(lines, line);) {
      const bool named = std::regex_match(line, match, quoted);
      EXPECT_TRUE(!named || std::filesystem::exists(match[1].str())) << path << ": " << line;
    }
  }
}

struct Example {
  const char *path, *line;
};

class Violation : public testing::TestWithParam<Example> {};
TEST_P(Violation, IsCaught) {
  EXPECT_EQ(violations(GetParam().path, GetParam().line).size(), 1u)
      << GetParam().path << ": " << GetParam().line;
}
INSTANTIATE_TEST_SUITE_P(
    , Violation,
    testing::Values(
        Example{"reference/core/view.hpp", "#include \"reference/core/matrix.hpp\""},
        Example{"reference/core/view.hpp", "#include \"reference/gla/contract.hpp\""},
        Example{"reference/core/recipe.hpp", "#include \"reference/gla/contract.hpp\""},
        Example{"reference/gla/contract.hpp", "#include \"reference/core/matrix.hpp\""},
        Example{"reference/gla/step.hpp", "#include \"reference/kda/step.hpp\""},
        Example{"reference/gla/step.hpp", "#include \"harness/case/tensor.hpp\""},
        Example{"reference/gla/step.hpp", "#include <cuda_runtime.h>"},
        Example{"reference/gla/step.hpp", "#include <hdf5.h>"},
        Example{"reference/gla/step.hpp", "  #  pragma   omp parallel for"},
        Example{"reference/gla/step.hpp", "#include <omp.h>"},
        Example{"gpu/gla/chunked.cu", "#include \"reference/gla/chunked.hpp\""},
        Example{"gpu/gla/chunked.cu", "#include \"reference/kda/contract.hpp\""},
        Example{"gpu/gla/chunked.cu", "#include \"reference/core/matrix.hpp\""},
        Example{"gpu/gla/chunked.cu", "#include <Eigen/Core>"},
        Example{"gpu/core/device.cu", "#include \"gpu/gla/gla.hpp\""},
        Example{"harness/judge/verdict.cpp", "#include \"reference/gla/contract.hpp\""},
        Example{"harness/judge/verdict.cpp", "#include \"harness/operators/gla.hpp\""},
        Example{"harness/judge/verdict.cpp", "#include \"harness/fixture/fixture.hpp\""},
        Example{"harness/operators/gla/binding.cpp", "#include \"harness/cli/run.hpp\""},
        Example{"harness/operators/operator.hpp", "#include \"reference/gla/contract.hpp\""},
        Example{"harness/run/judge_case.cpp", "#include \"harness/operators/gla/binding.hpp\""},
        Example{"harness/doctor/paths.cpp", "#include \"harness/operators/gla/binding.hpp\""},
        Example{"harness/doctor/goldens.cpp", "#include \"harness/fixture/read.hpp\""},
        Example{"harness/operators/gla.cpp", "#include <hdf5.h>"},
        Example{"harness/case/sweep.cpp", "#include <CLI/CLI.hpp>"},
        Example{"harness/cli/run.cpp", "#include \"tests/harness/fake.hpp\""},
        Example{"harness/cli/run.cpp", "#include \"run.hpp\""}, Example{"common/helpers.cpp", ""}));

class Keeping : public testing::TestWithParam<Example> {};
TEST_P(Keeping, IsNotReported) {
  EXPECT_EQ(violations(GetParam().path, GetParam().line), std::vector<std::string>{});
}
INSTANTIATE_TEST_SUITE_P(
    , Keeping,
    testing::Values(
        Example{"reference/core/parallel.hpp", "#include <omp.h>\n#pragma omp parallel for"},
        Example{"reference/core/matrix.hpp", "#include <Eigen/Core>\n#pragma GCC unroll 8"},
        Example{"reference/gla/step.hpp", "#include \"reference/gla/contract.hpp\""},
        Example{"gpu/gla/chunked.cu",
                "#include \"reference/gla/contract.hpp\"\n#include <cuda/ptx>"},
        Example{"harness/judge/verdict.cpp",
                "#include \"harness/case/tensor.hpp\"\n#include <vector>"},
        Example{"harness/fixture/read.cpp", "#include <hdf5.h>\n#include <hdf5_hl.h>"},
        Example{"harness/operators/gla/binding.cpp", "#include \"gpu/gla/gla.hpp\""},
        Example{"harness/cli/run.cpp",
                "#include <CLI/CLI.hpp>\n#include \"harness/judge/verdict.hpp\""},
        Example{"tests/core/view_test.cpp", "// #include <hdf5.h>\n#include <gtest/gtest.h>"}));

}  // namespace
}  // namespace groundstate
