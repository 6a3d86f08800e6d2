// Results as text for a terminal.
//
// Layout: one block a case with a line a path, or, for many cases, one line a case with what failed
// below it. Every result ends in its reproducer. Colour only where asked for.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "harness/run/result.hpp"

namespace groundstate::harness {

struct TableStyle {
  bool colour = false;
  bool compact = false;  // one line a case
};

// In the colour of the status, where colour is wanted.
std::string painted(std::string_view text, Status status, const TableStyle& style);

std::string render(const CaseReport& report, const TableStyle& style);

// Every clause of a result, value / limit, tensor by tensor.
std::string render_clauses(const Result& result, const TableStyle& style);

// Of the oracle, where one was asked for; else empty.
std::string render_certificate(const Result& result);

// The last line of a run: how many results have which status.
struct Tally {
  Index cases = 0, passed = 0, marginal = 0, failed = 0, mistrusted = 0, unsupported = 0,
        unavailable = 0;
  Index equalities = 0, broken_equalities = 0, raised_limit_problems = 0;
  void add(const CaseReport& report);
  void add(Status status);  // one result more
  void add(const Tally& other);
  Index judged() const { return passed + marginal + failed + mistrusted; }
  bool any_failure() const {
    return failed + mistrusted + broken_equalities + raised_limit_problems > 0;
  }
};
std::string render(const Tally& tally, const TableStyle& style);

}  // namespace groundstate::harness
