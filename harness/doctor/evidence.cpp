#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "harness/case/error.hpp"
#include "harness/case/sha256.hpp"
#include "harness/doctor/checks.hpp"
#include "harness/evidence/coverage.hpp"
#include "harness/run/outputs.hpp"
#include "harness/run/run_case.hpp"

namespace groundstate::harness {
namespace {

// Whether `record` without further options has a result of this path for the case.
bool takes(const Operator& op, const Case& c, const Path& path) {
  try {
    return std::ranges::any_of(op.default_variants(c), [&](const std::string& text) {
      const PathVariant variant = checked_variant(op, text);
      return variant.path == path.name && !op.unsupported(c, variant) &&
             op.path_flops(c, variant) <= RunOptions().max_flops;
    });
  } catch (const UsageError&) {
    return false;  // the checks of paths and of hard inputs say why
  }
}

std::string cases_text(const std::vector<std::string>& texts) {
  return texts.size() == 1
             ? fmt::format("of '{}'", texts.front())
             : fmt::format("of {} cases, the first is '{}'", texts.size(), texts.front());
}

// Sources that are not what the program was built from, whose digests it compares.
void check_sources(const SourceTree& tree, const std::string& operator_name, const Path& path,
                   Finding& finding) {
  const Source source = source_of(operator_name, path);
  if (source.files.empty())
    finding.missing.push_back(fmt::format("{}: there is no file that it is written in", path.name));
  for (const SourceFile& file : source_files())
    if (source.files.contains(std::string(file.name)) &&
        sha256_of(tree.text(file.name).value_or("")) != file.bytes_sha256) {
      std::string text = fmt::format(
          "{} is not the file that this program was built from; build it again", file.name);
      if (std::ranges::find(finding.missing, text) == finding.missing.end())
        finding.missing.push_back(std::move(text));
    }
}

}  // namespace

Finding check_evidence(const SourceTree& tree, const Operator& op, std::span<const Path> paths,
                       const std::vector<Case>& cases, const std::vector<Evidence>& evidence) {
  const std::string& name = op.grammar().operator_name;
  Finding result{"evidence", name};
  if (paths.empty()) {
    result.note = "no GPU paths";
    return result;
  }
  Index held = 0;
  for (const Path& path : paths) {
    check_sources(tree, name, path, result);
    const Coverage known = coverage(evidence, name, path);
    std::set<std::string> seen;
    std::vector<std::string> missing;
    std::map<std::string, std::vector<std::string>> stale;  // by reason
    for (const Case& c : cases) {
      if (c.operator_name() != name || !seen.insert(c.id()).second || !takes(op, c, path)) continue;
      if (known.cases.contains(c.id()))
        ++held;
      else if (const auto found = known.stale.find(c.id()); found != known.stale.end())
        stale[found->second].push_back(c.canonical());
      else
        missing.push_back(c.canonical());
    }
    for (const auto& [reason, texts] : stale)
      result.missing.push_back(
          fmt::format("{}: STALE {}: {}", path.name, cases_text(texts), reason));
    if (!missing.empty())
      result.missing.push_back(fmt::format("{}: no evidence {}", path.name, cases_text(missing)));
  }
  result.note = fmt::format("{} results of {} GPU paths", held, paths.size());
  return result;
}

}  // namespace groundstate::harness
