// Fuzz target: the input is a case line, perhaps a sweep. Either a UsageError of one line says what
// is wrong with it, or every case that it stands for is the case of its canonical line, under the
// same id, and its operator knows its tensors or says in one line why there are none.
#include "harness/case/case_line.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "harness/case/error.hpp"
#include "harness/case/sweep.hpp"
#include "harness/operators/registry.hpp"
#include "harness/run/run_case.hpp"
#include "tests/fuzz/demand.hpp"

namespace groundstate::harness {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t looked_at = 100;  // of the cases of a sweep
  try {
    const std::vector<Case> cases = expand({reinterpret_cast<const char*>(data), size}, grammars());
    for (const Case& c : std::span(cases).first(std::min(looked_at, cases.size()))) {
      const std::string line = c.canonical();
      const Case again = parse_case(line, grammars());
      fuzz::demand(again == c && again.canonical() == line && again.id() == c.id(),
                   "a canonical line is the case", line);
      check_case(operator_of(c), c);
    }
  } catch (const UsageError& error) {
    fuzz::demand_one_line(error.what());
  }
  return 0;
}

}  // namespace groundstate::harness
