// The tables of the calibration: of harness/judge/README.md, and of the report.
#pragma once

#include <string>
#include <vector>

#include "harness/calibrate/record.hpp"

namespace groundstate::harness {

struct CalibrationTable {
  std::string name;   // "studies", "honest", "kernels", ...
  std::string title;  // what it shows, a sentence
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
  std::size_t texts = 1;  // the first so many columns are words, the others numbers
};

// All tables, in the order of the page; one that the records say nothing of has no rows.
std::vector<CalibrationTable> calibration_tables(const std::vector<CalibrationRecord>& records);

// GitHub's Markdown.
std::string markdown(const CalibrationTable& table);

// The page with all that stands between a line `<!-- table NAME -->` and the next `<!-- /table -->`
// made anew. Throws UsageError for a table that there is not, or a marker without its end.
std::string with_tables(std::string page, const std::vector<CalibrationRecord>& records);

// One line: how much was measured, and what failed.
std::string headline(const CalibrationRecord& record);

}  // namespace groundstate::harness
