#include "harness/report/determinism.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <regex>

namespace groundstate::harness {
namespace {

std::string without_keys(std::string path) {
  for (std::size_t at = 0; (at = path.find('[', at)) != path.npos;) {
    const std::size_t end = path.find(']', at);
    if (end == path.npos) break;
    path.erase(at, end + 1 - at);
  }
  return path;
}

// The contract of one path, or of two.
struct ContractKind {
  std::vector<std::string> paths;
  std::string name;
};

ContractKind kind_of(const std::string& equality) {
  if (const std::size_t at = equality.find(" = "); at != equality.npos) {
    std::string left = without_keys(equality.substr(0, at)),
                right = without_keys(equality.substr(at + 3));
    if (left == right) return {{left}, "own variants"};
    return {{left, right}, "another path"};
  }
  static const std::regex numbers("\\b(0x[0-9a-fA-F]+|[0-9]+)\\b");
  const std::size_t at = equality.find(": ");
  if (at == equality.npos) return {{equality}, "other"};
  return {{without_keys(equality.substr(0, at))},
          std::regex_replace(equality.substr(at + 2, 200), numbers, "n")};
}

}  // namespace

void DeterminismProfile::add(const EqualityResult& equality) {
  const ContractKind kind = kind_of(equality.name);
  for (const std::string& path : kind.paths) {
    if (std::ranges::find(rows_, path) == rows_.end()) rows_.push_back(path);
    if (std::ranges::find(columns_, kind.name) == columns_.end()) columns_.push_back(kind.name);
    BitsOfProperty& cell = cells_[{path, kind.name}];
    const bool differs = equality.violation.has_value();
    ++(equality.declared ? differs ? cell.broken : cell.held : differs ? cell.differs : cell.same);
    if (differs && cell.first_difference.empty()) cell.first_difference = *equality.violation;
  }
}

std::vector<std::string> DeterminismProfile::rows() const {
  std::vector<std::string> sorted = rows_;
  std::stable_partition(sorted.begin(), sorted.end(), [&](const std::string& row) {
    return std::ranges::any_of(columns_, [&](const std::string& column) {
      const BitsOfProperty* const cell = find(row, column);
      return cell != nullptr && cell->broken > 0;
    });
  });
  return sorted;
}

const BitsOfProperty* DeterminismProfile::find(const std::string& row,
                                               const std::string& column) const {
  const auto found = cells_.find({row, column});
  return found == cells_.end() ? nullptr : &found->second;
}

std::string render(const DeterminismProfile& profile, const TableStyle& style) {
  std::string text;
  for (const std::string& row : profile.rows()) {
    text += fmt::format("  bits of {:<45} declared  observed\n", row);
    for (const std::string& column : profile.columns()) {
      const BitsOfProperty* const cell = profile.find(row, column);
      if (cell == nullptr) continue;
      const Index differing = cell->broken + cell->differs,
                  times = cell->held + cell->same + differing;
      const std::string observed =
          differing == 0 ? "same"
          : times == 1
              ? "differs: " + cell->first_difference
              : fmt::format("{} of {} differ, first {}", differing, times, cell->first_difference);
      text += fmt::format(
          "    {:<51} {:<9} {}\n", column, cell->declared() ? "yes" : "no",
          cell->broken > 0 ? painted("BROKEN, " + observed, Status::failed, style) : observed);
    }
  }
  return text;
}

}  // namespace groundstate::harness
