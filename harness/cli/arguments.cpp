#include "harness/cli/arguments.hpp"

#include <fmt/format.h>

#include <limits>

#include "harness/case/error.hpp"
#include "harness/case/sweep.hpp"
#include "harness/case/text.hpp"
#include "harness/operators/registry.hpp"
#include "harness/run/run_case.hpp"

namespace groundstate::harness::cli {

std::vector<CaseEntry> expand_arguments(const std::vector<std::string>& arguments) {
  std::vector<CaseEntry> entries;
  for (const std::string& argument : arguments) {
    if (argument == "@") {
      throw UsageError("'@' names no file (accepted: @FILE)");
    } else if (argument.starts_with('@')) {
      for (CaseEntry& entry : read_case_file(argument.substr(1), grammars()))
        entries.push_back(std::move(entry));
    } else {
      for (Case& c : expand(argument, grammars())) entries.push_back({std::move(c), {}, {}, {}});
    }
  }
  for (const CaseEntry& entry : entries) {
    try {
      check_case(operator_of(entry.value), entry.value);
    } catch (const UsageError& error) {
      if (entry.source.empty()) throw;
      throw UsageError(fmt::format("{}: {}", entry.source, error.what()));
    }
  }
  return entries;
}

std::string pairs_option(const std::string& text) {
  const bool good = text == "all" || text == "auto" || integer_of(text).value_or(0) >= 1;
  return good ? "" : fmt::format("{} (accepted: all, auto, a number from 1 on)", text);
}

std::string positive_number(const std::string& text) {
  const bool good = real_of(text).value_or(0) > 0;
  return good ? "" : fmt::format("{} (accepted: a number above 0)", text);
}

std::string time_out_option(const std::string& text) {
  const double seconds = real_of(text).value_or(0);
  const bool good = seconds >= 0.001 && seconds <= 1e6;
  return good ? "" : fmt::format("{} (accepted: seconds from 0.001 to 1e6)", text);
}

std::string file_name(const std::string& text) {
  return text.empty() ? "the name is empty (accepted: the name of a file)" : "";
}

std::optional<Index> pairs_of(const std::string& text) {
  if (text == "auto") return std::nullopt;
  return text == "all" ? std::numeric_limits<Index>::max() : integer_of(text).value();
}

CaseEntry single_case(const std::vector<std::string>& arguments) {
  std::vector<CaseEntry> entries = expand_arguments(arguments);
  if (entries.size() != 1)
    throw UsageError(fmt::format("one case is accepted here, {} are given", entries.size()));
  return entries.front();
}

}  // namespace groundstate::harness::cli
