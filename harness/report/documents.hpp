// The formats of a report. The same records are the same bytes: no dates, no names of hosts.
//
//   page     one HTML file that needs nothing else: no network, no script
//   summary  Markdown for a pull request; case lines and paths as code, the rest escaped
//   csv      RFC 4180: a line a tensor of a result or of a comparison, a line a bitwise contract, a
//            timing, a mutant and a raised limit that is a problem; text that a spreadsheet would
//            compute is preceded by an apostrophe
//   junit    a suite a case, a test a path, a comparison, a contract or a problem of a raised
//   limit,
//            and a suite of timings and one of mutants; MARGINAL is no failure, a mutant that
//            survives is one
#pragma once

#include <string>
#include <vector>

#include "harness/report/overview.hpp"

namespace groundstate::harness {

struct PageOptions {
  // Results whose case or path contains one of these are drawn as well.
  std::vector<std::string> chosen;
  // Where harness/judge/README.md is, seen from the page; empty: no link.
  std::string judge_page;
};

struct Page {
  std::string html;
  std::string missing_pictures;    // why there are none; empty when there are
  Index drawn = 0, not_drawn = 0;  // results that failed or were chosen, in detail or not
};

inline constexpr std::size_t most_drawn_results = 100;

Page page(const Records& records, const Overview& overview, const PageOptions& options);
std::string summary(const Records& records, const Overview& overview);
std::string csv(const Records& records);
std::string junit(const Overview& overview);

}  // namespace groundstate::harness
