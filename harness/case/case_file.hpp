// Lists of cases: files named *.cases, given on the command line as @data/simple_gla.cases.
//
//   # A comment is a line of its own.
//   @boundaries.cases
//   simple_gla T=1027 gate=slow | long memory: shows a bf16 state
//   simple_gla T=65 gate=growth,fast | the masked half of the chunk overflows (issue #12)
//       | raise chunked/max x2 until 2027-06-01: the gate is exponentiated before the mask
//
// An entry is a case line (one case or a sweep) and fields separated by " | ":
//   the reason why the cases are in the list, which every entry has;
//   then any number of raised limits:  raise <path>/<clause> x<factor> until <year-month-day>:
//   <reason>
// A line that begins with '|' continues the entry above it.
// '@' includes another file, named relative to this one; a file that is included twice is read
// once, and files nest at most 8 deep. A case that is listed twice is kept in its first place, with
// the reasons and the raised limits of both. The text is UTF-8 without control characters, at most
// 16 MiB a file and 64 KiB an entry; all files together hold at most a million cases.
//
// Everything else throws UsageError, which names file and line.
#pragma once

#include <chrono>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "harness/case/case_line.hpp"

namespace groundstate::harness {

// A limit of the judge that is `factor` times as wide for one path and clause of a case.
struct RaisedLimit {
  std::string
      path;  // the text of a path variant (path_variant.hpp), of which only the form is checked
  std::string clause;                   // a name of the judge's, not checked
  double factor = 1;                    // > 1
  std::chrono::year_month_day expires;  // the last day on which it holds
  std::string reason;
  std::string source;  // file:line of the entry

  bool expired_on(std::chrono::year_month_day today) const { return today > expires; }
  std::string last_day() const;  // "2027-06-01"; the formats of fmt end in the year 2262
};

struct CaseEntry {
  Case value;
  std::string reason;
  std::vector<RaisedLimit> raised;
  std::string source;  // file:line
};

// The cases of a file and of those it includes, in order. The grammars must outlive the result.
std::vector<CaseEntry> read_case_file(const std::filesystem::path& path,
                                      std::span<const Grammar> grammars);

}  // namespace groundstate::harness
