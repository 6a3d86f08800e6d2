#include "harness/evidence/source.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "harness/case/sha256.hpp"
#include "harness/case/text.hpp"

namespace groundstate::harness {
namespace {

constexpr std::size_t listed = 5;  // changes named one by one

const SourceFile* file_of(std::string_view name) {
  const auto found = std::ranges::find(source_files(), name, &SourceFile::name);
  return found == source_files().end() ? nullptr : &*found;
}

// The files of a folder that end like this, or that one of them.
std::vector<std::string_view> files_in(const std::string& folder, std::string_view ending) {
  std::vector<std::string_view> names;
  for (const SourceFile& file : source_files())
    if (file.name.starts_with(folder) && file.name.ends_with(ending)) names.push_back(file.name);
  return names;
}

std::vector<std::string_view> roots(const std::string& operator_name, const Path& path) {
  const std::size_t point = operator_name.find('.');
  const std::string base = operator_name.substr(0, point);
  if (!path.needs_device) return files_in(fmt::format("reference/{}/", base), ".hpp");
  const std::string folder = fmt::format("gpu/{}/", base);
  std::string stem = path.name.substr(path.name.find('.') + 1);
  if (point != operator_name.npos) stem += '_' + operator_name.substr(point + 1);
  if (const SourceFile* const own = file_of(fmt::format("{}{}.cu", folder, stem)))
    return {own->name};
  return files_in(folder, ".cu");
}

void add(std::string_view name, Source& source) {
  const SourceFile* const file = file_of(name);
  if (file == nullptr) return;
  const Source::Digest digest{std::string(file->code_sha256), std::string(file->flags)};
  if (!source.files.emplace(name, digest).second) return;
  for (const std::string_view included : file->includes) add(included, source);
  add(std::string(name.substr(0, name.rfind('.'))) + ".cu", source);
}

}  // namespace

std::string Source::sha256() const {
  std::string text;
  for (const auto& [name, digest] : files)
    text += fmt::format("{} {} {}\n", name, digest.code, digest.flags);
  return sha256_of(text);
}

Source source_of(const std::string& operator_name, const Path& path) {
  Source source;
  for (const std::string_view root : roots(operator_name, path)) add(root, source);
  return source;
}

std::string staleness(const Source& recorded, const Source& now) {
  std::vector<std::string> changes;
  for (const auto& [name, digest] : now.files) {
    const auto before = recorded.files.find(name);
    if (before == recorded.files.end())
      changes.push_back(fmt::format("{} is new", name));
    else if (before->second.code != digest.code)
      changes.push_back(fmt::format("{} has changed", name));
    else if (before->second.flags != digest.flags)
      changes.push_back(fmt::format("{} is compiled with '{}', was with '{}'", name, digest.flags,
                                    shown(before->second.flags, 200)));
  }
  for (const auto& [name, digest] : recorded.files)
    if (!now.files.contains(name)) changes.push_back(fmt::format("{} is gone", shown(name)));
  if (changes.size() > listed) {
    changes[listed] = fmt::format("{} more", changes.size() - listed);
    changes.resize(listed + 1);
  }
  return fmt::format("{}", fmt::join(changes, ", "));
}

}  // namespace groundstate::harness
