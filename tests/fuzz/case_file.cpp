// Fuzz target: the input is the text of a .cases file, or of several that may include each other
// (named 0, 1, .., with a zero byte between them; the first is read). Either a UsageError of one
// line says what is wrong, or the entries that were read, written as a file, are read again as the
// same entries.
#include "harness/case/case_file.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "harness/case/error.hpp"
#include "harness/case/text.hpp"
#include "harness/operators/registry.hpp"
#include "tests/fuzz/demand.hpp"

namespace groundstate::harness {
namespace {

// A folder of this process, removed at its end.
class Folder {
 public:
  Folder() {
    std::string pattern = std::filesystem::temp_directory_path() / "fuzz_case_file_XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::filesystem::path put(std::size_t number, std::string_view text) const {
    const std::filesystem::path path = path_ / std::to_string(number);
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }

 private:
  std::filesystem::path path_;
};

std::string as_file(const std::vector<CaseEntry>& entries) {
  std::string text;
  for (const CaseEntry& entry : entries) {
    text += fmt::format("{} | {}", entry.value.canonical(), entry.reason);
    for (const RaisedLimit& limit : entry.raised)
      text += fmt::format("\n  | raise {}/{} x{} until {}: {}", limit.path, limit.clause,
                          text_of(limit.factor), limit.last_day(), limit.reason);
    text += '\n';
  }
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  // An include may name it.
  return std::freopen("/dev/null", "r", stdin) == nullptr;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t most_files = 12, written_again = 100;
  static const Folder folder;
  const auto texts = split({reinterpret_cast<const char*>(data), size}, '\0');
  if (texts.size() > most_files) return -1;
  for (std::size_t i = texts.size(); i-- > 1;) folder.put(i, texts[i]);
  std::vector<CaseEntry> entries;
  try {
    entries = read_case_file(folder.put(0, texts[0]), grammars());
  } catch (const UsageError& error) {
    fuzz::demand_one_line(error.what());
    return 0;
  }
  if (entries.size() > written_again) return 0;
  const std::string text = as_file(entries);
  const std::vector<CaseEntry> again = read_case_file(folder.put(0, text), grammars());
  fuzz::demand(as_file(again) == text, "entries are read as they are written", text);
  return 0;
}

}  // namespace groundstate::harness
