#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <sstream>

#include "harness/doctor/checks.hpp"
#include "harness/evidence/coverage.hpp"
#include "harness/operators/registry.hpp"
#include "harness/operators/support_table.hpp"

namespace groundstate::harness {
namespace {

constexpr const char* check = "README";
constexpr std::string_view begin_marker = "<!-- support -->\n", end_marker = "<!-- /support -->";

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// The lines between the markers; nothing when they are not both there.
std::optional<std::vector<std::string>> table_in(const std::string& readme) {
  const std::size_t begin = readme.find(begin_marker);
  if (begin == readme.npos) return std::nullopt;
  const std::size_t first = begin + begin_marker.size(), end = readme.find(end_marker, first);
  if (end == readme.npos) return std::nullopt;
  return lines_of(readme.substr(first, end - first));
}

void compare(const std::vector<std::string>& expected, const std::vector<std::string>& given,
             Finding& finding) {
  const auto report = [&](std::string_view what, const std::vector<std::string>& rows,
                          const std::vector<std::string>& others) {
    for (const std::string& row : rows)
      if (std::ranges::find(others, row) == others.end())
        finding.missing.push_back(fmt::format("the support table {} the row {}", what, row));
  };
  report("lacks", expected, given);
  report("still has", given, expected);
  if (finding.ok() && expected != given)
    finding.missing.push_back("the support table has its rows in another order, or twice");
}

bool names_verb(const std::string& readme, const std::string& verb) {
  const std::string wanted = "groundstate " + verb;
  for (std::size_t at = 0; (at = readme.find(wanted, at)) != readme.npos; ++at) {
    const std::size_t end = at + wanted.size();
    if (end == readme.size() ||
        !(std::isalnum(static_cast<unsigned char>(readme[end])) || readme[end] == '-'))
      return true;
  }
  return false;
}

}  // namespace

std::vector<Finding> check_readme(const SourceTree& tree, std::span<const std::string> verbs,
                                  const std::vector<Evidence>& evidence) {
  Finding whole{check, "", fmt::format("{} verbs", verbs.size())};
  const std::optional<std::string> readme = tree.text("README.md");
  if (!readme) {
    whole.missing.push_back("README.md is missing");
    return {whole};
  }
  for (const std::string& verb : verbs)
    if (!names_verb(*readme, verb))
      whole.missing.push_back(fmt::format("'groundstate {}' is not named", verb));
  std::optional<std::vector<std::string>> table = table_in(*readme);
  if (!table) {
    whole.missing.push_back("the markers of the support table are missing");
    return {whole};
  }

  std::vector<Finding> result;
  for (const auto& op : operators()) {
    const std::string start = fmt::format("| {} |", op->grammar().operator_name);
    std::vector<std::string> own;
    for (const std::string& line : *table)
      if (line.starts_with(start)) own.push_back(line);
    std::erase_if(*table, [&](const std::string& line) { return line.starts_with(start); });
    const std::vector<std::string> rows = support_rows(*op, [&](const Path& path) {
      return coverage(evidence, op->grammar().operator_name, path).mark();
    });
    Finding finding{check, op->grammar().operator_name, fmt::format("{} rows", rows.size())};
    compare(rows, own, finding);
    result.push_back(std::move(finding));
  }
  compare(support_header(), *table, whole);  // what is left belongs to no operator
  result.push_back(std::move(whole));
  return result;
}

}  // namespace groundstate::harness
