// One timing = one (case, path) on one device, and its line of the JSON record:
//
//   schema kind("bench") date case id operator path device status median quartiles repetitions cold
//   bytes flops overhead ceiling{of seconds} percent driver clocks{name: number} library note
//   reproducer environment
//
// A path that is not timed has its status and the reason (`note`), and the work, but no times. A
// row that another library's driver writes has `library` as well, its name and version; `id` is
// that of the case (`groundstate list CASE --json`), by which rows are set against each other. Such
// a row may leave out date, driver, clocks, overhead, ceiling, reproducer and environment.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "harness/clock/ceilings.hpp"
#include "harness/clock/statistics.hpp"
#include "harness/judge/status.hpp"

namespace groundstate::harness {

struct Timing {
  Quartiles seconds;
  Index repetitions = 0;
};

struct BenchRow {
  std::string case_text, id, operator_name;
  std::string path, library, device, driver, date;  // UTC, "2026-11-22"
  Status status = Status::passed;
  std::optional<Timing> timing;  // absent where it was not timed
  bool cold = true;
  double flops = 0, bytes = 0;
  double overhead = 0;             // seconds of launching nothing
  std::optional<Ceiling> ceiling;  // absent where there is no percentage
  std::map<std::string, double> clocks;
  std::string note, reproducer;

  // 100 ceiling / median.
  std::optional<double> percent() const;
};

inline constexpr const char* bench_kind = "bench";
nlohmann::json to_record(const BenchRow& row);

}  // namespace groundstate::harness
