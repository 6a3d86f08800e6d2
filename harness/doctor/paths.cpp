#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "harness/case/error.hpp"
#include "harness/doctor/checks.hpp"
#include "harness/run/outputs.hpp"

namespace groundstate::harness {

Finding check_paths(const Operator& op, const HardInputs& inputs) {
  Finding result{"paths", op.grammar().operator_name};
  std::set<std::string> reached, unknown;
  for (const CaseEntry& entry : inputs.entries)
    for (const std::string& text : op.default_variants(entry.value)) {
      try {
        const PathVariant variant = checked_variant(op, text);
        if (!op.unsupported(entry.value, variant)) reached.insert(variant.path);
      } catch (const UsageError& error) {
        if (unknown.insert(text).second)
          result.missing.push_back(fmt::format("run by default, but: {}", error.what()));
      }
    }
  for (const Path& path : op.paths())
    if (!path.needs_device && !reached.contains(path.name))
      result.missing.push_back(fmt::format("no hard input runs {} by default", path.name));
  result.note = fmt::format("{} paths", op.paths().size());
  return result;
}

}  // namespace groundstate::harness
