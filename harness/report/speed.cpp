#include "harness/report/speed.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

namespace groundstate::harness {
namespace {

using Group = std::vector<const ReportedTiming*>;

bool comparable(const BenchRow& row) { return row.timing && !is_failure(row.status); }

double median(const ReportedTiming* own) { return own->row.timing->seconds.median; }

// Of the timed ones; null where there is none.
const ReportedTiming* fastest(const Group& group, const std::string* library = nullptr) {
  const ReportedTiming* best = nullptr;
  for (const ReportedTiming* const own : group)
    if (comparable(own->row) && (library == nullptr || own->row.library == *library) &&
        (best == nullptr || median(own) < median(best)))
      best = own;
  return best;
}

std::vector<std::string> other_libraries(const ReportedTiming* own, const Group& group) {
  std::vector<std::string> names, result;
  for (const ReportedTiming* const each : group) {
    const std::string& name = each->row.library;
    if (name.empty() || name == own->row.library || std::ranges::find(names, name) != names.end())
      continue;
    names.push_back(name);
    if (const ReportedTiming* const other = fastest(group, &name))
      result.push_back(fmt::format("{:.2f} {}", median(other) / median(own), name));
  }
  return result;
}

std::string rate(const BenchRow& row, double work) {
  return row.timing ? fmt::format("{:.3g}", 1e-9 * work / row.timing->seconds.median) : "";
}

}  // namespace

std::string short_seconds(double seconds) {
  if (seconds >= 0.9995) return fmt::format("{:.3g} s", seconds);
  if (seconds >= 0.9995e-3) return fmt::format("{:.3g} ms", 1e3 * seconds);
  return fmt::format("{:.3g} us", 1e6 * seconds);
}

std::string path_and_library(const BenchRow& row) {
  return row.library.empty() ? row.path : fmt::format("{} ({})", row.path, row.library);
}

std::string spread(const BenchRow& row) {
  if (!row.timing) return "";
  const Quartiles& seconds = row.timing->seconds;
  return fmt::format("{} [{}, {}]", short_seconds(seconds.median), short_seconds(seconds.first),
                     short_seconds(seconds.third));
}

std::string gigaflops(const BenchRow& row) { return rate(row, row.flops); }
std::string gigabytes(const BenchRow& row) { return rate(row, row.bytes); }

std::string share(const BenchRow& row) {
  if (!row.timing) return "";
  const auto percent = row.percent();
  return percent    ? fmt::format("{:.0f} % of {}", *percent, row.ceiling->of)
         : row.cold ? ""
                    : "warm";
}

std::string render(const BenchRow& row) {
  std::string line = fmt::format("  {:<11} {:<34}", name_of(row.status), row.path);
  if (row.timing)
    line += fmt::format(" {:<30} {:>7} GFLOP/s {:>7} GB/s  {}", spread(row), gigaflops(row),
                        gigabytes(row), share(row));
  if (!row.note.empty()) line += (row.timing ? "  " : " ") + row.note;
  line += '\n';
  return is_failure(row.status) ? line + fmt::format("      {}\n", row.reproducer) : line;
}

std::vector<ComparedTiming> compared(const std::vector<ReportedTiming>& timings) {
  std::vector<Group> groups;
  std::map<std::pair<std::string, std::string>, std::size_t> places;
  for (const ReportedTiming& own : timings) {
    const auto [place, is_new] = places.try_emplace({own.id, own.row.device}, groups.size());
    if (is_new) groups.emplace_back();
    groups[place->second].push_back(&own);
  }
  std::vector<ComparedTiming> result;
  for (const Group& group : groups) {
    const ReportedTiming* const best = fastest(group);
    for (const ReportedTiming* const own : group) {
      ComparedTiming& line = result.emplace_back();
      line.timing = own;
      line.first = own == group.front();
      if (!comparable(own->row)) continue;
      line.ratio = median(own) / median(best);
      line.libraries = other_libraries(own, group);
    }
  }
  return result;
}

}  // namespace groundstate::harness
