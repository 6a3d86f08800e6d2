// Timings as text, and side by side: rows of the same case on the same device are comparable,
// whoever wrote them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "harness/report/records.hpp"

namespace groundstate::harness {

// For a terminal: one line, and the reproducer of what failed.
std::string render(const BenchRow& row);

// "12.3 ms"
std::string short_seconds(double seconds);
// "chunk (fla 0.4.1)"
std::string path_and_library(const BenchRow& row);
// "12.3 ms [12.1, 12.9]"; empty where nothing was timed.
std::string spread(const BenchRow& row);
// Work per second in units of 1e9; empty where nothing was timed.
std::string gigaflops(const BenchRow& row);
std::string gigabytes(const BenchRow& row);
// "41 % of copy"; "warm" where a time has no percentage.
std::string share(const BenchRow& row);

struct ComparedTiming {
  const ReportedTiming* timing = nullptr;
  bool first = false;  // of its case and device
  // Its median over that of the fastest row of the same case and device.
  std::optional<double> ratio;
  // Times as fast as the fastest row of each other library there: "1.31 fla 0.4.1".
  std::vector<std::string> libraries;
};

// In the order of the records, those of one case and device together. A time that FAILED is not
// compared.
std::vector<ComparedTiming> compared(const std::vector<ReportedTiming>& timings);

}  // namespace groundstate::harness
